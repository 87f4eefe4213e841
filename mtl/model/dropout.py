"""Dropout with a cheap mask on CPU: four 16-bit draws from one 64-bit number, and a mask of one byte an element.

`replace_dropout(encoder)` replaces `nn.Dropout` by it. On two cores the stock one, a draw per element, costs
about 5 % of a step of a small encoder. The rate is rounded to 1/65536 (0.1: 0.1000061), and the scale is that of the
rounded rate, so that the mean is kept exactly. On a GPU, and in compiled code (`mtl/model/compiled.py`), the stock one
runs. Seeded by torch's generator, as the stock one.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """`nn.Dropout` of the same rate and state; same shapes and dtypes."""

    def forward(self, input: Tensor) -> Tensor:  # the argument's name in torch
        if not self.training or input.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(input, self.p, self.training)
        dropped = min(round(self.p * _LEVELS), _LEVELS - 1)
        return input if dropped == 0 else _Masked.apply(input, dropped)


class _Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int) -> Tensor:
        drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        kept = (drawn[: x.numel()] >= dropped - _LEVELS // 2).view(x.shape)
        ctx.save_for_backward(kept)
        ctx.scale = _LEVELS / (_LEVELS - dropped)
        return (x * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (grads[0] * kept).mul_(ctx.scale), None


def replace_dropout(module: nn.Module) -> None:
    """Replaces every `nn.Dropout` below `module`."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p).train(child.training))
