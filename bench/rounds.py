"""Ways of doing the same work, each in a process of its own, one after the other in every round.

    raced = race([ours, theirs], work, rounds=5, threads=1)          # ours(work) makes a way, way() does the work
    ratio(raced.seconds[1], raced.seconds[0])                        # "1.69 (1.61 to 1.76)": theirs over ours

A process of its own, so that the threads of one do not wait beside those of another; in turning order, and ratios taken
within a round, so that whatever else the machine does meets all of them. The first run of each is not timed.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from threadpoolctl import threadpool_limits

Way = Callable[[], Any]
Maker = Callable[[Any], Way]  # of the top level of a module: it is handed to another process


@dataclass(frozen=True)
class Raced:
    """By way: what every run gave, the first one that is not timed included, and the seconds of every round."""

    found: list[list[Any]]
    seconds: list[list[float]]


def race(makers: Sequence[Maker], work: Any, rounds: int, threads: int, clock: str = "wall") -> Raced:
    """Runs all ways once, then `rounds` times; `clock`: wall, or cpu for the time a process has used on its cores."""
    context = multiprocessing.get_context("spawn")
    workers, pipes = [], []
    for maker in makers:
        pipe, end = context.Pipe()
        workers.append(context.Process(target=_work, args=(end, maker, work, threads, clock), daemon=True))
        workers[-1].start()
        end.close()  # so that a process that fails is seen to be gone
        pipes.append(pipe)
    try:
        found = [[pipe.recv()] for pipe in pipes]
        seconds: list[list[float]] = [[] for _ in pipes]
        for number in range(rounds):
            for turn in range(len(pipes)):
                way = (number + turn) % len(pipes)
                pipes[way].send(True)
                took, gave = pipes[way].recv()
                seconds[way].append(took)
                found[way].append(gave)
        for pipe in pipes:
            pipe.send(False)
    except EOFError:
        raise SystemExit("error: one of the ways ended before its turn (see above)") from None
    for worker in workers:
        worker.join()
    return Raced(found, seconds)


def _work(pipe: Connection, make: Maker, work: Any, threads: int, clock: str) -> None:
    """Sends what the first run gives, then for every True received the seconds of one more and what it gave."""
    torch.set_num_threads(threads)
    now = time.perf_counter if clock == "wall" else time.process_time
    with threadpool_limits(threads):
        way = make(work)
        pipe.send(way())
        while pipe.recv():
            began = now()
            gave = way()
            pipe.send((now() - began, gave))


def ratio(theirs: Sequence[float], mine: Sequence[float]) -> str:
    """Median of theirs over mine, round by round, with the lowest and the highest."""
    ratios = [a / b for a, b in zip(theirs, mine, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
