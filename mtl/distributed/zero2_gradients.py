"""ZeRO-2 gradients on their way from the backward pass to the rank that owns them, a bucket at a time.

DeepSpeed copies every gradient into a bucket, the bucket into another, and back, and adds it to the owner's partition,
parameter by parameter: five passes over the gradients and some 1,700 small operations a micro-step of XLM-R Large,
tens of milliseconds of Python in which a GPU with little to do waits. Here the gradients of a bucket are reduced by one
concatenation, one all-reduce and one addition; a single rank adds them as they are.

With `overlap_comm` a bucket is reduced on a stream of its own while the backward pass goes on, and the computing stream
waits for it on the GPU; the host does not wait, as it does in DeepSpeed at the end of each micro-step.

Gradients are bitwise DeepSpeed's own (tests/distributed/test_exact.py): divided by the ranks in their own precision,
summed over ranks in that of `communication_data_type` and over micro-steps in float32. `fast_zero2` in the run config
turns it off.
"""

from collections import deque
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from common.errors import InputError

DEEPSPEED = "0.19.8"  # the version whose private attributes `zero2_gradients`, `zero2_step` and `grad_norm` use
IN_FLIGHT = 2  # buckets that may be under reduction at a time


def check_version() -> None:
    """`InputError` if the installed DeepSpeed is not the version that `fast_zero2` was written for."""
    installed = version("deepspeed")
    if installed != DEEPSPEED:
        raise InputError(
            f"fast_zero2 is written for DeepSpeed {DEEPSPEED}, {installed} is installed: install {DEEPSPEED}, or use "
            "DeepSpeed's own gradients and step with --set fast_zero2=false"
        )


def fits(optimizer: Any) -> bool:
    """Whether `GradientReducer` and `zero2_step.Zero2Step` can replace parts of this ZeRO optimizer of DeepSpeed.

    That is stage 2 with torch's fused AdamW, without offloading, sums over micro-steps in float32, every bucket reduced
    to all ranks, and partitions in the order of the parameters.
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
    )


class GradientReducer:
    """Replaces the gradient handling of a ZeRO optimizer of DeepSpeed that `fits`.

    sums: of each parameter group, this rank's partition of the gradient, flat, float32. They are allocated once.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._ranks = torch.distributed.get_world_size(optimizer.dp_process_group)
        self._stream = optimizer.reduction_stream if optimizer.overlap_comm and self._ranks > 1 else None
        # One flat tensor a group, whatever the precision of the weights; views of it, as DeepSpeed has them.
        optimizer._use_compact_grad_partition_buffer = lambda group: True
        groups = range(len(optimizer.bit16_groups))
        self._partitions = [optimizer._build_compact_grad_partition_buffer(group) for group in groups]
        self.sums: list[Tensor] = [partition.flat_partition for partition in self._partitions]
        self._targets = _targets(optimizer, self.sums)
        self._bucket: list[tuple[Tensor, Tensor]] = []  # (parameter, its flat gradient)
        self._bucket_size = 0  # elements
        self._in_flight: deque[tuple[torch.cuda.Event, list[tuple[Tensor, Tensor]]]] = deque()  # (reduced, bucket)
        for hook in optimizer._grad_acc_hooks:
            hook.remove()
        self._parameters = [parameter for group in optimizer.bit16_groups for parameter in group]
        if self._ranks > 1:
            # On one rank there is nothing to send early, and a hook interrupts the backward pass for Python.
            for parameter in self._parameters:
                parameter.register_post_accumulate_grad_hook(self.add)
        optimizer.independent_gradient_partition_epilogue = self.finish

    def add(self, parameter: Tensor) -> None:
        """Takes the complete gradient of a parameter; called in the same order on all ranks."""
        grad, parameter.grad = parameter.grad, None
        assert grad is not None
        if self._bucket and self._bucket_size + grad.numel() > self._optimizer.reduce_bucket_size:
            self._flush()
        self._bucket.append((parameter, grad.reshape(-1)))
        self._bucket_size += grad.numel()

    def finish(self) -> None:
        """Ends the backward pass of a micro-step."""
        if self._ranks == 1:
            for parameter in self._parameters:
                if parameter.grad is not None:
                    self.add(parameter)
        self._flush()
        if self._stream is not None:
            torch.cuda.current_stream().wait_stream(self._stream)
            self._in_flight.clear()
        self._optimizer._epilogue_ran_this_backward = True

    def _flush(self) -> None:
        """Reduces the bucket and adds it to the sums."""
        bucket, self._bucket, self._bucket_size = self._bucket, [], 0
        if self._optimizer.averaged_gradients.get(0) is None:  # the first of a step
            torch._foreach_zero_(self.sums)
            self._optimizer.averaged_gradients.update(enumerate(self._partitions))
        if self._stream is None:
            self._accumulate(bucket)
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._accumulate(bucket)
        self._in_flight.append((self._stream.record_event(), bucket))
        if len(self._in_flight) > IN_FLIGHT:
            # The computing stream waits for the oldest bucket, whose memory it may then use again.
            reduced, _ = self._in_flight.popleft()
            torch.cuda.current_stream().wait_event(reduced)

    @torch.no_grad()
    def _accumulate(self, bucket: list[tuple[Tensor, Tensor]]) -> None:
        targets, sources = [], []
        for (parameter, _), grad in zip(bucket, self._reduced([grad for _, grad in bucket]), strict=True):
            for start, target in self._targets.get(parameter, ()):
                targets.append(target)
                sources.append(grad if len(grad) == len(target) else grad.narrow(0, start, len(target)))
        if targets:
            torch._foreach_add_(targets, sources)

    def _reduced(self, grads: list[Tensor]) -> list[Tensor]:
        """The mean over ranks of flat gradients, as tensors of the same lengths."""
        if self._ranks == 1:
            return grads
        optimizer = self._optimizer
        whole = torch.cat(grads)
        if optimizer.gradient_average:
            whole.div_(self._ranks)
        whole = whole.to(optimizer.communication_data_type)
        torch.distributed.all_reduce(whole, group=optimizer.dp_process_group)
        return list(whole.split([len(grad) for grad in grads]))


def _targets(optimizer: Any, sums: list[Tensor]) -> dict[Tensor, list[tuple[int, Tensor]]]:
    """Of the parameters in this rank's partitions: [(first element, the part of `sums` that it is added to)]."""
    rank = torch.distributed.get_rank(optimizer.dp_process_group)
    targets: dict[Tensor, list[tuple[int, Tensor]]] = {}
    for group, parameters in enumerate(optimizer.bit16_groups):
        # DeepSpeed's tables by parameter id: its first element in the partition, and where in the partition it begins.
        starts = optimizer.grad_start_offset[group][rank]
        offsets = optimizer.grad_partition_insertion_offset[group][rank]
        for parameter in parameters:
            number = optimizer.get_param_id(parameter)
            if number in starts:
                start, offset = int(starts[number]), int(offsets[number])
                count = min(parameter.numel() - start, len(sums[group]) - offset)
                targets.setdefault(parameter, []).append((start, sums[group].narrow(0, offset, count)))
    return targets
