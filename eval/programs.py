"""Starts the programs that the driver runs one after another: data_prep, `deepspeed train.py`, `accelerate launch`.

Their output goes to a log file; what the user sees is one progress bar, and of a failure the program's own error line.
A program is ended with the driver: by its signal group (ctrl-C), or with SIGTERM.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from data_prep.errors import InputError
from mtl.config import HOUSE

GPU = torch.cuda.is_available()
GRACE = 60.0  # seconds that a program gets to save and end


def data_prep(arguments: list[str], log: Path) -> None:
    """`python -m data_prep ARGUMENTS`."""
    run([sys.executable, "-m", "data_prep", *arguments], log, "data_prep", lambda: None)


def deepspeed(processes: int, arguments: list[str], log: Path, watch: Callable[[], None]) -> None:
    """`deepspeed --num_gpus PROCESSES train.py ARGUMENTS`."""
    launcher = Path(sys.executable).with_name("deepspeed")
    options = ["--num_gpus", str(processes), "--master_port", str(free_port())]
    run([str(launcher), *options, str(HOUSE / "train.py"), *arguments], log, "target training", watch)


def accelerate(processes: int, arguments: list[str], log: Path, watch: Callable[[], None]) -> None:
    """`accelerate launch --num_processes PROCESSES -m eval.work ARGUMENTS`."""
    launcher = Path(sys.executable).with_name("accelerate")
    options = [
        "launch", "--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no",
        "--dynamo_backend", "no", "--main_process_port", str(free_port()), *(["--multi_gpu"] if GPU else ["--cpu"]),
    ]  # fmt: skip
    run([str(launcher), *options, "-m", "eval.work", *arguments], log, "prediction", watch)


def run(command: list[str], log: Path, what: str, watch: Callable[[], None]) -> None:
    """Runs a program to its end, calling `watch` meanwhile; `InputError` with its error line if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HOUSE), os.environ.get("PYTHONPATH", "")])}
    if not GPU:
        environment["DS_ACCELERATOR"] = "cpu"
    with log.open("w", encoding="utf-8") as out:
        out.write(f"{' '.join(command)}\n")
        out.flush()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            while process.poll() is None:
                watch()
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(GRACE)
                except subprocess.TimeoutExpired:
                    process.kill()
    watch()
    if process.returncode != 0:
        raise InputError(_reason(log, what, process.returncode))


def _reason(log: Path, what: str, code: int) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if errors:
        return f"{errors[0]} (log: {log})"
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing was printed")
    return f"{what} ended with exit code {code}: {last[:200]} (log: {log})"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
