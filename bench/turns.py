"""Contestants that stay alive and run in turn: each round gives every one of them the same number of steps.

Starting a program, loading a model and the first steps are not what a benchmark of training is about, and two programs
that run at once disturb each other. So each contestant is a program of its own (with as many ranks as it likes) that
waits between its turns; whatever else the machine does meets all of them.
"""

import argparse
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from bench.idle import Watching

HOUSE = Path(__file__).resolve().parent.parent
PATIENCE = 1800  # seconds that a contestant may take for its start or a turn
REST = -1
_ADDRESS, _KEY = "BENCH_ADDRESS", "BENCH_KEY"


@dataclass
class Turn:
    """One turn, all ranks together. tokens: real ones; computed: with padding; peak: GiB of the rank that has most.

    work: operations on real tokens (bench/flops.py); idle: rank 0's share of a turn that was watched (bench/idle.py).
    """

    seconds: float
    tokens: int
    computed: int
    work: int
    peak: float
    idle: float | None


class Ended(SystemExit):
    """A contestant ended before its turn. `log`: the end of what it printed."""

    def __init__(self, name: str, log: Path) -> None:
        super().__init__(f"error: {name} ended before its turn (log: {log})")
        self.log = log.read_text(encoding="utf-8", errors="replace")[-20000:]


class Contestant:
    """A program that calls `turns`; seen from the benchmark."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        key = secrets.token_bytes(16)
        self._log = log
        with Listener(("127.0.0.1", 0), authkey=key) as listener, log.open("w", encoding="utf-8") as out:
            address = f"{listener.address[0]}:{listener.address[1]}"
            env = {**os.environ, **environment, _ADDRESS: address, _KEY: key.hex(), "PYTHONPATH": str(HOUSE)}
            self.process = subprocess.Popen(
                list(command), cwd=HOUSE, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
            listener._listener._socket.settimeout(1)  # type: ignore[attr-defined]
            self._pipe: Connection = self._accept(listener)
        self.about: dict[str, Any] = self._receive()

    def _accept(self, listener: Listener) -> Connection:
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE and self.process.poll() is None:
            try:
                return listener.accept()
            except TimeoutError:
                continue
        self._fail()

    def go(self, steps: int, watch: bool = False) -> Turn:
        """One turn of so many optimizer steps; `watch`: of what the GPU does, which may cost time."""
        self._pipe.send((steps, watch))
        return Turn(**self._receive())

    def rest(self) -> None:
        """Has it give back memory of the GPU that it does not hold anything in, before another's turn."""
        self._pipe.send((REST, False))
        self._receive()

    def stop(self) -> None:
        """Ends the program."""
        try:
            self._pipe.send((0, False))
            self.process.wait(60)
        except (OSError, subprocess.TimeoutExpired):
            end(self.process)

    def _receive(self) -> dict[str, Any]:
        try:
            if not self._pipe.poll(PATIENCE):
                self._fail()
            found: dict[str, Any] = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._fail()
        return found

    def _fail(self) -> NoReturn:
        end(self.process)
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
        print("\n".join(lines), file=sys.stderr)
        raise Ended(self.name, self._log)


def end(process: subprocess.Popen[Any]) -> None:
    """Ends a contestant: its launcher, asked to, ends the ranks, which are in groups of their own."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(60)


def arguments() -> argparse.ArgumentParser:
    """What a contestant of bench/train.py takes: a run config, and the launcher's own argument."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--local_rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser


class Turns:
    """The contestant's side; every rank has one, rank 0 speaks to the benchmark. `about`: what it says of itself."""

    def __init__(self, about: dict[str, Any]) -> None:
        self._pipe: Connection | None = None
        if dist.get_rank() == 0:
            host, _, port = os.environ[_ADDRESS].rpartition(":")
            self._pipe = Client((host, int(port)), authkey=bytes.fromhex(os.environ[_KEY]))
            self._pipe.send(about)
        self._sums = [0, 0, 0]
        self._began = 0.0
        self._watching: Watching | None = None

    def begin(self) -> int:
        """Waits for the next turn: its number of steps, 0 to end."""
        while True:
            quota = [self._pipe.recv() if self._pipe is not None else (0, False)]
            dist.broadcast_object_list(quota, src=0)
            steps, watch = quota[0]
            if steps != REST:
                break
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            dist.barrier()
            if self._pipe is not None:
                self._pipe.send({})
        self._sums = [0, 0, 0]
        self._watching = Watching() if watch and self._pipe is not None else None
        if self._watching is not None:
            self._watching.start()
        self._began = time.perf_counter()
        return int(steps)

    def add(self, tokens: int, computed: int, work: int) -> None:
        """What this rank has done in one micro-step or more."""
        for index, value in enumerate((tokens, computed, work)):
            self._sums[index] += value

    def end(self) -> None:
        """Reports the turn, once all ranks have done it."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        dist.barrier()
        seconds = time.perf_counter() - self._began
        idle = self._watching.stop() if self._watching is not None else None
        ranks: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(ranks, (*self._sums, peak()))
        if self._pipe is not None:
            tokens, computed, work = (sum(rank[i] for rank in ranks) for i in (0, 1, 2))
            self._pipe.send(asdict(Turn(seconds, tokens, computed, work, max(rank[3] for rank in ranks), idle)))

    def __iter__(self) -> Iterator[int]:
        """The turns, for a loop of one's own: `for steps in turns: ...`, with `add` in it."""
        while steps := self.begin():
            yield steps
            self.end()


def peak() -> float:
    """Peak memory of this process in GiB: of the GPU, or of the host where there is none."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20
