"""The optimizer's step under ZeRO-2, once gradients are summed (`zero2_gradients.py`), in a few calls for all groups.

DeepSpeed clips, updates and casts one parameter group after another, and then points every parameter at its weights
anew, where they lie already: with the 22 groups of nine tasks some 20 ms of Python. That is time in which a GPU has
nothing to do, for DeepSpeed's step begins by waiting for the norm of the gradient. Here the whole step is begun
before that: clipping reads the norm where it is, and AdamW's kernels leave everything as it was where it is not finite,
as they do for loss scaling (`found_inf`). When the host has heard of the norm, and goes on to the next step, the GPU
is still at this one. What is computed is the same to the bit (tests/distributed/test_reduction.py).
"""

import math
from typing import Any

import torch
from torch import Tensor

from mtl.distributed import grad_norm


class Step:
    """Takes the place of `step` of a ZeRO-2 optimizer of DeepSpeed whose groups' gradients are the tensors `sums`."""

    def __init__(self, optimizer: Any, sums: list[Tensor]) -> None:
        self._optimizer, self._sums = optimizer, sums
        self._ranks = [torch.distributed.get_world_size(group) for group in optimizer.real_dp_process_group]
        # This rank's part of each group: the float32 weights, and those that the model computes with.
        self._masters = optimizer.single_partition_of_fp32_groups
        self._parts = [
            parts[torch.distributed.get_rank(group)]
            for parts, group in zip(
                optimizer.parallel_partitioned_bit16_groups, optimizer.real_dp_process_group, strict=True
            )
        ]
        optimizer.step = self

    @torch.no_grad()
    def __call__(self, closure: Any = None) -> None:
        """One step, or none if the gradient is not finite (`optimizer.overflow`), as DeepSpeed's own."""
        optimizer = self._optimizer
        norm = grad_norm.norm(optimizer)
        told = _Told(norm)
        self._update(norm)
        optimizer._global_grad_norm = told.value()
        optimizer.overflow = not math.isfinite(optimizer._global_grad_norm)
        for group in range(len(self._sums)):
            optimizer.averaged_gradients[group] = None

    def _update(self, norm: Tensor) -> None:
        optimizer = self._optimizer
        if optimizer.clip_grad > 0:
            # Divided by a tensor: CUDA multiplies by the reciprocal of a plain number.
            scale = torch.clamp((norm + 1e-6) / norm.new_full((), optimizer.clip_grad), min=1.0)
            # On a GPU the host does not know; multiplied by 1 a gradient stays what it is.
            if scale.is_cuda or scale > 1:
                torch._foreach_mul_(self._sums, 1.0 / scale)
        optimizer.optimizer.found_inf = 1.0 - norm.isfinite().float()
        for master, gradient in zip(self._masters, self._sums, strict=True):
            master.grad = gradient
        optimizer.optimizer.step()
        for master in self._masters:
            master.grad = None
        optimizer._lazy_init_hp_params_optimizer_state()
        torch._foreach_copy_(self._parts, list(self._masters))
        for whole, part, ranks, group in zip(
            optimizer.bit16_groups_flat, self._parts, self._ranks, optimizer.real_dp_process_group, strict=True
        ):
            if ranks > 1:
                torch.distributed.all_gather_into_tensor(whole, part, group=group)


class _Told:
    """A scalar on its way from its device to the host, behind what was begun before it and beside what comes after."""

    def __init__(self, scalar: Tensor) -> None:
        self._scalar, self._arrived = scalar, None
        if scalar.is_cuda:
            self._scalar = torch.empty_like(scalar, device="cpu", pin_memory=True).copy_(scalar, non_blocking=True)
            self._arrived = torch.cuda.current_stream().record_event()

    def value(self) -> float:
        if self._arrived is not None:
            self._arrived.synchronize()
        return float(self._scalar)
