"""The optimizer step of ZeRO-2 in a few calls for all parameter groups, once `zero2_gradients.py` has the gradients.

DeepSpeed clips, updates and casts one parameter group after another and then points every parameter at its weights
again: some 20 ms of Python with the 22 groups of nine tasks, while the GPU waits, since that step begins by waiting
for the gradient norm. Here the whole step is launched before the host reads the norm: clipping takes it from the
device, and AdamW's kernels change nothing where it is not finite, as they do for loss scaling (`found_inf`). The
host can then go on to the next step while the GPU is still in this one.

Weights and moments are bitwise DeepSpeed's own for the same norm (tests/distributed/test_exact.py). `fast_zero2` in the
run config turns it off.
"""

import math
from typing import Any

import torch
from torch import Tensor

from mtl.distributed import grad_norm


class Zero2Step:
    """Replaces `step` of a ZeRO-2 optimizer of DeepSpeed. `sums`: flat float32 gradients of this rank by group."""

    def __init__(self, optimizer: Any, sums: list[Tensor]) -> None:
        self._optimizer, self._sums = optimizer, sums
        # This rank's partition of each group: the float32 master weights, and the weights that the model computes with.
        self._masters = optimizer.single_partition_of_fp32_groups
        rank = torch.distributed.get_rank(optimizer.dp_process_group)
        self._partitions = [partitions[rank] for partitions in optimizer.parallel_partitioned_bit16_groups]
        optimizer.step = self

    @torch.no_grad()
    def __call__(self, closure: Any = None) -> None:
        """One step, or none where the gradient is not finite (then `optimizer.overflow`, as in DeepSpeed)."""
        optimizer = self._optimizer
        norm = grad_norm.norm(optimizer)
        on_host = norm.to("cpu", non_blocking=True)  # to pinned memory
        copied = torch.cuda.current_stream().record_event() if norm.is_cuda else None
        self._update(norm)
        if copied is not None:
            copied.synchronize()
        optimizer._global_grad_norm = float(on_host)
        optimizer.overflow = not math.isfinite(optimizer._global_grad_norm)
        optimizer.averaged_gradients.clear()

    def _update(self, norm: Tensor) -> None:
        optimizer = self._optimizer
        if optimizer.clip_grad > 0:
            # Divided by a tensor: CUDA multiplies by the reciprocal of a plain number.
            scale = torch.clamp((norm + 1e-6) / norm.new_full((), optimizer.clip_grad), min=1.0)
            # On a GPU the host does not know the scale; multiplied by 1 a gradient stays what it is.
            if scale.is_cuda or scale > 1:
                torch._foreach_mul_(self._sums, 1.0 / scale)
        optimizer.optimizer.found_inf = 1.0 - norm.isfinite().float()
        for master, gradient in zip(self._masters, self._sums, strict=True):
            master.grad = gradient
        optimizer.optimizer.step()
        for master in self._masters:
            master.grad = None
        optimizer._lazy_init_hp_params_optimizer_state()
        torch._foreach_copy_(self._partitions, list(self._masters))
        group = optimizer.dp_process_group
        if torch.distributed.get_world_size(group) > 1:
            for whole, partition in zip(optimizer.bit16_groups_flat, self._partitions, strict=True):
                torch.distributed.all_gather_into_tensor(whole, partition, group=group)
