"""How benchmarks start programs on several ranks, and how they name the machine they ran on."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parent.parent


def command(ranks: int, module: str, config: Path, overrides: Sequence[str] = (), *more: str) -> list[str]:
    """`python -m module` on `ranks` ranks, with `--config`, a `--set` for each of `overrides`, and `more`."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    sets = [word for override in overrides for word in ("--set", override)]
    return [*launcher, "--module", module, "--config", str(config), *sets, *more]


def environment(ranks: int) -> dict[str, str]:
    """The environment of such a program: this one's, with the cores divided among the ranks where there is no GPU."""
    threads = max(1, (os.cpu_count() or 1) // ranks)
    cpu = {} if torch.cuda.is_available() else {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    # Threads that wait for their turn must not spin.
    own = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **own, **cpu, "PYTHONPATH": path}


def machine() -> str:
    """Device and versions, the first line of a table."""
    names = ("torch", "transformers", "deepspeed", "accelerate")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores, {platform.machine()}"
    )
    return f"{device}; Python {platform.python_version()}, {packages}"
