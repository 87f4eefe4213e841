"""When to stop before the end: signals, the launcher's death, a wall-clock limit.

Stopping is graceful: a handler sets a flag, the ranks agree on it at the next step boundary (also between the batches
of a dev evaluation), save, and end with exit code `STOPPED`. The stock `deepspeed` launcher forwards no signals and
orphans the ranks when it is killed, so every rank treats the death of the launcher's processes as SIGTERM. Slurm sends
SIGUSR1 before it ends a job (`--signal=USR1@120`).
"""

import os
import re
import shlex
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil

from common.errors import InputError

STOPPED = 75  # sysexits.h, EX_TEMPFAIL: not finished, the same command continues
REASONS = {1: "SIGTERM", 2: "SIGUSR1", 3: "ctrl-C", 4: "the end of the launcher", 5: "--time-limit"}
_SIGNALS = {signal.SIGTERM: 1, signal.SIGUSR1: 2, signal.SIGINT: 3}


class Stop:
    """Whether this rank wants the run to stop. `limit`: seconds since the start of the process, None: no limit."""

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        self._code = 0
        self._began = psutil.Process().create_time()
        self._launcher = _launchers() if "RANK" in os.environ else []
        self.command = _command(self._launcher)

    def listen(self) -> None:
        """Installs the signal handlers (main thread only)."""
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._code == 3:
            os._exit(130)  # the second ctrl-C ends the process at once
        self._code = self._code or _SIGNALS[signal.Signals(number)]

    def check_launcher(self) -> None:
        """Checks whether the launcher is alive (called by the watchdog's thread, about once a second)."""
        if not self._code and any(not alive(process) for process in self._launcher):
            self._code = 4

    @property
    def code(self) -> int:
        """0: go on; else a key of `REASONS`."""
        if not self._code and self.limit is not None and time.time() - self._began > self.limit:
            self._code = 5
        return self._code


def _launchers() -> list[psutil.Process]:
    """The parent process of this rank, and the launcher's processes above it."""
    launchers: list[psutil.Process] = []
    with suppress(psutil.Error):
        for process in psutil.Process().parents():
            # `deepspeed` starts launch.py, which starts the ranks: when killed, each orphans its children.
            if launchers and not any("deepspeed" in word for word in process.cmdline()[:4]):
                break
            launchers.append(process)
    return launchers


def _command(launchers: list[psutil.Process]) -> str:
    """The command to continue the run: the outermost launcher's command line, or this program's."""
    words = ["python", *sys.argv]
    with suppress(psutil.Error, IndexError):
        line = launchers[-1].cmdline()
        start = next((i for i, w in enumerate(line[:4]) if Path(w).name in ("deepspeed", "torchrun", "srun")), None)
        if start is not None:
            words = [Path(line[start]).name, *line[start + 1 :]]
    for at in [i for i, w in enumerate(words) if w == "--resume"][::-1]:
        del words[at : at + 2]
    kept = [w for w in words if not w.startswith(("--resume=", "--local_rank"))]
    return shlex.join(kept)


def alive(process: psutil.Process) -> bool:
    """Whether a process of this host is running: not ended, its pid not reused, and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def seconds_of(text: str) -> float:
    """Seconds of a time limit as Slurm writes it: MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS.

    Raises `InputError` for anything else.
    """
    match = re.fullmatch(r"(?:(\d{1,9})-)?(\d{1,9})(?::(\d{1,9}))?(?::(\d{1,9}))?", text, re.ASCII)
    if match is None:
        raise InputError(f"--time-limit {text[:40]}: expected minutes, MM:SS, HH:MM:SS or D-HH:MM:SS")
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    units = (3600, 60, 1) if days is not None or len(numbers) == 3 else (60, 1)
    total = int(days or 0) * 86400 + sum(number * unit for number, unit in zip(numbers, units, strict=False))
    if total == 0:
        raise InputError(f"--time-limit {text}: is no time at all")
    return float(total)
