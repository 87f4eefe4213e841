"""DeepSpeed's config of a run: its own keys from a file of `ds_configs/`, and those that the run config determines.

DeepSpeed ignores unknown keys silently and reports wrong values by tracebacks on every rank. Supported keys are
therefore listed here with their types; keys that change the computation (another optimizer or reduction, quantised or
skipped work) or belong to stage 3 are not supported. A key given both here and in the run config is an error. Nothing
here imports deepspeed; test_bad_input.py checks accepted configs against DeepSpeed's own parser.
"""

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from common.config_fields import Strict, explain
from common.errors import InputError
from common.run_config import RunConfig, find_file, read_json

# DeepSpeed keys that the run config determines, and its field.
OWNED = {
    "train_batch_size": "batch",
    "train_micro_batch_size_per_gpu": "micro_tokens",
    "gradient_accumulation_steps": "micro_tokens",
    "gradient_clipping": "optimizer.clip",
    "optimizer": "optimizer",
    "scheduler": "optimizer.warmup",
    "steps_per_print": "log_every",
}
Elements = Annotated[int, Field(gt=0, le=10**11)]


class Offload(Strict):
    """Optimizer offloaded to the CPU; NVMe requires stage 3."""

    device: Literal["cpu"]
    pin_memory: bool = True


class Zero(Strict):
    stage: Literal[0, 1, 2] = 0
    overlap_comm: bool | None = None
    contiguous_gradients: bool = True
    reduce_scatter: bool = True
    reduce_bucket_size: Elements = 500_000_000
    allgather_bucket_size: Elements = 500_000_000
    allgather_partitions: bool = True
    use_multi_rank_bucket_allreduce: bool = True
    round_robin_gradients: bool = False
    offload_optimizer: Offload | None = None


class BF16(Strict):
    enabled: bool = False
    check_grad_overflow: bool = True


class FP16(Strict, extra="ignore"):
    enabled: bool = False


class DataTypes(Strict):
    grad_accum_dtype: Literal["fp32", "bf16"] | None = None


class CommsLogger(Strict):
    enabled: bool = False
    verbose: bool = False
    prof_all: bool = True
    debug: bool = False


class FlopsProfiler(Strict):
    enabled: bool = False
    profile_step: Annotated[int, Field(gt=0, lt=2**31)] = 1
    module_depth: Annotated[int, Field(ge=-1, lt=100)] = -1
    top_modules: Annotated[int, Field(gt=0, lt=100)] = 1
    detailed: bool = True


class DeepSpeedFile(Strict):
    """A file of `ds_configs/`."""

    zero_optimization: Zero = Zero()
    bf16: BF16 = BF16()
    fp16: FP16 = FP16()
    data_types: DataTypes = DataTypes()
    communication_data_type: Literal["fp32", "bf16", "fp16"] | None = None
    comms_logger: CommsLogger = CommsLogger()
    flops_profiler: FlopsProfiler = FlopsProfiler()
    wall_clock_breakdown: bool = False
    memory_breakdown: bool = False
    dump_state: bool = False

    @model_validator(mode="after")
    def _goes_together(self) -> "DeepSpeedFile":
        stage, accumulate = self.zero_optimization.stage, self.data_types.grad_accum_dtype
        if not self.bf16.enabled and accumulate == "bf16":
            raise ValueError("data_types.grad_accum_dtype bf16 needs bf16.enabled")
        # DeepSpeed 0.19.8 cannot accumulate in float32 there, and does not give out its master weights.
        if self.bf16.enabled and stage == 0:
            raise ValueError("zero_optimization.stage 0 with bf16 keeps no float32 weights to export; use stage 1 or 2")
        if self.zero_optimization.offload_optimizer is not None and stage == 0:
            raise ValueError("zero_optimization.offload_optimizer needs stage 1 or 2")
        return self


def _without_defaults(values: dict[str, Any], known: Collection[str] = ()) -> dict[str, Any]:
    """Without what changes nothing in configs of the Hugging Face Trainer and accelerate.

    That is `"auto"`, which they fill in and DeepSpeed does not know, and the other keys of a block that is switched
    off. Precision, stage and whole blocks stay: an `"auto"` there could mean either.
    """
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value.get("enabled") is False:
            kept |= {key: {"enabled": False}} if key in known else {}
        elif value != "auto" or key in known or key in ("enabled", "stage"):
            kept[key] = _without_defaults(value) if isinstance(value, dict) else value
    return kept


def read_deepspeed(config: RunConfig) -> dict[str, Any]:
    """DeepSpeed's config of a run: the named file plus keys from the run config; `InputError` for invalid ones."""
    path = find_file("deepspeed:", config.deepspeed, "ds_configs")
    values = _without_defaults(read_json(path), DeepSpeedFile.model_fields)
    fp16 = values.get("fp16")
    if isinstance(fp16, dict) and fp16.get("enabled") is True:
        raise InputError(f"{path}: fp16 skips steps while it looks for a loss scale: use bf16, or float32 (neither)")
    problems = [
        f"`{key}` is decided by `{OWNED[key]}` of the run config; remove it from one of the two"
        for key in values
        if key in OWNED
    ]
    try:
        checked = DeepSpeedFile.model_validate({key: value for key, value in values.items() if key not in OWNED})
    except ValidationError as error:
        problems.append(explain(error))
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")
    return {
        **checked.model_dump(exclude_unset=True),
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.optimizer.clip,
        "steps_per_print": 2**31,
        "zero_allow_untested_optimizer": True,
    }
