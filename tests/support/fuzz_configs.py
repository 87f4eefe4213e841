"""Families of tests/support/fuzz.py on run configs and DeepSpeed configs, through `train.py --dry-run`."""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import train
from common import run_config as configs
from tests.support.fuzz import Case
from tests.support.fuzz_mutate import ODD, alter, mangle

NUMBERS = [
    0, 1, -1, 2, 3, 12, 13, 40, 64, 70, 512, 513, 10**4, 10**7, 2**31 - 1, 2**31, 2**32, 2**63, 10**18, 10**30, 0.0,
    -0.0, 0.1, 0.5, 0.999,
    1.0, 1.5, -0.5, 1e-300, 5e-324, 1e18, 1e300, float("nan"), float("inf"), -float("inf"), True, "1", "1e5", "nan",
]  # fmt: skip
WORDS = [
    "", " ", ".", "..", "a/b", "/etc", "a\x00b", "a\nb", "x" * 300, "\ud800", "–", "auto", "capped", "fixed",
    "mixed", "uniform",
    "annealed", "temperature", "proportional", "classify", "span", "mlm", "squad", "mnli", "my_span", "no/such",
    "zero1.json",
    "../../etc/passwd", "CON", "~", "*", "a\\b", ".hidden", "-x", "varlen", "block", "padded", "sdpa",
]  # fmt: skip


def dry_run(arguments: list[str]) -> Callable[[], int]:
    """`train.py --dry-run` with these arguments, in this process."""

    def run() -> int:
        old, sys.argv = sys.argv, ["train.py", "--dry-run", *arguments]
        try:
            return train.main()
        finally:
            sys.argv = old

    return run


def _case(what: str, arguments: list[str], expect: str | None, check: Callable[[bool], None] | None = None) -> Case:
    return Case(what, dry_run(arguments), None, expect, check, arguments=["train.py", "--dry-run", *arguments])


