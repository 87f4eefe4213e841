"""run.json: what a run was made with, so that its figures can be explained later."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from common.run_config import HOUSE
from mtl.run.setup import Setup

PACKAGES = ("torch", "deepspeed", "transformers", "datasets", "tokenizers", "numpy", "pyarrow")


def describe(made: Setup, ranks: int, backend: str) -> dict[str, Any]:
    """Versions, commit, data, hardware and the choices that deviate from XLM-R's own."""
    plan = made.plan
    cuda = torch.cuda.is_available()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "hardware": {
            "ranks": ranks,
            "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
            "cpu_threads": torch.get_num_threads(),
        },
        "deepspeed": made.ds,
        "fast_zero2": plan.config.fast_zero2,
        "attention": backend,
        "compile": made.compiled,
        "gradient_checkpointing": plan.config.gradient_checkpointing,
        "attention_probs_dropout_prob": plan.config.attention_probs_dropout_prob,
        "word_embeddings": {
            "rows": made.vocabulary.rows,
            "trained": made.vocabulary.trained,
            "why": made.vocabulary.why,
            "bytes_saved": made.vocabulary.saved(made.source.hidden_size, made.ds),
        },
        "plan": plan.parts(),
        "plan_fingerprint": plan.fingerprint(),
        "data": {p.manifest["dataset"]: str(p.path) for task in plan.tasks for p in task.prepared},
    }


def _commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=HOUSE,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
