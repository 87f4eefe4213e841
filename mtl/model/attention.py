"""Attention over a packed row: one function, several back-ends (tests/unit/mtl/test_packing.py: all compute the same).

A packed row is S sequences concatenated, T tokens in all; a token attends to its own sequence only. The function is
registered with transformers as attention implementation `packed`, so stock XLM-R modules call it; the boundaries of the
sequences come as the keyword argument `layout`, made once per micro-batch by `make_layout`.

- `triton`: our own kernels for short sequences (CUDA, half precision; no attention dropout), behind one
  projection of query, key and value together. GPU default.
- `varlen`: `torch.nn.attention.varlen` (FlashAttention 2; the same conditions). Its backward pass is slow for short
  sequences, and adds up in no fixed order.
- `sdpa`: one SDPA call per run of equally long neighbours, on views, nothing copied. CPU default: attention cost
  follows the real lengths (`mtl/data/packing.py` sorts sequences by length so that runs are long).
- `padded`: one padded SDPA call per micro-batch. For GPUs in float32, where many small calls cost more than padding.
"""

import importlib.util
import itertools
import os
import shutil
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

TRITON_HEADS = (16, 32, 64, 128)  # head sizes that mtl/model/triton_attention.py takes
NAME = "packed"  # unknown to transformers' mask registry, which therefore builds no mask


@dataclass(frozen=True)
class Layout:
    """The sequences of a packed row. `lengths`: S sequence lengths (host); tensors are on the row's device."""

    backend: str
    lengths: tuple[int, ...]
    cu_seqlens: Tensor  # int32 [S + 1], cumulative lengths, first 0
    cells: Tensor | None = None  # padded: int64 [T], index of each token in the flattened [S * longest]
    mask: Tensor | None = None  # padded: bool [S, 1, 1, longest]
    tiles: Any = None  # triton: `triton_attention.Tiles`


def backend_of(encoder: Any) -> str:
    """The back-end of an encoder, in its current mode; `auto` goes by device, dtype, dropout, head size and window.

    The fast kernels need half precision and compute capability 8 (Ampere); ours Triton and a head size of 16, 32, 64 or
    128 and no window, torch's a multiple of 8 up to 256.
    """
    if encoder.packed_backend != "auto":
        return str(encoder.packed_backend)
    weight, config = encoder.get_input_embeddings().weight, encoder.config
    device, head = weight.device, config.hidden_size // config.num_attention_heads
    if device.type == "cpu":
        return "sdpa"
    slow = weight.dtype not in (torch.bfloat16, torch.float16) or (encoder.training and encoder.attention_dropout)
    if slow or device.type != "cuda" or torch.cuda.get_device_capability(device)[0] < 8:
        return "padded"
    if encoder.window is None and head in TRITON_HEADS and has_triton():
        return "triton"
    return "varlen" if head % 8 == 0 and head <= 256 else "padded"


