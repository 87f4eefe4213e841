"""Runs real programs in tests: own extension folder, free port, a time limit, everything ended at the end."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from tests.support.zygote import Zygote

HOUSE = Path(__file__).resolve().parents[2]


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


@cache
def _zygote() -> Zygote:
    made = Zygote(environment(), HOUSE)
    atexit.register(made.close)
    return made


def program(
    *arguments: object, ranks: int = 1, timeout: float = 240, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` on so many ranks, without launcher and without the time that starting takes (zygote.py).

    What all ranks printed is together; the code is the first that is not 0.
    """
    assert environment()["DS_ACCELERATOR"] == "cpu"
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks)}
    around = [
        {**environment(), **place, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(ranks)}
        for rank in range(ranks)
    ]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("out", "err")]
        for file in files:
            file.touch()
        environments = around if ranks > 1 else [environment()]
        try:
            codes = _zygote().run([str(a) for a in arguments], environments, *files, timeout)
        except BaseException:
            _zygote.cache_clear()
            raise
        out, err = (file.read_text(encoding="utf-8", errors="replace") for file in files)
    if codes is None:
        raise AssertionError(f"{arguments} did not end within {timeout} s\n{out[-3000:]}\n{err[-3000:]}")
    code = next(filter(None, codes), 0)
    if check and code != 0:
        raise AssertionError(f"{arguments} ended with {codes}\n{out[-3000:]}\n{err[-5000:]}")
    return subprocess.CompletedProcess(arguments, code, out, err)


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
