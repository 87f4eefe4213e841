"""DeepSpeed configs as users bring them from the Hugging Face Trainer, accelerate and older versions of DeepSpeed."""

import json
from typing import Any

import pytest

from common.deepspeed_config import read_deepspeed
from common.errors import InputError
from common.run_config import load

OFF = {"enabled": False, "loss_scale": 0, "initial_scale_power": 16, "hysteresis": 2, "min_loss_scale": 1}
STAGE = {"zero_optimization": {"stage": 2}}
TRAINER = {
    "train_batch_size": "auto", "gradient_clipping": "auto", "fp16": OFF, "amp": {"enabled": False, "opt_level": "O1"},
    "zero_optimization": {"stage": 2, "reduce_bucket_size": "auto", "stage3_prefetch_bucket_size": "auto"},
}  # fmt: skip


def read(tmp_path: Any, values: dict[str, Any]) -> dict[str, Any]:
    path = tmp_path / "ds.json"
    path.write_text(json.dumps(values))
    return read_deepspeed(load("mtl_all.json", [f"deepspeed={path}"]))


def test_what_changes_nothing_is_left_out(tmp_path: Any) -> None:
    assert read(tmp_path, TRAINER) == read(tmp_path, {"fp16": {"enabled": False}, **STAGE})


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"fp16": {**OFF, "enabled": True}, "scheduler": {}}, ["fp16 skips steps", "use bf16"]),
        (
            {"zero_optimization": {"stage": 2, "cpu_offload": True}, "scheduler": {}},
            ["`scheduler` is decided by `optimizer.warmup`", "zero_optimization: unknown key `cpu_offload`"],
        ),
        ({"zero_optimisation": {}, "fp17": {}}, ["unknown key `zero_optimisation`", "unknown key `fp17`"]),
        ({"bf16": {"enabled": "auto"}}, ["bf16.enabled", "boolean"]),
        ({"zero_optimization": {"stage": "auto"}}, ["zero_optimization.stage"]),
    ],
)
def test_every_reason_is_in_one_line(tmp_path: Any, values: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, values)
    assert all(part in str(error.value) for part in parts) and "\n" not in str(error.value)
