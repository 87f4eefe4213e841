"""`python -m eval` as a user starts it, in the background: to look into, interrupt and kill."""

import re
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.support.launch import HOUSE, environment
from tests.support.live import Live


class Driver(Live):
    """`python -m eval ARGUMENTS`. `launcher`: the driver's process; `printed`: all that it has written."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self.log = log
        self.count = 0
        with self.log.open("w") as out:
            self.launcher = psutil.Popen(
                [sys.executable, "-m", "eval", *map(str, arguments)], cwd=HOUSE, env=environment(), stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._known = {}
        self._began = time.monotonic()

    def finish(self, code: int = 0, timeout: float = 280) -> str:
        """Waits for the end of the driver and of all that it has started; what it printed."""
        self.end(timeout)
        ended = self.launcher.wait(10)  # a process whose other threads are still ending looks dead and is not
        assert ended == code, f"exit code {ended}\n{self.printed[-4000:]}"
        return self.printed


def totals(printed: str) -> list[tuple[str, str]]:
    """(done, total) of every state of the progress bar that was printed."""
    return re.findall(r"\| ([\d.]+k?)/([\d.]+k?) \[", printed)
