"""Attention over a packed row: one function, several back-ends, tested equal.

A packed row holds S sequences one behind the other, T tokens in all; a token attends to its own sequence only. The
function is registered with transformers under the name `packed`, so stock XLM-R modules call it; what it needs to
know about the row travels as the keyword argument `layout`, made once per micro-batch by `make_layout`.

- `triton`: our own kernels for short sequences (CUDA, half precision; no attention dropout), behind one
  projection of query, key and value together. GPU default.
- `varlen`: `torch.nn.attention.varlen` (FlashAttention 2; the same conditions). Its backward pass is slow for short
  sequences, and adds up in no fixed order.
- `sdpa`: one SDPA call per run of equally long neighbours, on views, nothing copied. CPU default: attention cost
  follows the real lengths (`mtl/data/packing.py` sorts sequences by length so that runs are long).
- `padded`: one padded SDPA call per micro-batch. For GPUs in float32, where many small calls cost more than padding.
- `block`: one SDPA call with a T x T mask. The reference: memory grows with T squared.
"""

import importlib.util
import os
import shutil
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

TRITON_HEADS = (16, 32, 64, 128)  # sizes of a head that mtl/model/triton_attention.py takes
NAME = "packed"  # unknown to transformers' mask registry, which therefore builds no mask


@dataclass(frozen=True)
class Layout:
    """How a packed row is cut. `lengths`: S sequence lengths (host); tensors live on the row's device."""

    backend: str
    lengths: tuple[int, ...]
    cu_seqlens: Tensor  # int32 [S + 1], cumulative lengths, first 0
    cells: Tensor | None = None  # padded: int64 [T], cell of each token in the flattened [S * longest]
    mask: Tensor | None = None  # padded: bool [S, 1, 1, longest]; block: bool [1, 1, T, T]
    tiles: Any = None  # triton: `mtl.flash.Tiles`


def choose(device: torch.device, dtype: torch.dtype, dropout: float, head_dim: int) -> str:
    """The back-end that `auto` means on this device, for this dtype, attention dropout and size of a head.

    The fast kernels need half precision and compute capability 8 (Ampere); ours Triton and heads of 16, 32, 64 or 128,
    torch's heads of a multiple of 8 up to 256.
    """
    if device.type == "cpu":
        return "sdpa"
    half = dtype in (torch.bfloat16, torch.float16)
    if not half or dropout or device.type != "cuda" or torch.cuda.get_device_capability(device)[0] < 8:
        return "padded"
    if head_dim in TRITON_HEADS and has_triton():
        return "triton"
    return "varlen" if head_dim % 8 == 0 and head_dim <= 256 else "padded"


