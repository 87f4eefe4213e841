"""Runs real programs in tests: own extension folder, free port, a time limit, everything ended at the end."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """The environment of a launched run: CPU if a test does not say, one thread a rank, this project importable."""
    extensions = os.environ.get("INTERMEZZO_TEST_EXTENSIONS", str(HOUSE / ".torch_extensions"))
    return {
        **os.environ,
        "DS_ACCELERATOR": os.environ.get("INTERMEZZO_TEST_ACCELERATOR", "cpu"),
        "OMP_NUM_THREADS": "1",
        "TORCH_EXTENSIONS_DIR": extensions,
        "PYTHONPATH": os.pathsep.join([str(HOUSE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        # ninja, which DeepSpeed needs to build its CPU op, is beside the interpreter.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*command: object, timeout: float = 240, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs a program in its own process group, which is killed whole when the time is up."""
    process = subprocess.Popen(
        [str(c) for c in command], cwd=HOUSE, env=environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"{command} did not end within {timeout} s\n{out[-3000:]}\n{err[-3000:]}") from None
    if check and process.returncode != 0:
        raise AssertionError(f"{command} ended with {process.returncode}\n{out[-3000:]}\n{err[-5000:]}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def deepspeed(
    ranks: int, *command: object, timeout: float = 240, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """`deepspeed --num_gpus RANKS COMMAND`."""
    launcher = Path(sys.executable).with_name("deepspeed")
    return run(launcher, "--num_gpus", ranks, "--master_port", free_port(), *command, timeout=timeout, check=check)


def train_and_kill(config: Path, folder: Path, step: int, timeout: float) -> None:
    """Two ranks train in `folder` (runs/NAME) until checkpoint `step` is there; then all of them get SIGKILL."""
    launcher = Path(sys.executable).with_name("deepspeed")
    process = subprocess.Popen(
        [launcher, "--num_gpus", "2", "--master_port", str(free_port()), "train.py", "--config", str(config)],
        cwd=HOUSE,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + timeout
    while not (folder / "checkpoints" / f"step-{step:08d}").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"no checkpoint {step} in {folder}: exit code {process.poll()}")
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "done").exists()