def has_triton() -> bool:
    """Whether Triton is installed (it comes with torch for CUDA), and the C compiler that it builds launchers with."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    return importlib.util.find_spec("triton") is not None and compiler is not None


def make_layout(backend: str, lengths: tuple[int, ...], cu_seqlens: Tensor) -> Layout:
    """The layout of a row of sequences of `lengths`, for one of the back-ends above."""
    device = cu_seqlens.device

    def on_device(tensor: Tensor) -> Tensor:
        # From pageable memory the host would wait for all queued work of the GPU.
        tensor = tensor.pin_memory() if device.type == "cuda" else tensor
        return tensor.to(device, non_blocking=True)

    if backend == "triton":
        from mtl.model import triton_attention  # imports Triton

        return Layout(backend, lengths, cu_seqlens, tiles=triton_attention.make_tiles(lengths, device))
    if backend != "padded":
        return Layout(backend, lengths, cu_seqlens)
    longest = max(lengths)
    sizes = torch.tensor(lengths)
    real = torch.arange(longest)[None, :] < sizes[:, None]
    cells = torch.arange(len(lengths) * longest).view(len(lengths), longest)[real]
    return Layout(backend, lengths, cu_seqlens, on_device(cells), on_device(real[:, None, None, :]))


def self_attention(module: Any, hidden: Tensor, layout: Layout) -> Tensor:
    """The output of `module`, the self-attention of a transformers block, for `hidden`: [1, T, H] -> [1, T, H]."""
    if layout.backend != "triton":
        return module(hidden, None, layout=layout)[0]
    from mtl.model import triton_attention

    # One product instead of three, and in the backward pass no additions of three gradients.
    projections = (module.query, module.key, module.value)
    weight, bias = torch.cat([p.weight for p in projections]), torch.cat([p.bias for p in projections])
    qkv = F.linear(hidden, weight, bias).view(hidden.shape[1], 3, module.num_attention_heads, -1)
    return triton_attention.attention(qkv, layout.tiles, module.scaling).view(hidden.shape)


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of a packed row: query [1, heads, T, head_dim] -> [1, T, heads, head_dim].

    key, value: as query, or of fewer heads, each for several neighbouring ones of the query. sliding_window: a token
    attends to those less than so far away in its sequence. The signature is that of `transformers.AttentionInterface`;
    `attention_mask` is None by construction. `triton` and `varlen` have no dropout, `triton` no windows either:
    mtl/model/encoder.py refuses them.
    """
    assert attention_mask is None and query.shape[0] == 1
    options: dict[str, Any] = {"scale": scaling, "dropout_p": dropout}
    window = None if sliding_window is None or max(layout.lengths) <= sliding_window else sliding_window
    if (groups := query.shape[1] // key.shape[1]) > 1:
        key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    if layout.backend == "varlen":
        return _varlen(query, key, value, layout, scaling, window), None
    if layout.backend == "triton":
        from mtl.model import triton_attention

        qkv = torch.stack([x.squeeze(0).transpose(0, 1) for x in (query, key, value)], 1)  # [T, 3, heads, dim]
        return triton_attention.attention(qkv, layout.tiles, scaling)[None], None
    if layout.backend == "padded":
        assert layout.cells is not None
        # Scattered, not gathered: a gather would read all padding from one token, and its backward pass would add all
        # of it to that token, one after the other.
        size = (len(layout.lengths), max(layout.lengths))
        q, k, v = (
            x.new_zeros(size[0] * size[1], x.shape[1], x.shape[3])
            .index_copy(0, layout.cells, x.squeeze(0).transpose(0, 1))
            .unflatten(0, size)
            .transpose(1, 2)
            for x in (query, key, value)
        )  # [S, heads, longest, dim]
        mask = layout.mask
        if window is not None:
            assert mask is not None
            # What stands for padding sees itself, or its softmax would be over nothing.
            near, itself = _near(size[1], window, query.device), _near(size[1], 1, query.device)
            mask = mask & near | itself
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)
        flat = out.transpose(1, 2).flatten(0, 1)  # [S * longest, heads, dim]
        return flat.index_select(0, layout.cells)[None], None
    dtype = query.dtype
    if query.device.type == "cpu" and dtype in (torch.bfloat16, torch.float16):
        # In bf16 torch's kernel for CPUs takes twice as long for short sequences, and is less exact.
        query, key, value = (x.float() for x in (query, key, value))
    # One split, not a slice per run: the backward of a slice fills and adds a whole row of zeros, each time.
    runs = [(length, len(list(run))) for length, run in itertools.groupby(layout.lengths)]
    sizes = [length * count for length, count in runs]
    rows = [x.squeeze(0).transpose(0, 1).split(sizes) for x in (query, key, value)]  # views [n, heads, dim]
    outputs = []
    for (length, count), *row in zip(runs, *rows, strict=True):
        q, k, v = (x.unflatten(0, (count, length)).transpose(1, 2) for x in row)  # [count, heads, length, dim]
        mask = None if window is None or length <= window else _near(length, window, query.device)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)
        outputs.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)[None].to(dtype), None


def _near(length: int, window: int, device: torch.device) -> Tensor:
    """bool [length, length]: which pairs of positions are less than `window` apart."""
    positions = torch.arange(length, device=device)
    return (positions[:, None] - positions[None, :]).abs() < window


def _varlen(query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float, window: int | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # CUDA only

    # Not x[0], whose backward pass fills and copies all of it.
    q, k, v = (x.squeeze(0).transpose(0, 1).contiguous() for x in (query, key, value))  # [T, heads, dim]
    # The kernel's own scale is 1 / sqrt(head_dim); only the seven positional arguments are stable across releases.
    assert abs(scaling - q.shape[-1] ** -0.5) < 1e-9
    longest = max(layout.lengths)
    limit: dict[str, Any] = {} if window is None else {"window_size": (window - 1, window - 1)}
    out: Any = varlen_attn(q, k, v, layout.cu_seqlens, layout.cu_seqlens, longest, longest, **limit)
    return out[None]


AttentionInterface.register(NAME, packed_attention)