def has_triton() -> bool:
    """Whether Triton is there, which comes with torch for CUDA, and the C compiler that it starts kernels with."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    return importlib.util.find_spec("triton") is not None and compiler is not None


def make_layout(backend: str, lengths: tuple[int, ...], cu_seqlens: Tensor) -> Layout:
    """The layout of a row of sequences of `lengths`, for one of the back-ends above."""
    device = cu_seqlens.device

    def there(tensor: Tensor) -> Tensor:
        # From ordinary memory the host would wait for all that the GPU still has to do.
        tensor = tensor.pin_memory() if device.type == "cuda" else tensor
        return tensor.to(device, non_blocking=True)

    if backend in ("varlen", "sdpa"):
        return Layout(backend, lengths, cu_seqlens)
    if backend == "triton":
        from mtl.model import triton_attention  # needs Triton, which comes with torch for CUDA

        return Layout(backend, lengths, cu_seqlens, tiles=triton_attention.make_tiles(lengths, device))
    if backend == "block":
        owner = there(torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)))
        return Layout(backend, lengths, cu_seqlens, mask=(owner[:, None] == owner[None, :])[None, None])
    assert backend == "padded", backend
    longest = max(lengths)
    sizes = torch.tensor(lengths)
    real = torch.arange(longest)[None, :] < sizes[:, None]
    cells = torch.arange(len(lengths) * longest).view(len(lengths), longest)[real]
    return Layout(backend, lengths, cu_seqlens, there(cells), there(real[:, None, None, :]))


def self_attention(module: Any, hidden: Tensor, layout: Layout) -> Tensor:
    """What `module`, the self-attention of a transformers block, gives for `hidden`: [1, T, H] -> [1, T, H]."""
    if layout.backend != "triton":
        out: Tensor = module(hidden, None, layout=layout)[0]
        return out
    from mtl.model import triton_attention

    assert not (module.training and module.dropout.p), (
        "no attention dropout here; mtl/model/encoder.py refuses the combination"
    )
    # One product instead of three, and in the backward pass no additions of three gradients.
    parts = (module.query, module.key, module.value)
    weight, bias = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
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
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of a packed row: query, key, value [1, heads, T, head_dim] -> [1, T, heads, head_dim].

    The signature is that of `transformers.AttentionInterface`; `attention_mask` is None by construction.
    """
    assert attention_mask is None and query.shape[0] == 1
    options: dict[str, Any] = {"scale": scaling, "dropout_p": dropout}
    if layout.backend == "varlen":
        return _varlen(query, key, value, layout, scaling, dropout), None
    if layout.backend == "block":
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=layout.mask, **options)
        return out.transpose(1, 2), None
    if layout.backend == "padded":
        assert layout.cells is not None
        assert layout.mask is not None
        # Copied to distinct cells: gathered from the row, padding would all come from one place, and in the backward
        # pass all go back there, one after the other.
        size = (len(layout.lengths), max(layout.lengths))
        q, k, v = (
            x.new_zeros(size[0] * size[1], x.shape[1], x.shape[3])
            .index_copy(0, layout.cells, x.squeeze(0).transpose(0, 1))
            .unflatten(0, size)
            .transpose(1, 2)
            for x in (query, key, value)
        )  # [S, heads, longest, dim]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=layout.mask, **options)
        flat = out.transpose(1, 2).flatten(0, 1)  # [S * longest, heads, dim]
        return flat.index_select(0, layout.cells)[None], None
    dtype = query.dtype
    if query.device.type == "cpu" and dtype in (torch.bfloat16, torch.float16):
        # In bf16 torch's kernel for CPUs takes twice as long for short sequences, and is less exact.
        query, key, value = (x.float() for x in (query, key, value))
    # One split, not a slice per run: the backward of a slice fills and adds a whole row of zeros, each time.
    runs = _runs(layout.lengths)
    sizes = [length * count for length, count in runs]
    rows = [x.squeeze(0).transpose(0, 1).split(sizes) for x in (query, key, value)]  # views [n, heads, dim]
    pieces = []
    for (length, count), *row in zip(runs, *rows, strict=True):
        q, k, v = (x.unflatten(0, (count, length)).transpose(1, 2) for x in row)  # [count, heads, length, dim]
        out = F.scaled_dot_product_attention(q, k, v, **options)
        pieces.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(pieces)[None].to(dtype), None


def _varlen(query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float, dropout: float) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # CUDA only: imported where it is used

    assert dropout == 0.0, "varlen has no attention dropout; mtl/model/encoder.py refuses the combination"
    # Not x[0], whose backward pass fills and copies all of it.
    q, k, v = (x.squeeze(0).transpose(0, 1).contiguous() for x in (query, key, value))  # [T, heads, dim]
    # The kernel's own scale is 1 / sqrt(head_dim); only the seven positional arguments are stable across releases.
    assert abs(scaling - q.shape[-1] ** -0.5) < 1e-9
    longest = max(layout.lengths)
    out: Any = varlen_attn(q, k, v, layout.cu_seqlens, layout.cu_seqlens, longest, longest)
    return out[None]


def _runs(lengths: tuple[int, ...]) -> list[tuple[int, int]]:
    """(length, how many neighbours have it) of each run."""
    runs: list[tuple[int, int]] = []
    for length in lengths:
        if runs and runs[-1][0] == length:
            runs[-1] = (length, runs[-1][1] + 1)
        else:
            runs.append((length, 1))
    return runs


AttentionInterface.register(NAME, packed_attention)
