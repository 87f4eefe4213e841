"""The global gradient norm under ZeRO in one message.

DeepSpeed reduces the norm of every parameter group by itself. Heads have groups of their own here, so the nine tasks
would send 22 messages of four bytes a step, one after another, each of which costs the latency of all ranks.
"""

from typing import Any

import torch
from torch import Tensor

# On CPU torch first writes the whole gradient in float64: 24 ms for 5 million numbers, of which most are spent on fresh
# memory. A piece that stays in the cache: 2.3 ms.
_PIECE = 1 << 16


def in_one_message(optimizer: Any) -> None:
    """Makes a ZeRO-1/2 optimizer of DeepSpeed, not an offloaded one, add up all groups before it reduces."""

    def norm(norm_type: int = 2) -> Tensor:
        # Each rank holds its own partition of every group, so the squares of all ranks add up to the whole.
        mine = [grad for part in optimizer.averaged_gradients.values() for grad in part or () if grad is not None]
        mine = [piece for grad in mine for piece in (grad.split(_PIECE) if grad.is_cpu else (grad,))]
        # In float64, so that the norm is the same to the bit however parameters are divided over ranks and groups.
        parts = list(torch._foreach_norm(mine, 2, dtype=torch.float64)) if mine else []
        nothing = torch.zeros((), device=optimizer.device, dtype=torch.float64)
        total = torch.stack(parts).square().sum() if parts else nothing
        torch.distributed.all_reduce(total, group=optimizer.dp_process_group)
        # What DeepSpeed takes as the sign of a gradient that is not finite.
        return torch.where(total.isfinite(), total.sqrt(), torch.inf).float()

    optimizer.scaled_global_norm = norm
