"""What makes a forward pass of the evaluation cheaper than one of training, with the same outcome to rounding.

    hidden = encode_at(encoder, batch, places)             # [m, H]: the last layer's output where a head reads it
    budget = at_once(16384, encoder.device)                # tokens of one pass

A head that reads `<s>` needs the last layer's keys and values everywhere, but its attention's output projection and its
MLP, 9 of the layer's 12 H x H products, in one row of each sequence only. Of 4 layers that saves 19 % of the products,
of 12 layers 6 %, of 24 layers 3 %.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mtl.batch import PackedBatch
from mtl.model import encode

# On CPU what a block writes should stay in the cache, and below the size from which the C library takes fresh, zeroed
# pages for every tensor; 16,384 tokens at once were 17 to 20 % slower (bench/README.md).
_CPU_TOKENS = 2048


def at_once(micro_tokens: int, device: torch.device) -> int:
    """Tokens of one forward pass where `micro_tokens` fit into memory: all of them on a GPU, on CPU at most 2,048."""
    return min(micro_tokens, _CPU_TOKENS) if device.type == "cpu" else micro_tokens


def encode_at(encoder: Any, batch: PackedBatch, places: Tensor) -> Tensor:
    """Hidden states [m, H] of the last layer at `places`, int64 [m], of the packed row."""
    if len(places) == batch.tokens:
        return encode(encoder, batch)[places]
    with narrowed(encoder, places):
        return encode(encoder, batch)


@contextlib.contextmanager
def narrowed(encoder: Any, places: Tensor) -> Iterator[None]:
    """In here the last layer gives the rows `places` of a packed batch, in their order, instead of all rows.

    It is the residual connection around the attention that drops them, in all families of `mtl.model.FAMILIES`.
    """
    output = encoder.encoder.layer[-1].attention.output
    hook = output.register_forward_pre_hook(lambda _, args: tuple(rows[:, places] for rows in args))
    try:
        yield
    finally:
        hook.remove()
