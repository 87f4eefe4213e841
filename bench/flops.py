"""Numerator and denominator of MFU: FLOPs of a training step on real tokens, and the peak of the device.

    MFU = training_flops(real tokens of a step) / (seconds of the step x peak)

Model FLOPs utilisation (Chowdhery et al. 2022, appendix B) with the FLOPs of matrix products alone, two for each
multiply-add, the backward pass twice the forward pass (Narayanan et al. 2021, section 3), of the blocks without
embeddings and heads. Padding does not count, nor what gradient checkpointing recomputes, nor what the last block need
not compute because no head reads it. `FORMULA` has it in one line; a test compares it with torch's own counter.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mtl.data.packing import PackedBatch
from mtl.model.families import family_of

FORMULA = (
    "FLOPs = 3 [(L-1) T (4 d d + 4 d k + 4 d f) + T (2 d d + 4 d k) + R (2 d d + 4 d f) + 4 d sum over blocks of s v]: "
    "L blocks, width d, keys k (d where heads have their own), MLP f (6 d f where gated), T real tokens, s of each "
    "sequence, v of it that a token attends to, R positions of the last block that heads read (Narayanan et al. 2021, "
    "section 3, without logits)"
)
SIZES = ((4096, 4096, 4096), (8192, 8192, 8192), (16384, 4096, 4096), (16384, 8192, 8192), (16384, 1024, 4096))


@dataclass(frozen=True)
class Shape:
    """What FLOPs depend on. keys: width of all heads' keys; local: blocks in which a token attends to a `window`."""

    layers: int
    width: int
    mlp: int
    gated: bool
    keys: int
    local: int
    window: int | None


def shape_of(config: Any) -> Shape:
    """Of an encoder's transformers config."""
    family, heads = family_of(config), config.num_attention_heads
    keys = config.hidden_size * (getattr(config, "num_key_value_heads", None) or heads) // heads
    local = getattr(config, "layer_types", None) or []
    return Shape(
        config.num_hidden_layers, config.hidden_size, config.intermediate_size, family.gated, keys,
        local.count("sliding_attention"), family.window(config),
    )  # fmt: skip


def training_flops(shape: Shape, lengths: Sequence[int], read: int) -> int:
    """Forward and backward, of sequences of `lengths`; read: positions of the last block's output that heads read."""
    d, tokens = shape.width, sum(lengths)
    projections = 2 * d * d + 4 * d * shape.keys  # of one token, to query, key and value
    rest = 2 * d * d + (6 if shape.gated else 4) * d * shape.mlp  # output projection of attention, and MLP
    whole = sum(length**2 for length in lengths)
    near = whole if shape.window is None else sum(_near(length, shape.window) for length in lengths)
    attention = 4 * d * ((shape.layers - shape.local) * whole + shape.local * near)  # scores and weighted sum of values
    return 3 * (shape.layers * projections * tokens + rest * ((shape.layers - 1) * tokens + read) + attention)


def _near(length: int, window: int) -> int:
    """Pairs of positions less than `window` apart."""
    far = max(0, length - window)
    return length**2 - far * (far + 1)


def of_batch(shape: Shape, batch: PackedBatch) -> int:
    """`training_flops` of a packed micro-batch."""
    return training_flops(shape, batch.seq_lengths, sum(len(rows.tokens) for rows in batch.heads.values()))


def peak() -> dict[str, float]:
    """{"m x k x n": FLOP/s} of dense bf16 products of random numbers on the GPU, each the median of ten."""
    speeds = {}
    for m, k, n in SIZES:
        a, b = (torch.randn(*size, device="cuda", dtype=torch.bfloat16) for size in ((m, k), (k, n)))
        out = torch.empty(m, n, device="cuda", dtype=torch.bfloat16)
        seconds = []
        for number in range(13):
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(5):
                torch.mm(a, b, out=out)
            torch.cuda.synchronize()
            if number >= 3:  # after warm-up
                seconds.append((time.perf_counter() - began) / 5)
        speeds[f"{m} x {k} x {n}"] = 2 * m * k * n / statistics.median(seconds)
        del a, b, out
    torch.cuda.empty_cache()
    return speeds
