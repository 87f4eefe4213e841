"""Runs in the background that a test can look into, stop, freeze and kill; whether two finished runs are the same."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file

from mtl.distributed.shutdown import alive
from tests.support.launch import REPOSITORY, environment, free_port, start

TIMING = {"tokens_per_second", "seconds_per_step", "memory_gib"}


class Live:
    """`deepspeed --num_gpus RANKS train.py --config CONFIG ...` in the background.

    launcher: the `deepspeed` process; node: its launch.py; ranks: the processes that train, in order of ranks.
    """

    def __init__(self, config: Path, *arguments: object, ranks: int = 2) -> None:
        self.folder = config.parent / "runs" / "small"
        launcher = [Path(sys.executable).with_name("deepspeed"), "--num_gpus", ranks, "--master_port", free_port()]
        log = config.parent / f"live-{time.monotonic_ns()}.log"
        self._start([*launcher, "train.py", "--config", config, *arguments], log, ranks)

    def _start(self, command: Sequence[object], log: Path, ranks: int) -> None:
        self.log, self.count = log, ranks
        self._known: dict[int, psutil.Process] = {}
        with log.open("w") as out:
            self.launcher = psutil.Popen(
                list(map(str, command)), cwd=REPOSITORY, env=environment(), stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *error: object) -> None:
        processes = [*self._own(), *self._known.values()]
        for process in processes:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=30)

    def _own(self) -> list[psutil.Process]:
        return [self.launcher]

    def code(self) -> int | None:
        """The launcher's exit code, None while it runs."""
        return self.launcher.poll()

    def look(self) -> None:
        """Takes note of all processes that the launcher has started so far."""
        with suppress(psutil.Error):
            for process in self.launcher.children(recursive=True):
                self._known.setdefault(process.pid, process)

    def _with(self, word: str) -> list[psutil.Process]:
        self.look()
        found = []
        for process in self._known.values():
            with suppress(psutil.Error):
                if any(word in part for part in process.cmdline()):
                    found.append(process)
        return found

    @property
    def node(self) -> psutil.Process:
        return self._with("deepspeed.launcher.launch")[0]

    @property
    def ranks(self) -> list[psutil.Process]:
        found = {}
        for process in self._with("--local_rank="):
            word = next(w for w in process.cmdline() if w.startswith("--local_rank="))
            if process.ppid() == self.node.pid:
                found[int(word.partition("=")[2])] = process
        return [found[rank] for rank in sorted(found)]

    @property
    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def step(self) -> int:
        """The last step in metrics.jsonl."""
        path = self.folder / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        return max(map(int, re.findall(r'"step": (\d+),', text)), default=0)

    def until(self, true: Callable[[], object], timeout: float = 180) -> None:
        """Waits until the function `true` says so."""
        deadline = time.monotonic() + timeout
        while not true():
            self.look()
            if self.code() is not None or time.monotonic() > deadline:
                raise AssertionError(f"waited in vain; exit code: {self.code()}\n{self.printed[-3000:]}")
            time.sleep(0.02)

    def until_step(self, step: int, timeout: float = 180) -> None:
        self.until(lambda: self.step >= step, timeout)
        assert len(self.ranks) == self.count

    def end(self, timeout: float) -> int | None:
        """Waits until every process has ended: the exit code (`code`)."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.look()
            if not any(alive(process) for process in [*self._own(), *self._known.values()]):
                return self.code()
            time.sleep(0.1)
        left = [p.cmdline() for p in self._known.values() if alive(p)]
        raise AssertionError(f"still running after {timeout} s: {left}\n{self.printed[-3000:]}")


class Forked(Live):
    """The same run without a launcher, its ranks forked (`launch.start`): for what does not depend on launchers."""

    def __init__(self, config: Path, *arguments: object, ranks: int = 2) -> None:
        self.folder = config.parent / "runs" / "small"
        self.log = config.parent / f"live-{time.monotonic_ns()}.log"
        self.log.touch()
        self.count = ranks
        self._started = start(["train.py", "--config", config, *arguments], ranks, self.log, self.log)
        self._known = {process.pid: psutil.Process(process.pid) for process in self._started}

    def _own(self) -> list[psutil.Process]:
        return []

    def look(self) -> None:
        """There are no other processes."""

    @property
    def ranks(self) -> list[psutil.Process]:
        return list(self._known.values())

    def end(self, timeout: float) -> int | None:
        super().end(timeout)
        for process in self._started:  # the fork server reports an exit code a moment after the end
            process.join(10)
        return self.code()

    def code(self) -> int | None:
        """The first exit code that is not 0, else 0 once all have ended."""
        codes = [process.exitcode for process in self._started]
        return next(filter(None, codes), None if None in codes else 0)


def train_and_kill(config: Path, folder: Path, step: int, timeout: float) -> None:
    """Two ranks train in `folder` (runs/NAME) until checkpoint `step` is there; then all of them get SIGKILL."""
    with Forked(config) as live:
        live.until((folder / "checkpoints" / f"step-{step:08d}").exists, timeout)
    assert not (folder / "done").exists()


def metrics(folder: Path, **wanted: object) -> list[dict]:
    """The lines of metrics.jsonl that say what is wanted: kind="dev", task="all"."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if wanted.items() <= line.items()]


def differences(folder: Path, reference: Path) -> list[str]:
    """In what the run folder of a finished run is not bitwise equal to another: weights, dynamics, metrics, length."""
    found = []
    parts = [path.relative_to(reference).with_suffix("") for path in reference.glob("*/*.safetensors")]
    for part in parts:
        ours, theirs = (load_file(f / f"{part}.safetensors") for f in (folder, reference))
        names = ours.keys() | theirs.keys()
        found += [
            f"{part}: {n}" for n in names if n not in ours or n not in theirs or not torch.equal(ours[n], theirs[n])
        ]
    tables = [path.relative_to(reference) for path in reference.glob("dynamics/*.arrow")]
    found += [str(path) for path in tables if (folder / path).read_bytes() != (reference / path).read_bytes()]
    ours, theirs = ([{k: line[k] for k in line.keys() - TIMING} for line in metrics(f)] for f in (folder, reference))
    if ours != theirs:
        found.append("metrics.jsonl")
    return found + ["done"] * ((folder / "done").read_text() != (reference / "done").read_text())
