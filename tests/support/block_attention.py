"""Attention of a packed row by one SDPA call with a T x T mask: the reference for the back-ends of the product."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

from mtl.model import attention

NAME = "block"


def use(encoder: Any, backend: str) -> None:
    """Switches an encoder to a back-end of `mtl/model/attention.py`, or to this one (`NAME`)."""
    encoder.packed_backend = "sdpa" if backend == NAME else backend  # of the layout, of which only the lengths are read
    encoder.config._attn_implementation = NAME if backend == NAME else attention.NAME


def block_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: attention.Layout,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """As `attention.packed_attention`."""
    owner = torch.repeat_interleave(torch.arange(len(layout.lengths)), torch.tensor(layout.lengths)).to(query.device)
    mask = owner[:, None] == owner[None, :]
    if sliding_window is not None:
        places = torch.arange(len(owner), device=query.device)
        mask &= (places[:, None] - places[None, :]).abs() < sliding_window
    options: dict[str, Any] = {"scale": scaling, "dropout_p": dropout, "enable_gqa": True}
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, **options)
    return out.transpose(1, 2), None


AttentionInterface.register(NAME, block_attention)
