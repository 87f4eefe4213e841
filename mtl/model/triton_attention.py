"""Attention over packed rows in Triton: forward and backward, deterministic, for many short sequences.

The algorithm is FlashAttention-2 (Dao 2023, arXiv:2307.08691): scores stay in tiles on the chip, the forward pass saves
the log-sum-exp of each query, and the backward pass recomputes them. Written for this project's rows:

- A row is cut into tiles on the host, once per micro-batch (`make_tiles`): a program per tile and head, none empty,
  the longest sequences first, so that the short ones fill the gaps at the end.
- Backward: a kernel over tiles of queries (dq, and `delta`), then one over tiles of keys (dk, dv). They compute the
  scores twice, 7 matrix products instead of 5, and so need no atomic adds: the same inputs give bitwise the same
  gradients. (A special kernel for sequences of one tile, which needs 5, was 2 % faster on an H100.)

Block sizes are fixed (`KERNELS`), not autotuned: start-up is short and every rank runs the same code.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable


class LaunchConfig(NamedTuple):
    """Launch parameters of a kernel. tile: rows of a program, one of SIZES; step: rows it reads per loop iteration.

    stages: of the software pipeline (iterations whose loads are in flight).
    """

    tile: int
    step: int
    warps: int
    stages: int


class Kernels(NamedTuple):
    """The kernels for one head size and element size."""

    forward: LaunchConfig
    dq: LaunchConfig
    dkv: LaunchConfig


SIZES = (32, 64)  # tile sizes; those of all `KERNELS`
# By bytes per element and largest dim. The limits: registers hold float32 accumulators, tile x step (scores) and
# tile x dim (results), over 32 * warps threads of at most 255 registers; operands are in shared memory, 227 KB.
KERNELS = {
    # The fastest of 19 on an H100, where tiles of 128 were 15 to 100 % slower (bench/README.md).
    (2, 64): Kernels(LaunchConfig(64, 64, 4, 3), LaunchConfig(64, 64, 4, 3), LaunchConfig(64, 64, 4, 1)),
    (2, 128): Kernels(LaunchConfig(64, 64, 4, 2), LaunchConfig(64, 64, 4, 2), LaunchConfig(64, 64, 8, 2)),
    # IEEE float32 has no tensor cores: small tiles, for tests and rare uses.
    (4, 64): Kernels(*[LaunchConfig(32, 32, 4, 1)] * 3),
    (4, 128): Kernels(*[LaunchConfig(32, 32, 8, 1)] * 3),
}
LOG2E = tl.constexpr(1.4426950408889634)  # exp(x) = exp2(x * LOG2E), and the hardware has exp2


def kernels_for(dtype: torch.dtype, dim: int) -> Kernels:
    return KERNELS[dtype.itemsize, max(64, dim)]


@dataclass(frozen=True)
class Tiles:
    """The tiles of a packed row, longest sequences first, from `make_tiles`; shared by all layers."""

    tokens: int  # T, the sum of the lengths
    tables: dict[int, Tensor]  # by tile size: int32 [tiles, 4] (see `_tile`), views of one tensor


def make_tiles(lengths: tuple[int, ...], device: torch.device | str) -> Tiles:
    """The tiles of a row of sequences of these lengths (each at least 1), by one asynchronous copy to the device."""
    unsorted = np.array(lengths, dtype=np.int32)
    order = np.argsort(-unsorted, kind="stable")
    sizes, starts = unsorted[order], (np.cumsum(unsorted) - unsorted)[order]
    parts = []
    for tile in SIZES:
        counts = -(-sizes // tile)
        ends = np.cumsum(counts)
        owner = np.repeat(np.arange(len(sizes)), counts)
        table = np.zeros((len(owner), 4), dtype=np.int32)  # a fourth column: every row, thus every view, is aligned
        table[:, 0], table[:, 1] = starts[owner], sizes[owner]
        table[:, 2] = tile * (np.arange(len(owner)) - (ends - counts)[owner])
        parts.append(table)
    host = torch.from_numpy(np.concatenate(parts))
    # From pageable memory the host would wait for all queued work of the GPU.
    host = host.pin_memory() if torch.device(device).type == "cuda" else host
    tables = host.to(device, non_blocking=True).split([len(part) for part in parts])
    return Tiles(int(unsorted.sum()), dict(zip(SIZES, tables, strict=True)))


def attention(qkv: Tensor, tiles: Tiles, scale: float) -> Tensor:
    """softmax(q k^T * scale) v within each sequence of a packed row: [T, 3, heads, dim] -> [T, heads, dim].

    qkv: contiguous, on the current device, of at most 4 bytes an element; dim: 16, 32, 64 or 128; scale: positive. The
    gradient is one contiguous [T, 3, heads, dim].
    """
    tokens, three, _, dim = qkv.shape
    assert tokens == tiles.tokens and three == 3, f"{tuple(qkv.shape)} for {tiles.tokens} tokens"
    assert qkv.dtype.itemsize <= 4 and dim in (16, 32, 64, 128) and scale > 0, f"{qkv.dtype}, dim {dim}, scale {scale}"
    return _Attention.apply(qkv.contiguous(), tiles, scale)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, tiles: Tiles, scale: float) -> Tensor:
        tokens, _, heads, dim = qkv.shape
        out = torch.empty((tokens, heads, dim), dtype=qkv.dtype, device=qkv.device)
        lse = torch.empty((heads, tokens), dtype=torch.float32, device=qkv.device)
        _launch(_forward, kernels_for(qkv.dtype, dim).forward, tiles, (qkv, out, lse), scale)
        ctx.save_for_backward(qkv, out, lse)
        ctx.tiles, ctx.scale = tiles, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor, None, None]:
        qkv, out, lse = ctx.saved_tensors
        tiles, scale, kernels = ctx.tiles, ctx.scale, kernels_for(qkv.dtype, qkv.shape[-1])
        dout = dout.contiguous()
        dqkv = torch.empty(qkv.shape, dtype=qkv.dtype, device=qkv.device)
        delta = torch.empty(lse.shape, dtype=lse.dtype, device=lse.device)
        for function, config in ((_backward_dq, kernels.dq), (_backward_dkv, kernels.dkv)):
            _launch(function, config, tiles, (qkv, out, dout, lse, delta, dqkv), scale)
        return dqkv, None, None


def _launch(function: Any, config: LaunchConfig, tiles: Tiles, tensors: tuple[Tensor, ...], scale: float) -> None:
    """Runs `function` over all tiles of its size and all heads."""
    _, _, heads, dim = tensors[0].shape  # qkv
    table = tiles.tables[config.tile]
    function[(len(table) * heads,)](
        *tensors, table, tiles.tokens, scale, heads, dim, config.tile, config.step,
        num_warps=config.warps, num_stages=config.stages,
    )  # fmt: skip


# In the kernels: q, k, v, dout (`do`) and their gradients are [rows, DIM]; scores are [queries, keys], in base 2 (by
# LOG2E), as is `lse`, float32 [heads, T]. Products accumulate in float32; probabilities and ds are rounded to the
# inputs' dtype, as operands must be. Rows beyond the end of the sequence are read as 0 and not stored. Such queries
# have an lse of infinity, thus probabilities of exactly 0; such keys are masked, except in `_backward_dkv`, where each
# key has its own row of the results.
# Counts that change with every batch must not be specialised on, or Triton recompiles for some of their values.
_jit = triton.jit(do_not_specialize=["tokens"])


@triton.jit
def _tile(table, tokens, HEADS: tl.constexpr, DIM: tl.constexpr, TILE: tl.constexpr):
    """What this program works on: (rows of the tile in its sequence [TILE], length of the sequence, offsets of the

    sequence and this program's head in qkv [T, 3, HEADS, DIM], out [T, HEADS, DIM] and lse [HEADS, T]).
    Heads are the fast axis: programs that run together read neighbouring memory.
    """
    program = tl.program_id(0)
    entry = table + 4 * (program // HEADS)
    start, length, head = tl.load(entry).to(tl.int64), tl.load(entry + 1), program % HEADS
    rows = tl.load(entry + 2) + tl.arange(0, TILE)
    of_out = start * (HEADS * DIM) + head * DIM
    return rows, length, of_out + start * (2 * HEADS * DIM), of_out, head.to(tl.int64) * tokens + start


@triton.jit
def _keys(base, at, length, STEP: tl.constexpr, ROW: tl.constexpr, DIM: tl.constexpr):
    """(numbers [STEP], k, v) of the keys from `at` on."""
    keys = at + tl.arange(0, STEP)
    return keys, _read(base + ROW // 3, keys, length, ROW, DIM), _read(base + 2 * (ROW // 3), keys, length, ROW, DIM)


@triton.jit
def _read(base, rows, length, ROW: tl.constexpr, DIM: tl.constexpr):
    """Rows [n] of a sequence that starts at `base` (64 bits; within a sequence 32 are enough), ROW elements apart."""
    return tl.load(base + rows[:, None] * ROW + tl.arange(0, DIM)[None, :], mask=rows[:, None] < length, other=0.0)


@triton.jit
def _write(base, rows, length, value, ROW: tl.constexpr, DIM: tl.constexpr):
    address = base + rows[:, None] * ROW + tl.arange(0, DIM)[None, :]
    tl.store(address, value.to(base.dtype.element_ty), mask=rows[:, None] < length)


@triton.jit
def _product(a, b):
    """a b^T for rows a [m, n], b [l, n] -> float32 [m, l]."""
    return tl.dot(a, tl.trans(b), input_precision="ieee")


@_jit
def _forward(
    qkv, out, lse, table, tokens, scale,
    HEADS: tl.constexpr, DIM: tl.constexpr, TILE: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """out [T, HEADS, DIM] and lse of a tile of queries, over all keys of its sequence."""
    PART: tl.constexpr = HEADS * DIM
    rows, length, of_qkv, of_out, of_lse = _tile(table, tokens, HEADS, DIM, TILE)
    q = _read(qkv + of_qkv, rows, length, 3 * PART, DIM)
    factor = scale * LOG2E
    top = tl.full([TILE], float("-inf"), tl.float32)
    total = tl.zeros([TILE], tl.float32)
    result = tl.zeros([TILE, DIM], tl.float32)
    for at in range(0, length, STEP):
        keys, k, v = _keys(qkv + of_qkv, at, length, STEP, 3 * PART, DIM)
        scores = tl.where(keys[None, :] < length, _product(q, k), float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 1) * factor)  # finite: each iteration has a key of the sequence
        p = tl.exp2(scores * factor - higher[:, None])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(p, 1)
        result = tl.dot(p.to(v.dtype), v, result * shrink[:, None], input_precision="ieee")
        top = higher
    _write(out + of_out, rows, length, result / total[:, None], PART, DIM)
    tl.store(lse + of_lse + rows, top + tl.log2(total), mask=rows < length)


@_jit
def _backward_dq(
    qkv, out, dout, lse, delta, dqkv, table, tokens, scale,
    HEADS: tl.constexpr, DIM: tl.constexpr, TILE: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """dq of a tile of queries, and delta = sum(dout * out) of each, float32 [HEADS, T], for the next kernel."""
    PART: tl.constexpr = HEADS * DIM
    rows, length, of_qkv, of_out, of_lse = _tile(table, tokens, HEADS, DIM, TILE)
    q = _read(qkv + of_qkv, rows, length, 3 * PART, DIM)
    do = _read(dout + of_out, rows, length, PART, DIM)
    o = _read(out + of_out, rows, length, PART, DIM)
    d = tl.sum(do.to(tl.float32) * o.to(tl.float32), 1)
    tl.store(delta + of_lse + rows, d, mask=rows < length)
    norm = tl.load(lse + of_lse + rows, mask=rows < length, other=float("inf"))
    factor = scale * LOG2E
    dq = tl.zeros([TILE, DIM], tl.float32)
    for at in range(0, length, STEP):
        keys, k, v = _keys(qkv + of_qkv, at, length, STEP, 3 * PART, DIM)
        scores = tl.where(keys[None, :] < length, _product(q, k), float("-inf"))
        p = tl.exp2(scores * factor - norm[:, None])
        ds = p * (_product(do, v) - d[:, None])
        dq = tl.dot(ds.to(k.dtype), k, dq, input_precision="ieee")
    _write(dqkv + of_qkv, rows, length, dq * scale, 3 * PART, DIM)


@_jit
def _backward_dkv(
    qkv, out, dout, lse, delta, dqkv, table, tokens, scale,
    HEADS: tl.constexpr, DIM: tl.constexpr, TILE: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """dk and dv of a tile of keys, over all queries of its sequence. `out` is not read."""
    PART: tl.constexpr = HEADS * DIM
    rows, length, of_qkv, of_out, of_lse = _tile(table, tokens, HEADS, DIM, TILE)
    k = _read(qkv + of_qkv + PART, rows, length, 3 * PART, DIM)
    v = _read(qkv + of_qkv + 2 * PART, rows, length, 3 * PART, DIM)
    factor = scale * LOG2E
    dk = tl.zeros([TILE, DIM], tl.float32)
    dv = tl.zeros([TILE, DIM], tl.float32)
    for at in range(0, length, STEP):
        queries = at + tl.arange(0, STEP)
        q = _read(qkv + of_qkv, queries, length, 3 * PART, DIM)
        do = _read(dout + of_out, queries, length, PART, DIM)
        norm = tl.load(lse + of_lse + queries, mask=queries < length, other=float("inf"))
        d = tl.load(delta + of_lse + queries, mask=queries < length, other=0.0)
        p = tl.exp2(_product(q, k) * factor - norm[:, None])
        dv = tl.dot(tl.trans(p.to(do.dtype)), do, dv, input_precision="ieee")
        ds = p * (_product(do, v) - d[:, None])
        dk = tl.dot(tl.trans(ds.to(q.dtype)), q, dk, input_precision="ieee")
    _write(dqkv + of_qkv + PART, rows, length, dk * scale, 3 * PART, DIM)
    _write(dqkv + of_qkv + 2 * PART, rows, length, dv, 3 * PART, DIM)
