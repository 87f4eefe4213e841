"""The part of an encoder block after attention, by torch.compile: one graph, whatever the number of tokens.

Bias, dropout, residual, LayerNorm and GELU between the matrix products of a block each read and write all T tokens;
compiled they are a few kernels. Attention stays eager (its shapes depend on the data), and so do embeddings and heads:
one layer of many, with data-dependent shapes. Costs a compilation at the start (CPU: a C++ compiler is needed, CUDA:
Triton), and dropout draws other masks than in eager mode.

Every rank must run the same graph, whose gradients then come in the same order (docs/design.md), and a resumed run must
run the code that the killed one ran. So each graph is compiled by `warm_up` on zeros of a fixed size before the first
batch, holds for every T from 2 on, and anything that would need a recompilation is an error. Fewer tokens than 2, which
torch.compile would specialise on, are padded with zeros.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Tokens to compile with (kernels are tuned for it, every size is correct): as `micro_tokens` by default; on CPU fewer,
# since they are computed once.
SIZE = {"cuda": 16384, "cpu": 2048}


class Compiled:
    """`Family.after_attention`, compiled: the same graph for all blocks, one for each mode (training, evaluation)."""

    def __init__(self, after_attention: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
        # fullgraph: what cannot be one graph is an error, not a slow step; so is one graph too many.
        self._run = torch.compile(after_attention, fullgraph=True, dynamic=False)
        self._modes: set[tuple[Any, ...]] = set()

    def warm_up(self, block: Any, hidden: Tensor) -> None:
        """Compiles for the current mode, outside of gradient checkpointing; the random state is left unchanged."""
        grad = torch.is_grad_enabled()
        mode = (block.training, grad, hidden.dtype, hidden.device, hidden.shape[-1])
        if mode in self._modes:
            return
        self._modes.add(mode)
        shape = (1, SIZE.get(hidden.device.type, SIZE["cuda"]), hidden.shape[-1])
        context, before = (hidden.new_zeros(shape).requires_grad_(grad) for _ in range(2))
        devices = [hidden.device] if hidden.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            out = self(block, context, before)
            if grad:
                # With respect to the input: no gradient of a parameter is touched, nor any hook on it called.
                torch.autograd.grad(out, context, torch.zeros_like(out))

    def __call__(self, block: Any, context: Tensor, hidden: Tensor) -> Tensor:
        """As the function that was compiled."""
        count = context.shape[1]
        if count < 2:
            context, hidden = (F.pad(x, (0, 0, 0, 2 - count)) for x in (context, hidden))
        for x in (context, hidden):
            torch._dynamo.mark_dynamic(x, 1)
        out: Tensor = self._run(block, context, hidden)
        return out if count >= 2 else out[:, :count]
