"""`python -m eval`: in the background as a user starts it, and in this process with the programs it starts forked."""

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import data_prep.__main__ as data_prep_program
from common.errors import InputError
from eval.driver import subprocesses
from tests.support.launch import REPOSITORY, environment, program
from tests.support.live import Live


class Driver(Live):
    """`python -m eval ARGUMENTS`. `launcher`: the driver's process; `printed`: all that it has written."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self.log = log
        self.count = 0
        with self.log.open("w") as out:
            self.launcher = psutil.Popen(
                [sys.executable, "-m", "eval", *map(str, arguments)], cwd=REPOSITORY, env=environment(), stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._known = {}

    def finish(self, code: int = 0, timeout: float = 280) -> str:
        """Waits for the end of the driver and of all that it has started; what it printed."""
        self.end(timeout)
        ended = self.launcher.wait(10)  # a process whose other threads are still ending looks dead and is not
        assert ended == code, f"exit code {ended}\n{self.printed[-4000:]}"
        return self.printed


def totals(printed: str) -> list[tuple[str, str]]:
    """(done, total) of every state of the progress bar that was printed."""
    return re.findall(r"\| ([\d.]+k?)/([\d.]+k?) \[", printed)


def prepare_here(arguments: list[str], log: Path) -> None:
    """`python -m data_prep ARGUMENTS` in this process."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = data_prep_program.main([*arguments, "--jobs", "1"])
    if code:
        raise InputError(printed.getvalue().splitlines()[-1].removeprefix("error: "))


def fork_programs(patch: pytest.MonkeyPatch) -> None:
    """The driver's programs without their start: as many ranks, forked without a launcher (`launch.program`).

    What launchers do (signals, killed ranks, error lines) is for tests with the real ones.
    """

    def train(ranks: int, arguments: list[str], log: Path, watch: Callable[[], None]) -> None:
        # Forked processes work in the repository's folder: a config beside this process needs its whole path.
        absolute = [os.path.abspath(word) if os.path.isfile(word) else word for word in arguments]
        log.write_text(program(REPOSITORY / "train.py", *absolute, ranks=ranks).stderr)
        watch()

    def predict(ranks: int, arguments: list[str], log: Path, watch: Callable[[], None]) -> None:
        log.write_text(program("-m", "eval.driver.worker", *arguments, ranks=ranks).stderr)
        watch()

    patch.setattr(subprocesses, "deepspeed", train)
    patch.setattr(subprocesses, "accelerate", predict)
    patch.setattr(subprocesses, "data_prep", prepare_here)
