"""Operations of a training step on real tokens, and what the device multiplies at most: the two halves of an MFU.

    MFU = operations(real tokens of a step) / (seconds of the step x peak)

Model FLOPs utilisation (Chowdhery et al. 2022, appendix B) with the operations of matrix products alone, two for each
multiply-add, backwards twice those forwards (Narayanan et al. 2021, section 3): of the blocks, without embeddings and
heads. Padding does not count, nor what gradient checkpointing computes again, nor what the last block need not compute
because no head reads it. `FORMULA` says it in one line; test_bench_gpu.py holds it against torch's own counter.
"""

import statistics
import time

import torch

from mtl.data.packing import PackedBatch

FORMULA = (
    "operations = 3 [(L-1) T (8 d d + 4 d f) + 6 T d d + R (2 d d + 4 d f) + 4 L d sum of s s]: L blocks, width d, "
    "MLP f, T real tokens, s of each sequence, R places that heads read of the last block (Narayanan et al. 2021, "
    "section 3, without logits)"
)
SIZES = ((4096, 4096, 4096), (8192, 8192, 8192), (16384, 4096, 4096), (16384, 8192, 8192), (16384, 1024, 4096))


def operations(shape: dict[str, int], tokens: int, squares: int, read: int) -> int:
    """Forwards and backwards, of `tokens` in sequences whose squared lengths add up to `squares`.

    shape: as bench.workload.SHAPES has it; read: places of the last block's output that heads read.
    """
    layers, d, f = shape["num_hidden_layers"], shape["hidden_size"], shape["intermediate_size"]
    behind = 2 * d * d + 4 * d * f  # attention's output projection and the MLP, of one token
    attention = 4 * layers * d * squares  # scores and the sum of values
    return 3 * (layers * 6 * d * d * tokens + behind * ((layers - 1) * tokens + read) + attention)


def of_batch(shape: dict[str, int], batch: PackedBatch) -> int:
    """`operations` of a packed micro-batch."""
    read = sum(len(rows.tokens) for rows in batch.heads.values())
    return operations(shape, batch.tokens, sum(length**2 for length in batch.seq_lengths), read)


def shape_of(config: object) -> dict[str, int]:
    """The part of a transformers config that counts."""
    return {name: getattr(config, name) for name in ("num_hidden_layers", "hidden_size", "intermediate_size")}


def peak() -> dict[str, float]:
    """{"m x k x n": operations a second} of dense bf16 products of random numbers on the GPU, median of ten each."""
    found = {}
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
            if number >= 3:  # the first warm up
                seconds.append((time.perf_counter() - began) / 5)
        found[f"{m} x {k} x {n}"] = 2 * m * k * n / statistics.median(seconds)
        del a, b, out
    torch.cuda.empty_cache()
    return found
