"""Gradients under ZeRO-2 on their way from the backward pass to the rank that owns them, a bucket at a time.

DeepSpeed copies every gradient into a bucket, the bucket into another, and back, and adds it to the owner's partition,
parameter by parameter: five passes over the gradients and some 1,700 small operations a micro-step of XLM-R Large,
tens of milliseconds of Python in which a GPU that has little to do waits. Here a bucket's gradients are joined by one
concatenation, reduced by one message and added by one call; a single rank adds them as they are. What is computed is
the same to the bit (test_reduction.py): the quotient by the ranks in the gradients' own precision, the sum over
ranks in that of `communication_data_type`, the sum over micro-steps in float32.

With `overlap_comm` a bucket is reduced on a stream of its own while the backward pass goes on, and the stream that
computes waits for it on the GPU; the host does not wait, as DeepSpeed's does at the end of each micro-step.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from common.errors import InputError

DEEPSPEED = "0.19.8"  # the version whose private attributes `zero2_gradients`, `zero2_step` and `grad_norm` use
IN_FLIGHT = 2  # buckets that may be on their way at a time


def check_version() -> None:
    """`InputError` if the installed DeepSpeed is not the version that `fast_zero2` was written for."""
    installed = version("deepspeed")
    if installed != DEEPSPEED:
        raise InputError(
            f"fast_zero2 is written for DeepSpeed {DEEPSPEED}, {installed} is installed: install {DEEPSPEED}, or use "
            "DeepSpeed's own gradients and step with --set fast_zero2=false"
        )


def fits(optimizer: Any) -> bool:
    """Whether a ZeRO optimizer of DeepSpeed is one that `Reduction` is for; others stay as they are.

    That is stage 2 with torch's fused AdamW (`zero2_step.py`), without offloading, sums over micro-steps in float32,
    every bucket reduced to all ranks, and partitions in the order of the parameters.
    """
    return bool(
        optimizer.partition_gradients
        and not optimizer.cpu_offload
        and optimizer.optimizer.defaults.get("fused")
        and optimizer.gradient_accumulation_dtype == torch.float32
        and optimizer.contiguous_gradients
        and optimizer.reduce_scatter
        and optimizer.use_multi_rank_bucket_allreduce
        and not optimizer.round_robin_gradients
        and (torch.cuda.is_available() or not optimizer.overlap_comm or optimizer.reduction_stream is None)
    )


@dataclass(frozen=True)
class Place:
    """Where a parameter's gradient goes on this rank: `count` of its numbers from `source` on, added to `goal`."""

    source: int
    count: int
    goal: Tensor


class Reduction:
    """Takes the place of DeepSpeed's own handling of gradients in `optimizer`, of which `fits` is true.

    The sums of all groups stay where they are from step to step, in float32, 4 bytes a number that this rank owns.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._ranks = torch.distributed.get_world_size(optimizer.dp_process_group)
        self._stream = optimizer.reduction_stream if optimizer.overlap_comm and self._ranks > 1 else None
        # Each group's gradients lie in one tensor, whatever their precision; lists of its parts, as DeepSpeed has them.
        optimizer._use_compact_grad_partition_buffer = lambda group: True
        groups = range(len(optimizer.bit16_groups))
        self._parts = [optimizer._build_compact_grad_partition_buffer(group) for group in groups]
        self.sums: list[Tensor] = [part.flat_partition for part in self._parts]  # float32, by parameter group
        self._places = _places(optimizer, self.sums)
        self._bucket: list[tuple[Tensor, list[Place]]] = []  # gradients that wait, and where they go
        self._filled = 0
        self._way: deque[tuple[Any, list[tuple[Tensor, list[Place]]]]] = deque()  # (end of its reduction, bucket)
        for hook in optimizer._grad_acc_hooks:
            hook.remove()
        self._parameters = [parameter for group in optimizer.bit16_groups for parameter in group]
        if self._ranks > 1:
            # Where nothing is sent there is nothing to begin early, and a hook interrupts the backward pass for Python.
            for parameter in self._parameters:
                parameter.register_post_accumulate_grad_hook(self.add)
        optimizer.independent_gradient_partition_epilogue = self.finish

    def add(self, parameter: Tensor) -> None:
        """Called where the gradient of a parameter is complete, in the same order on all ranks."""
        grad, parameter.grad = parameter.grad, None
        assert grad is not None
        count = grad.numel()
        if self._bucket and self._filled + count > self._optimizer.reduce_bucket_size:
            self._flush()
        self._bucket.append((grad.reshape(-1), self._places.get(parameter, [])))
        self._filled += count

    def finish(self) -> None:
        """Called at the end of every micro-step's backward pass."""
        self._begin()
        for parameter in self._parameters if self._ranks == 1 else ():
            if parameter.grad is not None:
                self.add(parameter)
        self._flush()
        while self._way:
            self._wait()
        self._optimizer._epilogue_ran_this_backward = True

    def _begin(self) -> None:
        """Sums are 0 at the first gradient of a step; DeepSpeed takes them away when it has made one."""
        found = self._optimizer.averaged_gradients
        if found.get(0) is None:
            torch._foreach_zero_(self.sums)
            found.update(enumerate(self._parts))

    def _flush(self) -> None:
        if not self._bucket:
            return
        self._begin()
        bucket, self._bucket, self._filled = self._bucket, [], 0
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream) if self._stream is not None else nullcontext(), torch.no_grad():
            goals, sources = [], []
            for piece, (_, places) in zip(self._reduced([grad for grad, _ in bucket]), bucket, strict=True):
                for place in places:
                    goals.append(place.goal)
                    whole = place.count == len(piece)
                    sources.append(piece if whole else piece.narrow(0, place.source, place.count))
            if goals:
                torch._foreach_add_(goals, sources)
        if self._stream is not None:
            self._way.append((self._stream.record_event(), bucket))
            if len(self._way) > IN_FLIGHT:
                self._wait()

    def _wait(self) -> None:
        """Lets the stream that computes wait for the oldest bucket, whose memory it may then use again."""
        event, _ = self._way.popleft()
        torch.cuda.current_stream().wait_event(event)

    def _reduced(self, grads: list[Tensor]) -> Sequence[Tensor]:
        """Their mean over ranks, each as long as before."""
        if self._ranks == 1:
            return grads
        optimizer = self._optimizer
        whole = torch.cat(grads)
        if optimizer.gradient_average:
            whole.div_(self._ranks)
        whole = whole.to(optimizer.communication_data_type)
        torch.distributed.all_reduce(whole, group=optimizer.dp_process_group)
        return whole.split([len(grad) for grad in grads])


def _places(optimizer: Any, sums: list[Tensor]) -> dict[Tensor, list[Place]]:
    """From DeepSpeed's tables of where a parameter begins in the partitions that hold some of it."""
    places: dict[Tensor, list[Place]] = {}
    for group, parameters in enumerate(optimizer.bit16_groups):
        mine = torch.distributed.get_rank(optimizer.real_dp_process_group[group])
        starts = optimizer.grad_start_offset[group][mine]
        goals = optimizer.grad_partition_insertion_offset[group][mine]
        for parameter in parameters:
            number = optimizer.get_param_id(parameter)
            if number in starts:
                source, goal = int(starts[number]), int(goals[number])
                count = min(parameter.numel() - source, len(sums[group]) - goal)
                places.setdefault(parameter, []).append(Place(source, count, sums[group].narrow(0, goal, count)))
    return places
