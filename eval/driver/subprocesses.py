"""Runs the driver's subprocesses: data_prep, `deepspeed train.py`, `accelerate launch`.

Their output is appended to a log file; the user sees one progress bar and, on failure, the program's own error line.
Subprocesses end with the driver, however it ends (kill -9 aside): all descendants get SIGTERM, because launchers do
not forward it, and are killed after `GRACE` seconds.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch

from common.errors import InputError
from common.run_config import REPOSITORY
from mtl.distributed import launchers
from mtl.distributed.shutdown import alive

GPU = torch.cuda.is_available()
Watch = Callable[[], None]  # called ten times a second while a program runs
GRACE = 60.0  # seconds to save and exit


def data_prep(arguments: list[str], log: Path) -> None:
    """`python -m data_prep ARGUMENTS`."""
    run([sys.executable, "-m", "data_prep", *arguments], log, "data_prep", lambda: None)


def deepspeed(
    processes: int, arguments: list[str], log: Path, watch: Watch, what: str = "target training", **more: Any
) -> None:
    """`deepspeed --num_gpus PROCESSES train.py ARGUMENTS`; `more`: of `run`.

    One process needs no launcher and starts faster without. Where another launcher's variables are set, DeepSpeed's
    replaces them; `train.py` alone would take itself for one of that launcher's ranks.
    """
    train = [str(REPOSITORY / "train.py"), *arguments]
    if processes == 1 and not launchers.launched():
        run([sys.executable, "-u", *train], log, what, watch, **more)
        return
    # Given a number, the launcher takes the first GPUs of the machine, whichever of them CUDA_VISIBLE_DEVICES names.
    named = {**os.environ, **more.get("environment", {})}.get("CUDA_VISIBLE_DEVICES", "").split(",")
    some = [] if GPU and len(named) == processes and all(map(str.isdecimal, named)) else ["--num_gpus", str(processes)]
    launcher = [str(Path(sys.executable).with_name("deepspeed")), *some, "--master_port", str(launchers.free_port())]
    run([*launcher, *train], log, what, watch, **more)


def last_step(folder: Path) -> int:
    """The last step that train.py has logged in its run folder; 0 before the first."""
    with suppress(OSError, ValueError, LookupError, TypeError), (folder / "metrics.jsonl").open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))  # called ten times a second
        return int(json.loads(file.read().splitlines()[-1])["step"])
    return 0


def accelerate(processes: int, arguments: list[str], log: Path, watch: Watch) -> None:
    """`accelerate launch --num_processes PROCESSES -m eval.driver.worker ARGUMENTS`.

    `--multi_gpu` also without a GPU: it starts several processes, `--cpu` only one (accelerate 1.15).
    """
    launcher = Path(sys.executable).with_name("accelerate")
    options = [
        "launch", "--multi_gpu", "--gpu_ids", "all", "--num_processes", str(processes), "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(launchers.free_port()),
        "--num_cpu_threads_per_process", str(max(1, torch.get_num_threads() // processes)),
    ]  # fmt: skip
    run([str(launcher), *options, "-m", "eval.driver.worker", *arguments], log, "prediction", watch)


def run(
    command: list[str],
    log: Path,
    what: str,
    watch: Watch,
    environment: Mapping[str, str] | None = None,
    inherited: Sequence[int] = (),
) -> None:
    """Runs a program until it exits, calling `watch` meanwhile; `ProgramFailed` with its error line if it fails.

    environment: variables that it has besides those of this process; inherited: descriptors that stay open in it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **(environment or {}),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
    }
    if not GPU:
        environment["DS_ACCELERATOR"] = "cpu"
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ {shlex.join(command)}\n")
        out.flush()
        began = out.tell()
        process = psutil.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, pass_fds=inherited)
        family = _Family(process)
        try:
            while process.poll() is None:
                watch()
                family.look()
                time.sleep(0.1)
        finally:
            family.end(what)
    watch()
    if process.returncode != 0:
        raise ProgramFailed(_reason(log, began, what, process.returncode), process.returncode)


class ProgramFailed(InputError):
    """A program that failed. `code`: its exit code, negative for a signal."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class _Family:
    """A program and all its descendants, including those that outlive their parent."""

    def __init__(self, process: psutil.Popen) -> None:
        self.process = process
        self._known = {process}
        self._looked = 0.0

    def look(self, pause: float = 1.0) -> None:
        """Records new descendants; at most every `pause` seconds, because psutil scans all processes."""
        if time.monotonic() - self._looked > pause:
            for member in set(self._known):
                with suppress(psutil.Error):
                    self._known.update(member.children(recursive=True))
            self._looked = time.monotonic()

    def end(self, what: str) -> None:
        """Terminates all, processes without children first, and kills what is left after GRACE seconds."""
        if self.process.poll() is None:
            print(f"\nending {what}, which may save first (up to {GRACE:.0f} s)", file=sys.stderr)
        deadline = time.monotonic() + GRACE
        asked: set[psutil.Process] = set()
        try:
            while (left := [m for m in self._known if alive(m)]) and time.monotonic() < deadline:
                self.look(0.0)
                for member in left:
                    with suppress(psutil.Error):
                        if member not in asked and not any(map(alive, member.children())):
                            member.terminate()
                            asked.add(member)
                time.sleep(0.1)
                self.process.poll()
        finally:  # also when the user interrupts the wait
            for member in self._known:
                with suppress(psutil.Error):
                    member.kill()
            self.process.wait()


def _reason(log: Path, began: int, what: str, code: int) -> str:
    """The first error line of a program's output, which starts at byte `began` of its log."""
    with log.open("rb") as file:
        file.seek(began)
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    if errors := [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]:
        return f"{errors[0]} (log: {log})"
    last = next((line.strip() for line in reversed(lines) if any(map(str.isalpha, line))), "nothing was printed")
    return f"{what} ended with exit code {code}: {last.removeprefix('traceback : ')[:200]} (log: {log})"
