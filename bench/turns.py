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
from typing import Any

import torch
import torch.distributed as dist

HOUSE = Path(__file__).resolve().parent.parent
_ADDRESS, _KEY = "BENCH_ADDRESS", "BENCH_KEY"


@dataclass
class Turn:
    """One turn, all ranks together. tokens: real ones; computed: with padding; peak: GiB of the rank that has most."""

    seconds: float
    tokens: int
    computed: int
    peak: float


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
            listener._listener._socket.settimeout(300)  # type: ignore[attr-defined]
            try:
                self._pipe: Connection = listener.accept()
            except OSError:
                self._fail()
        self.about: dict[str, Any] = self._receive()

    def go(self, steps: int) -> Turn:
        """One turn of so many optimizer steps."""
        self._pipe.send(steps)
        return Turn(**self._receive())

    def stop(self) -> None:
        """Ends the program."""
        try:
            self._pipe.send(0)
            self.process.wait(60)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()

    def _receive(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._pipe.recv()
        except EOFError:
            self._fail()
        return found

    def _fail(self) -> None:
        self.process.kill()
        lines = self._log.read_text(encoding="utf-8").splitlines()[-25:]
        print("\n".join(lines), file=sys.stderr)
        raise SystemExit(f"error: {self.name} ended before its turn (log: {self._log})")


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
        self._sums = [0, 0]
        self._began = 0.0

    def begin(self) -> int:
        """Waits for the next turn: its number of steps, 0 to end."""
        quota = [self._pipe.recv() if self._pipe is not None else 0]
        dist.broadcast_object_list(quota, src=0)
        self._sums = [0, 0]
        self._began = time.perf_counter()
        return int(quota[0])

    def add(self, tokens: int, computed: int) -> None:
        """What this rank has done in one step."""
        self._sums[0] += tokens
        self._sums[1] += computed

    def end(self) -> None:
        """Reports the turn, once all ranks have done it."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        dist.barrier()
        seconds = time.perf_counter() - self._began
        ranks: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(ranks, (*self._sums, peak()))
        if self._pipe is not None:
            tokens, computed = (sum(rank[i] for rank in ranks) for i in (0, 1))
            self._pipe.send(asdict(Turn(seconds, tokens, computed, max(rank[2] for rank in ranks))))

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