def _fields(model: type[BaseModel], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all fields of a config, those of its parts too."""
    found = []
    for name, field in model.model_fields.items():
        found.append((*at, name))
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel) and name != "tasks":
                found += _fields(part, (*at, name))
    return found


FIELDS = _fields(configs.RunConfig)
SHAPE_KEYS = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
    "vocab_size", "pad_token_id", "type_vocab_size", "hidden_act", "layer_norm_eps", "initializer_range", "nonsense",
)  # fmt: skip


def _value(rng: random.Random) -> Any:
    return rng.choice(rng.choice((NUMBERS, NUMBERS, WORDS, ODD)))


def run_configs(rng: random.Random, folder: Path, world: Any) -> Case:
    """The config of a small prepared run, altered in its values, its keys, its bytes, or by --set."""
    values = json.loads(world.run.read_text(encoding="utf-8"))
    values["output"] = str(folder / "out")
    path = folder / "in" / "run.json"
    how = rng.choice(("field",) * 5 + ("task",) * 3 + ("key", "shape", "any", "any", "bytes", "bytes", "set", "set"))
    sets: list[str] = []
    what, at, new = how, (), None
    if how == "field":
        at, new = rng.choice(FIELDS), _value(rng)
        place = values
        for key in at[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                place = {}
        place[at[-1]] = new
        for one, other in (("steps", "epochs"), ("epochs", "steps"), ("tokens", "examples"), ("examples", "tokens")):
            if at[-1] == one:
                place.pop(other, None)
        if at[0] != "mixture" and rng.random() < 0.3:
            values.pop("mixture", None)
        what = f"{'.'.join(at)} = {str(new)[:40]!r}"
    elif how == "task":
        entry, key = rng.choice(values["tasks"]), rng.choice(list(configs.TaskEntry.model_fields))
        entry[key] = _value(rng)
        what = f"{entry.get('kind')} task, {key} = {str(entry[key])[:40]!r}"
    elif how == "key":
        place = rng.choice((values, values["optimizer"], values["batch"], values["tasks"][0], values["encoder"]))
        place[rng.choice(("", "lr ", "Name", "x" * 2000, "a.b", "\ud800", "\n", "zero_optimization"))] = _value(rng)
        what = "unknown key"
    elif how == "shape":
        key = rng.choice(SHAPE_KEYS)
        values["encoder"]["config"][key] = _value(rng)
        what = f"encoder.config.{key} = {str(values['encoder']['config'][key])[:40]!r}"
    elif how == "any":
        what, values = alter(values, rng)
    text = json.dumps(values)
    data = text.encode("utf-8", "surrogatepass")
    if how == "bytes":
        what, data = mangle(json.dumps(values, indent=1).encode(), rng)
    path.write_bytes(data)
    if how == "set":
        key = rng.choice((*(".".join(f) for f in FIELDS), "tasks.0.cap", "tasks.my_tag.share", "tasks.99.cap",
        "tasks..",
                          ".", "", "name.x", "tasks.-1.cap", "tasks.٣.cap", "tasks", "optimizer.betas.0", "a.b.c",
                          "tasks.my_span", "encoder.config.hidden_size"))  # fmt: skip
        sets = ["--set", f"{key}{rng.choice(('=', '=', '=', '', '=='))}{json.dumps(_value(rng))}"]
        what = f"--set {sets[1][:60]!r}"

    def check(accepted: bool) -> None:
        # A config that is taken holds what the file says.
        if accepted and how == "field" and new != {} and at[0] not in ("tasks", "encoder"):
            place: Any = configs.load(str(path), []).model_dump()
            for key in at:
                place = place[key]
            if isinstance(place, float):
                new_one: Any = float(new)
            else:
                new_one = int(float(new)) if isinstance(place, int) and not isinstance(place, bool) else new
            assert place == new_one or (isinstance(place, tuple) and list(place) == new), (place, new)
            assert not isinstance(new, bool) or isinstance(place, bool), (at, new)

    case = _case(what, ["--config", str(path), *sets], "refuse" if what == "unknown key" else None, check)
    case.refused_by = [at[-1], "tokenizer", "surrogate", "not prepared"] if how == "field" else []
    return case


DS_KEYS = [
    "zero_optimization", "bf16", "fp16", "data_types", "bfloat16", "amp", "optimizer", "scheduler",
    "gradient_clipping",
    "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "steps_per_print",
    "zero_allow_untested_optimizer", "communication_data_type", "prescale_gradients", "gradient_predivide_factor",
    "wall_clock_breakdown", "flops_profiler", "activation_checkpointing", "checkpoint", "aio", "comms_logger",
    "tensorboard", "wandb", "csv_monitor", "compile", "zero_force_ds_cpu_optimizer", "dump_state", "autotuning",
    "sparse_attention", "sparse_gradients", "elasticity", "data_efficiency", "curriculum_learning", "pipeline",
    "torch_autocast",
    "progressive_layer_drop", "tensor_parallel", "hybrid_engine", "dataloader_drop_last",
    "seq_parallel_communication_data_type",
    "load_universal_checkpoint", "use_data_before_expert_parallelism", "eigenvalue", "quantize_training", "log_level",
    "compression_training", "weight_quantization", "gradient_allreduce_op", "memory_breakdown", "nebula", "timers",
    "sequence_parallel_size", "vocabulary_size", "disable_allgather", "expert_parallel", "zero_optimisation", "",
]  # fmt: skip
ZERO_KEYS = [
    "stage", "overlap_comm", "contiguous_gradients", "reduce_scatter", "reduce_bucket_size", "allgather_bucket_size",
    "offload_optimizer", "offload_param", "round_robin_gradients", "cpu_offload", "sub_group_size",
    "elastic_checkpoint",
    "load_from_fp32_weights", "ignore_unused_parameters", "zero_hpz_partition_size", "mics_shard_size", "zenflow",
    "stage3_max_live_parameters", "use_multi_rank_bucket_allreduce", "allgather_partitions", "nonsense",
    "log_trace_cache_warnings",
]  # fmt: skip
DS_VALUES: list[Any] = [
    *NUMBERS, None, [], {}, "", "auto", "fp32", "bf16", "fp16", "int8", [1], {"enabled": True}, {"enabled": "yes"},
    {"enabled": 3},
    {"device": "nvme"}, {"device": "nvme", "nvme_path": "/x"}, {"device": "cpu"}, {"device": "none"},
    {"device": "disk"},
    {"stage": 2}, {"stage": "2"}, {"grad_accum_dtype": "fp32"}, {"grad_accum_dtype": "fp8"}, {"grad_accum_dtype": 3},
    {"type": "Adam", "params": {"lr": 1}}, {"tag_validation": "Nope"}, {"tag_validation": "Fail"},
    {"load_universal": True},
    {"enabled": True, "loss_scale": -1}, {"bf16_master_weights_and_grads": True}, False, "true",
]  # fmt: skip


def deepspeed_configs(rng: random.Random, folder: Path, world: Any) -> Case:
    """DeepSpeed's part of the config, altered."""
    shipped = rng.choice(("zero0", "zero1", "zero2", "zero2_cpu", "zero2_offload"))
    values = json.loads((configs.HOUSE / "ds_configs" / f"{shipped}.json").read_text(encoding="utf-8"))
    how = rng.choice(("zero", "zero", "top", "top", "any", "bytes", "inner", "whole"))
    what = how
    if how == "zero":
        key = rng.choice(ZERO_KEYS)
        values["zero_optimization"][key] = rng.choice(DS_VALUES)
        what = f"{shipped}: zero_optimization.{key} = {str(values['zero_optimization'][key])[:40]!r}"
    elif how == "top":
        key = rng.choice(DS_KEYS)
        values[key] = rng.choice(DS_VALUES)
        what = f"{shipped}: {key} = {str(values[key])[:40]!r}"
    elif how == "inner":
        key = rng.choice(("bf16", "fp16", "data_types"))
        name = rng.choice(
            ("enabled", "grad_accum_dtype", "loss_scale", "check_grad_overflow", "nonsense", "param_dtype")
        )
        values[key] = {name: rng.choice(DS_VALUES)}
        what = f"{shipped}: {key} = {values[key]}"
    elif how == "any":
        what, values = alter(values, rng)
    elif how == "whole":
        values = rng.choice(DS_VALUES)
        what = f"the whole file: {values!r}"
    text = json.dumps(values, indent=1).encode("utf-8", "surrogatepass")
    if how == "bytes":
        what, text = mangle(text, rng)
    path = folder / "in" / "ds.json"
    path.write_bytes(text)

    def check(accepted: bool) -> None:
        if accepted:
            # What is let through must also be a config to DeepSpeed itself.
            from deepspeed.runtime.config import DeepSpeedConfig

            from common.deepspeed_config import read_deepspeed

            run = configs.load(str(world.run), [f"deepspeed={path}"])
            made = read_deepspeed(run)
            DeepSpeedConfig(made)
            assert made.get("zero_optimization", {}).get("stage", 0) in (0, 1, 2)

    arguments = ["--config", str(world.run), "--set", f"deepspeed={path}"]
    return _case(what, arguments, "refuse" if how == "whole" and not isinstance(values, dict) else None, check)
