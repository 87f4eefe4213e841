"""Numerator and denominator of MFU: FLOPs of a training step on real tokens, and the peak of the device.

    MFU = training_flops(real tokens of a step) / (seconds of the step x peak)

Model FLOPs utilisation (Chowdhery et al. 2022, appendix B) with the FLOPs of matrix products alone, two for each
multiply-add, the backward pass twice the forward pass (Narayanan et al. 2021, section 3), of the blocks without
embeddings and heads. Padding does not count, nor what gradient checkpointing recomputes, nor what the last block need
not compute because no head reads it. `FORMULA` has it in one line; a test compares it with torch's own counter.
"""

import statistics
import time

import torch

from mtl.data.packing import PackedBatch

FORMULA = (
    "FLOPs = 3 [(L-1) T (8 d d + 4 d f) + 6 T d d + R (2 d d + 4 d f) + 4 L d sum of s s]: L blocks, width d, "
    "MLP f, T real tokens, s of each sequence, R positions of the last block that heads read (Narayanan et al. 2021, "
    "section 3, without logits)"
)
SIZES = ((4096, 4096, 4096), (8192, 8192, 8192), (16384, 4096, 4096), (16384, 8192, 8192), (16384, 1024, 4096))


def training_flops(shape: dict[str, int], tokens: int, squares: int, read: int) -> int:
    """Forward and backward, of `tokens` in sequences whose squared lengths sum to `squares`.

    shape: as in bench.workload.training.SHAPES; read: positions of the last block's output that heads read.
    """
    layers, d, f = shape["num_hidden_layers"], shape["hidden_size"], shape["intermediate_size"]
    mlp = 2 * d * d + 4 * d * f  # output projection of attention and MLP, of one token
    attention = 4 * layers * d * squares  # scores and weighted sum of values
    return 3 * (layers * 6 * d * d * tokens + mlp * ((layers - 1) * tokens + read) + attention)


def of_batch(shape: dict[str, int], batch: PackedBatch) -> int:
    """`training_flops` of a packed micro-batch."""
    read = sum(len(rows.tokens) for rows in batch.heads.values())
    return training_flops(shape, batch.tokens, sum(length**2 for length in batch.seq_lengths), read)


def shape_of(config: object) -> dict[str, int]:
    """The fields of a transformers config that FLOPs depend on."""
    return {name: getattr(config, name) for name in ("num_hidden_layers", "hidden_size", "intermediate_size")}


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
