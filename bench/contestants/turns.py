"""Training programs that stay alive and take turns: each round gives every one of them the same number of steps.

Start-up, loading and the first steps are not what a training benchmark is about, and two programs that run at once
disturb each other. So each contestant is a program of its own, on any number of ranks, that waits between its turns;
other load on the machine affects all alike. `Contestant` is the benchmark's side, `Turns` the contestant's.
"""

import argparse
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from bench.gpu_idle import IdleProfiler
from bench.launch import REPOSITORY

TIMEOUT = 1800  # seconds for a contestant's start or turn
_ADDRESS, _KEY, _START_FILE = "BENCH_ADDRESS", "BENCH_KEY", "BENCH_START_FILE"

Losses = dict[str, float]


@dataclass
class Turn:
    """One turn, all ranks together.

    tokens: without padding; computed: with padding; flops: on real tokens (bench/flops.py); peak: GiB of the rank that
    used most (on a GPU in this turn, otherwise since its start); idle: GPU idle share of rank 0, where it was profiled.
    """

    seconds: float
    tokens: int
    computed: int
    flops: int
    peak: float
    idle: float | None

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    @property
    def padding(self) -> float:
        """Tokens with padding over real ones."""
        return self.computed / self.tokens


class ContestantFailed(SystemExit):
    """A contestant ended before its turn. `log`: the end of its output."""

    def __init__(self, name: str, log: Path) -> None:
        super().__init__(f"error: {name} ended before its turn (log: {log})")
        self.name, self.log = name, log.read_text(encoding="utf-8", errors="replace")[-20000:]


class Contestant:
    """A contestant as the benchmark sees it. It starts at once, and uses the devices only after `ready`.

    So several can load their models at the same time. `about`, once ready: what it reports of itself.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.about = name, dict[str, Any]()
        self._log, self._start_file = log, log.with_suffix(".start")
        self._pipe: Connection | None = None
        key = secrets.token_bytes(16)
        self._listener = Listener(("127.0.0.1", 0), authkey=key)
        address = "{}:{}".format(*self._listener.address)
        channel = {_ADDRESS: address, _KEY: key.hex(), _START_FILE: str(self._start_file)}
        with log.open("w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                list(command), cwd=REPOSITORY, env={**environment, **channel},
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._listener._listener._socket.settimeout(1)  # type: ignore[attr-defined]

    def ready(self) -> "Contestant":
        """Waits until it can take a turn."""
        if self._pipe is None:
            self._start_file.touch()
            with self._listener:
                self._pipe = self._accept()
            self.about = self._receive()
        return self

    def _accept(self) -> Connection:
        began = time.monotonic()
        while time.monotonic() - began < TIMEOUT and self.process.poll() is None:
            try:
                return self._listener.accept()
            except TimeoutError:
                continue
        self._fail()

    def train(self, steps: int, profile: bool = False, tune: Mapping[str, Any] | None = None) -> Turn:
        """One turn of `steps` optimizer steps; `profile`: measure GPU idleness, which may cost time.

        `tune`: settings for this turn, as the contestant defines them; None: those it started with.
        """
        return Turn(**self._request({"steps": steps, "profile": profile, "tune": dict(tune or {})}))

    def losses(self, tune: Mapping[str, Any]) -> Losses:
        """The losses of `about`, computed again with `tune`."""
        return self._request({"losses": True, "tune": dict(tune)})

    def release_memory(self) -> None:
        """Empties its cache of GPU memory before the turn of another."""
        self._request({"release": True})

    def _request(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._pipe is not None, "not ready"
        try:
            self._pipe.send(message)
        except OSError:
            self._fail()
        return self._receive()

    def stop(self) -> None:
        """Ends the program."""
        try:
            if self._pipe is None:
                self._listener.close()
                raise OSError("it waits for its start file")
            self._pipe.send({"steps": 0})
            self.process.wait(60)
        except (OSError, subprocess.TimeoutExpired):
            self._terminate()

    def _terminate(self) -> None:
        # SIGTERM first, on which the launcher ends the ranks: they are in sessions of their own.
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(60)

    def _receive(self) -> dict[str, Any]:
        assert self._pipe is not None
        try:
            if not self._pipe.poll(TIMEOUT):
                self._fail()
            answer: dict[str, Any] = self._pipe.recv()
        except (EOFError, ConnectionError):
            self._fail()
        return answer

    def _fail(self) -> NoReturn:
        self._terminate()
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:]
        print("\n".join(lines), file=sys.stderr)
        raise ContestantFailed(self.name, self._log)


def contestant_arguments() -> argparse.ArgumentParser:
    """The command line of every contestant: a run config with overrides."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--set", action="append", default=[])
    return parser


