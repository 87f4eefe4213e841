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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from bench.idle import Watching

HOUSE = Path(__file__).resolve().parent.parent
PATIENCE = 1800  # seconds that a contestant may take for its start or a turn
_ADDRESS, _KEY, _GATE = "BENCH_ADDRESS", "BENCH_KEY", "BENCH_GATE"

Losses = dict[str, float]


@dataclass
class Turn:
    """One turn, all ranks together. tokens: real ones; computed: with padding; peak: GiB of the rank that has most (on

    a GPU in this turn, else so far); work: operations on real tokens (bench/flops.py); idle: rank 0's share of a turn
    that was watched (bench/idle.py).
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
        self.name, self.log = name, log.read_text(encoding="utf-8", errors="replace")[-20000:]


class Contestant:
    """A program that calls `turns`; seen from the benchmark. It starts at once, and goes past `pass_gate` with `ready`.

    So several can load their models at the same time, each taking its part of the GPU only when its race comes.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.about = name, dict[str, Any]()
        self._key, self._log, self._gate = secrets.token_bytes(16), log, log.with_suffix(".gate")
        self._pipe: Connection | None = None
        self._listener = Listener(("127.0.0.1", 0), authkey=self._key)
        place = {_ADDRESS: "{}:{}".format(*self._listener.address), _KEY: self._key.hex(), _GATE: str(self._gate)}
        with log.open("w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                list(command), cwd=HOUSE, env={**os.environ, **environment, **place, "PYTHONPATH": _paths()},
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._listener._listener._socket.settimeout(1)  # type: ignore[attr-defined]

    def ready(self) -> "Contestant":
        """Waits until it can take a turn; `about` is then what it says of itself."""
        if self._pipe is None:
            self._gate.touch()
            with self._listener:
                self._pipe = self._accept()
            self.about = self._receive()
        return self

    def _accept(self) -> Connection:
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE and self.process.poll() is None:
            try:
                return self._listener.accept()
            except TimeoutError:
                continue
        self._fail()

    def go(self, steps: int, watch: bool = False, tune: Mapping[str, Any] | None = None) -> Turn:
        """One turn of so many optimizer steps; `watch`: of what the GPU does, which may cost time.

        `tune`: what the program switches before it (its own affair; {} or None: nothing is other than at the start).
        """
        return Turn(**self._ask({"steps": steps, "watch": watch, "tune": dict(tune or {})}))

    def losses(self, tune: Mapping[str, Any]) -> Losses:
        """The losses of `about`, computed again with `tune`."""
        return self._ask({"probe": True, "tune": dict(tune)})

    def rest(self) -> None:
        """Has it give back memory of the GPU that it does not hold anything in, before another's turn."""
        self._ask({"rest": True})

    def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self._pipe is not None, "not ready"
        try:
            self._pipe.send(what)
        except OSError:
            self._fail()
        return self._receive()

    def stop(self) -> None:
        """Ends the program."""
        try:
            if self._pipe is None:
                self._listener.close()
                raise OSError("it waits at its gate")
            self._pipe.send({"steps": 0})
            self.process.wait(60)
        except (OSError, subprocess.TimeoutExpired):
            end(self.process)

    def _receive(self) -> dict[str, Any]:
        assert self._pipe is not None
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


def _paths() -> str:
    return os.pathsep.join([str(HOUSE), *filter(None, [os.environ.get("PYTHONPATH")])])


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


def pass_gate() -> None:
    """Waits until the benchmark wants this program on the devices; everything that needs none can be done before."""
    gate, began = os.environ.get(_GATE), time.monotonic()
    while gate and not Path(gate).exists():
        if not Path(gate).parent.exists() or time.monotonic() - began > PATIENCE:
            raise SystemExit("the benchmark is gone")
        time.sleep(0.05)


class Turns:
    """The contestant's side; every rank has one, rank 0 speaks to the benchmark. `about`: what it says of itself.

    `probe(tune)`: the losses with other switches, where there are any. `tune`: those of the turn at hand.
    """

    def __init__(self, about: dict[str, Any], probe: Callable[[dict[str, Any]], Losses] | None = None) -> None:
        self._pipe: Connection | None = None
        if dist.get_rank() == 0:
            host, _, port = os.environ[_ADDRESS].rpartition(":")
            self._pipe = Client((host, int(port)), authkey=bytes.fromhex(os.environ[_KEY]))
            self._pipe.send(about)
        self._probe = probe
        self.tune: dict[str, Any] = {}
        self._sums = [0, 0, 0]
        self._began = 0.0
        self._watching: Watching | None = None

    def begin(self) -> int:
        """Waits for the next turn: its number of steps, 0 to end."""
        while True:
            asked: list[Any] = [self._pipe.recv() if self._pipe is not None else None]
            dist.broadcast_object_list(asked, src=0)
            self.tune = asked[0].get("tune", {})
            if "steps" in asked[0]:
                break
            answer: dict[str, Any] = {}
            if "probe" in asked[0]:
                assert self._probe is not None
                answer = self._probe(self.tune)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            dist.barrier()
            if self._pipe is not None:
                self._pipe.send(answer)
        self._sums = [0, 0, 0]
        self._watching = Watching() if asked[0].get("watch") and self._pipe is not None else None
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        if self._watching is not None:
            self._watching.start()
        self._began = time.perf_counter()
        return int(asked[0]["steps"])

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
