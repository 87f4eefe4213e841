"""A run under the real launcher that a test can look into, stop, freeze and kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.support.launch import HOUSE, environment, free_port


class Live:
    """`deepspeed --num_gpus RANKS PROGRAM --config CONFIG ...` in the background, with more environment `variables`.

    launcher: the `deepspeed` process; node: its launch.py; ranks: the processes that train, in order of ranks.
    """

    def __init__(
        self,
        config: Path,
        *arguments: object,
        ranks: int = 2,
        prefix: tuple[str, ...] = (),
        program: str = "train.py",
        **variables: object,
    ) -> None:
        self.folder = config.parent / "runs" / "small"
        self.log = config.parent / f"live-{time.monotonic_ns()}.log"
        self.count = ranks
        command = [
            *prefix, str(Path(sys.executable).with_name("deepspeed")), "--num_gpus", str(ranks),
            "--master_port", str(free_port()), program, "--config", str(config), *map(str, arguments),
        ]  # fmt: skip
        env = environment() | {name: str(value) for name, value in variables.items()}
        with self.log.open("w") as out:
            self.launcher = psutil.Popen(
                command, cwd=HOUSE, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._known: dict[int, psutil.Process] = {}

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *error: object) -> None:
        for process in [self.launcher, *self._known.values()]:
            try:
                process.kill()
            except psutil.Error:
                continue
        self.launcher.wait(30)

    def look(self) -> None:
        """Takes note of all processes that the launcher has started so far."""
        try:
            for process in self.launcher.children(recursive=True):
                self._known.setdefault(process.pid, process)
        except psutil.Error:
            pass

    def _with(self, word: str) -> list[psutil.Process]:
        self.look()
        found = []
        for process in self._known.values():
            try:
                if any(word in part for part in process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
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
    def errors(self) -> list[str]:
        """The lines that tell the user what is wrong."""
        return [line for line in self.printed.splitlines() if line.startswith("error:")]

    @property
    def step(self) -> int:
        """The last step in metrics.jsonl."""
        try:
            lines = (self.folder / "metrics.jsonl").read_text().splitlines()
            return max((int(json.loads(line)["step"]) for line in lines if line.endswith("}")), default=0)
        except OSError:
            return 0

    def until(self, true: object, timeout: float = 90) -> None:
        """Waits until the function `true` says so."""
        deadline = time.monotonic() + timeout
        while not true():  # type: ignore[operator]
            self.look()
            if self.launcher.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"waited in vain; launcher: {self.launcher.poll()}\n{self.printed[-3000:]}")
            time.sleep(0.02)

    def until_step(self, step: int, timeout: float = 90) -> None:
        self.until(lambda: self.step >= step, timeout)
        assert len(self.ranks) == self.count

    def end(self, timeout: float) -> int | None:
        """Waits until the launcher and every process it started have ended: the launcher's exit code."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.look()
            self.launcher.poll()
            if not any(_alive(process) for process in [self.launcher, *self._known.values()]):
                return self.launcher.poll()
            time.sleep(0.1)
        left = [p.cmdline() for p in self._known.values() if _alive(p)]
        raise AssertionError(f"still running after {timeout} s: {left}\n{self.printed[-3000:]}")


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def send(process: psutil.Process, number: signal.Signals) -> None:
    os.kill(process.pid, number)