def wait_for_start() -> None:
    """Waits until the benchmark lets this program use the devices; everything that needs none can be done before."""
    start_file, began = os.environ.get(_START_FILE), time.monotonic()
    while start_file and not Path(start_file).exists():
        if not Path(start_file).parent.exists() or time.monotonic() - began > TIMEOUT:
            raise SystemExit("the benchmark has ended")
        time.sleep(0.05)


class Turns:
    """The contestant's side, one on every rank; rank 0 is connected to the benchmark.

    `about`: reported once. `losses(tune)`: the losses with other settings, if it has any. `tune`: of the current turn.
    Iterate over it for the numbers of steps, calling `add`; or call `begin` and `end`.
    """

    def __init__(self, about: dict[str, Any], losses: Callable[[dict[str, Any]], Losses] | None = None) -> None:
        self._pipe: Connection | None = None
        if dist.get_rank() == 0:
            host, _, port = os.environ[_ADDRESS].rpartition(":")
            self._pipe = Client((host, int(port)), authkey=bytes.fromhex(os.environ[_KEY]))
            self._pipe.send(about)
        self._losses = losses
        self.tune: dict[str, Any] = {}
        self._sums = [0, 0, 0]
        self._began = 0.0
        self._profiler: IdleProfiler | None = None

    def begin(self) -> int:
        """Waits for the next turn and returns its number of steps, 0 to end."""
        while True:
            message: list[Any] = [self._pipe.recv() if self._pipe is not None else None]
            dist.broadcast_object_list(message, src=0)
            request: dict[str, Any] = message[0]
            self.tune = request.get("tune", {})
            if "steps" in request:
                break
            answer: Losses = {}
            if "losses" in request:
                assert self._losses is not None
                answer = self._losses(self.tune)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            dist.barrier()
            if self._pipe is not None:
                self._pipe.send(answer)
        self._sums = [0, 0, 0]
        self._profiler = IdleProfiler() if request.get("profile") and self._pipe is not None else None
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        if self._profiler is not None:
            self._profiler.start()
        self._began = time.perf_counter()
        return int(request["steps"])

    def add(self, tokens: int, computed: int, flops: int) -> None:
        """Counts one micro-step or more of this rank."""
        for index, value in enumerate((tokens, computed, flops)):
            self._sums[index] += value

    def end(self) -> None:
        """Reports the turn, once all ranks have finished it."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        dist.barrier()
        seconds = time.perf_counter() - self._began
        idle = self._profiler.stop() if self._profiler is not None else None
        ranks: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(ranks, (*self._sums, peak_memory()))
        if self._pipe is not None:
            tokens, computed, flops = (sum(rank[i] for rank in ranks) for i in (0, 1, 2))
            self._pipe.send(asdict(Turn(seconds, tokens, computed, flops, max(rank[3] for rank in ranks), idle)))

    def __iter__(self) -> Iterator[int]:
        while steps := self.begin():
            yield steps
            self.end()


def peak_memory() -> float:
    """Peak memory of this process in GiB: of the GPU, or of the host where there is none."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20
