"""The memory plan: GiB per GPU under a ZeRO stage, and what to lower when memory runs out."""

from typing import Any

import psutil
import torch
from transformers import PretrainedConfig

from common.errors import loading
from mtl.distributed.launchers import local_ranks
from mtl.model.encoder import new_encoder
from mtl.model.families import family_of, fresh_head
from mtl.run.setup import Setup, describe_encoder
from tasks.mlm.data import MLM_PROBABILITY

GIB = 2**30


def parameters(setup: Setup) -> tuple[int, int]:
    """(encoder, heads) parameters that take part in training, counted on the meta device."""
    with loading(describe_encoder(setup.run.encoder)), torch.device("meta"):
        encoder = new_encoder(setup.source)
        heads = [fresh_head(t.task.kind, setup.source, len(t.labels) if t.labels else None) for t in setup.tasks]
    untrained = (setup.vocabulary.rows - setup.vocabulary.trained) * setup.source.hidden_size
    count = [sum(p.numel() for module in modules for p in module.parameters()) for modules in ([encoder], heads)]
    return count[0] - untrained, count[1]


def masked_logits(setup: Setup) -> float:
    """Logits of the LM head per token of a micro-batch that is all text; 0 without an `mlm` task."""
    text = any(task.task.kind == "mlm" for task in setup.tasks)
    return MLM_PROBABILITY * setup.source.vocab_size if text else 0.0


def memory(
    total: int,
    ds: dict[str, Any],
    config: PretrainedConfig,
    micro_tokens: int,
    ranks: int,
    fast_zero2: bool = True,
    logits: float = 0.0,
) -> dict[str, float]:
    """Estimated GiB per rank: weights, gradients, optimizer (master copy and two moments), buckets, activations.

    Rajbhandari et al. 2020 (ZeRO, section 3): stage 1 divides the optimizer states by the ranks, stage 2 the gradients
    too; what is held besides was measured (docs/scaling.md): in half precision stage 1 keeps gradients as computed and
    as accumulated. Buckets: what gradients are reduced through: DeepSpeed's in stage 1, twice with `overlap_comm`; in
    stage 2 with `fast_zero2` (`zero2_gradients.py`) on one rank all gradients, on several those that wait and the
    concatenation of a bucket, and with `overlap_comm` the gradients of two more buckets in flight. A parameter larger
    than a bucket is one by itself, and not counted as more.
    Activations, in half precision per token and block: 18 bytes per hidden unit and 4 per unit of the MLP, 8 where it
    is gated (Korthikanti et al. 2022, equation 1 without the attention matrix, which no back-end here keeps), twice
    that in float32. A logit (`masked_logits`) is kept as computed, and in float32 after the softmax and as a gradient.
    """
    half = ds.get("bf16", {}).get("enabled", False)
    zero = ds.get("zero_optimization", {})
    stage = zero.get("stage", 0)
    offload = "offload_optimizer" in zero
    states = 12 if stage or half else 8  # float32 without ZeRO needs no master copy
    width = 2 if half else 4
    gradients = 4 / ranks if stage == 2 else 4.0
    buffers = 2 if zero.get("overlap_comm") else 1
    bucket = zero.get("reduce_bucket_size", 5e8)
    bucketed = bucket * buffers if stage else 0
    if stage == 1 and half:
        gradients, bucketed = 6.0, 0
    if stage == 2 and fast_zero2 and not offload:
        bucketed = total if ranks == 1 else 2 * buffers * min(bucket, total)
    units = 9 * config.hidden_size + (4 if family_of(config).gated else 2) * config.intermediate_size
    parts = {
        "weights": total * width,
        "gradients": total * gradients,
        "optimizer": 0 if offload else total * states / (ranks if stage else 1),
        "buckets": bucketed * width,
        "activations": (width * units * config.num_hidden_layers + (width + 8) * logits) * micro_tokens,
    }
    return {name: size / GIB for name, size in parts.items()}


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that device or host memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def advice(setup: Setup, ranks: int, tokens: int, available: float) -> str:
    """What to lower after memory ran out in a micro-batch of `tokens` tokens; `available`: GiB that a rank may use."""
    config = setup.run
    total, logits = sum(parameters(setup)), masked_logits(setup)
    parts = memory(total, setup.ds, setup.source, config.micro_tokens, ranks, config.fast_zero2, logits)
    fixed = sum(parts.values()) - parts["activations"]
    plan = ", ".join(f"{name} {size:.1f}" for name, size in parts.items())
    problem = (
        f"out of memory in a micro-batch of {tokens} tokens (micro_tokens {config.micro_tokens}; planned GiB: {plan}; "
        f"the device has {available:.1f})"
    )
    longest = max(int(task.train.length.max()) for task in setup.tasks)
    room = int(0.8 * (available - fixed) / (parts["activations"] / config.micro_tokens))
    micro = max(0, min(room, config.micro_tokens // 2, tokens // 2))
    if micro < longest:
        return (
            f"{problem}: no smaller micro_tokens helps, since the longest example has {longest} tokens: use more GPUs "
            "with ZeRO stage 2, zero2_offload.json, gradient_checkpointing, or a lower max_length"
        )
    return (
        f"{problem}: lower micro_tokens, for example --set micro_tokens={micro}: it computes the same in more "
        "micro-steps; the same command with it goes on where the run stopped"
    )


def available() -> float:
    """GiB of the device that this rank computes on (CPU: its share of the host's)."""
    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory) / GIB
    return float(psutil.virtual_memory().total) / GIB / local_ranks()
