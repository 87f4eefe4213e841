"""`python -m eval`: in the background as a user starts it, and in this process with the programs it starts forked."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import data_prep.__main__ as data_prep_program
from common.errors import InputError
from eval.driver import subprocesses
from tests.support.launch import program
from tests.support.live import Live


class Driver(Live):
    """`python -m eval ARGUMENTS`. `launcher`: the driver's process; `printed`: all that it has written."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self._start([sys.executable, "-m", "eval", *arguments], log, 0)

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
    """What `subprocesses.run` starts is forked instead, as many ranks without their launcher (`launch.program`).

    What launchers do (signals, killed ranks, error lines) is for tests with the real ones.
    """

    def run(command: list[str], log: Path, what: str, watch: Callable[[], None], *_: Any, **__: Any) -> None:
        begin = next(i for i, word in enumerate(command) if word == "-m" or word.endswith("train.py"))
        options = dict(pairwise(command[:begin]))
        ranks = int(options.get("--num_gpus") or options.get("--num_processes") or 1)
        # Forked processes work in the repository's folder: a config beside this process needs its whole path.
        words = [os.path.abspath(word) if os.path.isfile(word) else word for word in command[begin:]]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(program(*words, ranks=ranks, timeout=600).stderr)
        watch()

    patch.setattr(subprocesses, "run", run)
    patch.setattr(subprocesses, "data_prep", prepare_here)
