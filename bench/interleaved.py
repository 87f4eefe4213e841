"""Two or more ways of doing the same work, each in a process of its own, interleaved: one run of each in every round.

    measured = measure([ours, theirs], work, rounds=5, threads=1)    # ours(work) returns a function that does the work
    spread(ratios(measured.seconds[1], measured.seconds[0]))         # "1.69 (1.61 to 1.76)": theirs over ours

Processes of their own, so that idle threads of one do not disturb another. The order alternates and ratios are taken
within a round, so that other load on the machine affects all alike. The first run of each is a warm-up, not timed.
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

Runner = Callable[[], Any]
Factory = Callable[[Any], Runner]  # at the top level of a module: it is pickled for another process


@dataclass(frozen=True)
class Measured:
    """By contender: the results of every run, warm-up included, and the seconds of every timed run."""

    results: list[list[Any]]
    seconds: list[list[float]]


def measure(factories: Sequence[Factory], work: Any, rounds: int, threads: int, clock: str = "wall") -> Measured:
    """Runs all once, then `rounds` times; `clock`: "wall", or "cpu" for processor time of the process."""
    context = multiprocessing.get_context("spawn")
    workers, pipes = [], []
    for factory in factories:
        pipe, far_end = context.Pipe()
        workers.append(context.Process(target=_work, args=(far_end, factory, work, threads, clock), daemon=True))
        workers[-1].start()
        far_end.close()  # so that a worker that dies is an EOFError here
        pipes.append(pipe)
    try:
        results = [[pipe.recv()] for pipe in pipes]
        seconds: list[list[float]] = [[] for _ in pipes]
        for number in range(rounds):
            for turn in range(len(pipes)):
                index = (number + turn) % len(pipes)
                pipes[index].send(True)
                elapsed, result = pipes[index].recv()
                seconds[index].append(elapsed)
                results[index].append(result)
        for pipe in pipes:
            pipe.send(False)
    except EOFError:
        raise SystemExit("error: one of the contenders failed (see its traceback above)") from None
    for worker in workers:
        worker.join()
    return Measured(results, seconds)


def _work(pipe: Connection, factory: Factory, work: Any, threads: int, clock: str) -> None:
    """Sends the result of the warm-up; then, for every True received, (seconds, result) of one more run."""
    torch.set_num_threads(threads)
    now = time.perf_counter if clock == "wall" else time.process_time
    with threadpool_limits(threads):
        run = factory(work)
        pipe.send(run())
        while pipe.recv():
            began = now()
            result = run()
            pipe.send((now() - began, result))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Median, lowest and highest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
