"""DeepSpeed's config of a run: its own keys from a file of `ds_configs/`, and what the run config decides.

A key given in both places is an error that names both. Nothing here imports deepspeed.
"""

from pathlib import Path
from typing import Any

from data_prep.errors import InputError
from mtl.config import HOUSE, RunConfig, read_json

# DeepSpeed keys that the run config owns, and the field that stands for them.
OWNED = {
    "train_batch_size": "batch",
    "train_micro_batch_size_per_gpu": "micro_tokens",
    "gradient_accumulation_steps": "micro_tokens",
    "gradient_clipping": "optimizer.clip",
    "optimizer": "optimizer",
    "scheduler": "optimizer.warmup",
}


def read_deepspeed(config: RunConfig) -> dict[str, Any]:
    """DeepSpeed's config of a run: the named file plus what the run config decides; `InputError` on a clash."""
    named = Path(config.deepspeed)
    path = named if named.is_file() else HOUSE / "ds_configs" / config.deepspeed
    if not path.is_file():
        known = ", ".join(sorted(p.name for p in (HOUSE / "ds_configs").glob("*.json")))
        raise InputError(f"deepspeed: {config.deepspeed}: no such file, nor in ds_configs/ (there: {known})")
    values = read_json(path)
    for key, field in OWNED.items():
        if key in values:
            raise InputError(
                f"{path}: `{key}` is decided by `{field}` of the run config; remove it from one of the two"
            )
    if values.get("fp16", {}).get("enabled"):
        raise InputError(f"{path}: fp16 skips steps while it looks for a loss scale: use bf16, or float32 (neither)")
    stage = values.get("zero_optimization", {}).get("stage", 0)
    if stage not in (0, 1, 2):
        raise InputError(f"{path}: zero_optimization.stage {stage}: stages 0, 1 and 2 are supported")
    return {
        **values,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.optimizer.clip,
        "steps_per_print": 2**31,
        "zero_allow_untested_optimizer": True,
    }
