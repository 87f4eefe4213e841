"""run.json: what a run was setup with, so that its results can be explained later."""

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from common.code_version import code_version
from common.errors import InputError
from common.run_config import read_json
from data_prep import overlap
from mtl.run.setup import Setup

PACKAGES = ("torch", "deepspeed", "transformers", "datasets", "tokenizers", "numpy", "pyarrow")


def describe(setup: Setup, ranks: int, backend: str) -> dict[str, Any]:
    """Versions, commit, data, hardware and the choices that deviate from XLM-R's own."""
    plan = setup.plan
    cuda = torch.cuda.is_available()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "commit": code_version(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "hardware": {
            "ranks": ranks,
            "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
            "cpu_threads": torch.get_num_threads(),
        },
        "deepspeed": setup.ds,
        "fast_zero2": plan.config.fast_zero2,
        "attention": backend,
        "compile": setup.compiled,
        "gradient_checkpointing": plan.config.gradient_checkpointing,
        "attention_probs_dropout_prob": plan.config.attention_probs_dropout_prob,
        "word_embeddings": {name: getattr(setup.vocabulary, name) for name in ("rows", "trained", "why")},
        "plan": plan.parts(),
        "plan_fingerprint": plan.fingerprint(),
        "data": {p.manifest["dataset"]: str(p.path) for task in plan.tasks for p in task.prepared},
        "overlap": _overlap(setup),
    }


def _overlap(setup: Setup) -> dict[str, Any]:
    """By dataset `overlap.checked`: of this run, and of the run that its encoder comes from."""
    start = Path(setup.run.encoder).parent / "run.json" if isinstance(setup.run.encoder, str) else None
    before: dict[str, Any] = {}
    if start is not None and start.is_file():
        try:
            before = dict(read_json(start).get("overlap", {}))
        except (InputError, TypeError, ValueError):
            print(f"warning: {start}: not of train.py, so what its run was checked for is not known", file=sys.stderr)
    own = {p.manifest["dataset"]: overlap.checked(p.manifest) for task in setup.tasks for p in task.prepared}
    return {**before, **own}
