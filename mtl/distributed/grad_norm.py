"""The global gradient norm under ZeRO in one message, which the host waits for once.

DeepSpeed reduces the norm of every parameter group by itself. Heads have groups of their own here, so the nine tasks
would send 22 messages of four bytes a step, one after another, each of which costs the latency of all ranks. On a GPU
the host would also wait for it once to look for overflow in every gradient, once for the norm and once per group.

One wait is left: a step whose gradient is not finite must change nothing and be told, so the host has to know before
the next one. It falls behind the backward pass; in stage 2 the optimizer's kernels run meanwhile (`zero2_step.py`).
"""

from typing import Any

import torch
from torch import Tensor

# On CPU torch first writes the whole gradient in float64: 24 ms for 5 million numbers, of which most are spent on fresh
# memory. A piece that stays in the cache: 2.3 ms.
_PIECE = 1 << 16


def in_one_message(optimizer: Any) -> None:
    """Makes a ZeRO-1/2 optimizer of DeepSpeed, not an offloaded one, add up all groups before it reduces.

    Its own search for gradients that are not finite (`check_overflow`) is left out: the norm finds the same ones, and
    `optimizer.step` looks at it as well.
    """

    def on_the_host(norm_type: int = 2) -> Tensor:
        # There all that follows reads it: clipping multiplies by a plain number.
        return norm(optimizer).cpu()

    def found_by_the_norm(partition_gradients: bool = True) -> None:
        optimizer.overflow = False

    optimizer.scaled_global_norm, optimizer.check_overflow = on_the_host, found_by_the_norm


def norm(optimizer: Any) -> Tensor:
    """The norm of the whole gradient, a float32 scalar there; infinite where it is not finite (a collective call)."""
    # Each rank holds its own partition of every group, so the squares of all ranks add up to the whole.
    mine = [grad for part in optimizer.averaged_gradients.values() for grad in _tensors(part)]
    mine = [piece for grad in mine for piece in (grad.split(_PIECE) if grad.is_cpu else (grad,))]
    # In float64, so that the norm is the same to the bit however parameters are divided over ranks and groups.
    parts = list(torch._foreach_norm(mine, 2, dtype=torch.float64)) if mine else []
    nothing = torch.zeros((), device=optimizer.device, dtype=torch.float64)
    total = torch.stack(parts).square().sum() if parts else nothing
    torch.distributed.all_reduce(total, group=optimizer.dp_process_group)
    # Infinity is what DeepSpeed takes as the sign of a gradient that is not finite.
    return torch.where(total.isfinite(), total.sqrt(), torch.inf).float()


def _tensors(part: Any) -> list[Tensor]:
    """The gradients of a parameter group on this rank: in one tensor where DeepSpeed has them so, padding included."""
    if getattr(part, "flat_partition", None) is not None:
        return [part.flat_partition]
    return [grad for grad in part or () if grad is not None]
