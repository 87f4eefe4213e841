"""The global gradient norm under ZeRO-1 and 2 by one all-reduce, which the host waits for once.

DeepSpeed reduces the norm of every parameter group by itself. Heads have groups of their own here, so the nine tasks
would send 22 messages of four bytes a step, one after another, each of which costs the latency of all ranks. On a GPU
the host would also wait once to look for overflow in every gradient, once for the norm and once per group.

One wait is left: a step whose gradient is not finite must change nothing and be reported, so the host needs the norm
before the next step. The wait is behind the backward pass; in stage 2 AdamW's kernels run meanwhile (`zero2_step.py`).
`fast_zero2` in the run config turns this off; tests/distributed/test_exact.py compares both ways with float64.
"""

from typing import Any

import torch
from torch import Tensor

# On CPU torch first writes the whole gradient in float64: 24 ms for 5 million numbers, mostly for fresh memory. In
# chunks that stay in the cache: 2.3 ms.
_CHUNK = 1 << 16


def in_one_message(optimizer: Any) -> None:
    """Replaces the gradient norm of a ZeRO-1/2 optimizer of DeepSpeed without offloading.

    Its own search for gradients that are not finite (`check_overflow`) is left out: its `step` looks at the norm too.
    """
    # Clipping and all else there multiply by a plain number: the norm is needed on the host.
    optimizer.scaled_global_norm = lambda norm_type=2: norm(optimizer).cpu()
    optimizer.check_overflow = lambda partition_gradients=True: None


def norm(optimizer: Any) -> Tensor:
    """The global gradient norm, a float32 scalar on the device; infinite where not finite (a collective call)."""
    # Each rank holds its own partition of every group, so the squares of all ranks add up to the whole.
    local: list[Tensor] = []
    for gradients in optimizer.averaged_gradients.values():  # of a group: parts of a flat tensor, or a list
        local += [gradients.flat_partition] if hasattr(gradients, "flat_partition") else gradients or ()
    chunks = [chunk for gradient in local for chunk in (gradient.split(_CHUNK) if gradient.is_cpu else (gradient,))]
    # In float64, so that the norm does not depend on how parameters are divided over ranks and groups.
    total = torch.stack(torch._foreach_norm(chunks, 2, dtype=torch.float64)).square().sum()
    torch.distributed.all_reduce(total, group=optimizer.dp_process_group)
    # Infinity is what DeepSpeed takes as the sign of a gradient that is not finite.
    return torch.where(total.isfinite(), total.sqrt(), torch.inf).float()
