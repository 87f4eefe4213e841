"""Collectives for control: errors, fingerprints, and whether to stop.

They run over a gloo group of their own (`control`), which works on any machine, does not touch the GPU, and does not
interfere with the collectives of a step.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.distributed import ProcessGroup

from common.errors import InputError

_control: ProcessGroup | None = None


def control() -> ProcessGroup:
    """The gloo group of all ranks for control messages (created at the first call, which is collective)."""
    global _control
    if _control is None:
        _control = distributed.new_group(backend="gloo", timeout=timedelta(minutes=30))
    return _control


def gather(value: Any) -> list[Any]:
    """The picklable `value` of every rank, in rank order (a collective call)."""
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value, group=control())
    return values


def raise_on_all(error: str | None) -> None:
    """Raises `AgreedError` on all ranks if any has an error, with the lowest such rank's (a collective call)."""
    for first in gather(error):
        if first is not None:
            raise AgreedError(first)


@contextmanager
def errors_on_all() -> Iterator[None]:
    """Raises an `InputError` that the `with` block raises on any rank on all of them (a collective call)."""
    message = None
    try:
        yield
    except InputError as error:
        message = str(error)
    raise_on_all(message)


class AgreedError(InputError):
    """An error that all ranks raise: rank 0 reports it, the others end silently."""


def check_equal(values: dict[str, Any]) -> None:
    """Raises `InputError` on all ranks if `values` are not the same everywhere (a collective call).

    The message names the first rank that differs from rank 0, its host, and up to three differences.
    """
    first, *others = gather((socket.gethostname(), values))
    for rank, (host, theirs) in enumerate(others, start=1):
        different = differences(first[1], theirs)
        if different:
            what = "; ".join(f"{where}: {one} there, {other} here" for where, one, other in different[:3])
            raise AgreedError(
                f"rank {rank} on {host} does not have what rank 0 on {first[0]} has ({what}; 'there' is rank 0): "
                "give all hosts the same code, config and prepared data"
            )


def differences(old: Any, new: Any, where: str = "") -> list[tuple[str, Any, Any]]:
    """[(dotted path, value in `old`, value in `new`)] of the leaves in which two JSON-like values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            difference
            for key in [*old, *(k for k in new if k not in old)]
            for difference in differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
        ]
    return [] if old == new else [(where, old, new)]


def from_rank0(value: Any) -> Any:
    """Broadcasts rank 0's `value` to all ranks (a collective call)."""
    values = [value]
    distributed.broadcast_object_list(values, src=0, group=control())
    return values[0]


def largest(values: list[int]) -> list[int]:
    """The elementwise maximum of all ranks' `values` (a collective call that does not use the GPU)."""
    total = torch.tensor(values, dtype=torch.int64)
    distributed.all_reduce(total, op=distributed.ReduceOp.MAX, group=control())
    return [int(x) for x in total]


class Vote:
    """`largest` as an asynchronous all-reduce that overlaps with a step.

    A ring of N ranks passes a small message on 2 (N - 1) times: on hundreds of ranks that is tens of milliseconds. In
    return, what a rank casts during a step counts after the next one. So if the last step took longer than `SLOW`
    seconds on any rank, or `renew` was called since, the ranks vote again and wait.
    """

    SLOW = 1.0

    def __init__(self) -> None:
        self._sent: torch.Tensor | None = None
        self._work: distributed.Work | None = None
        self._began = time.monotonic()
        self._renewed = False

    def cast(self, values: list[int]) -> None:
        """Starts the all-reduce of `values` for the next `result` (an asynchronous collective call)."""
        self._sent = torch.tensor([*values, int(time.monotonic() - self._began > self.SLOW)], dtype=torch.int64)
        self._began = time.monotonic()
        self._work = distributed.all_reduce(self._sent, op=distributed.ReduceOp.MAX, group=control(), async_op=True)

    def renew(self) -> None:
        """Discards the values cast: something long, such as an evaluation, has happened since, on all ranks."""
        self._renewed = True

    def result(self, values: list[int]) -> list[int]:
        """The maximum of the values cast, or, if there are none or they were discarded, of `values` now."""
        cast: list[int] = []
        if self._work is not None and self._sent is not None:
            self._work.wait()
            *cast, slow = self._sent.tolist()
            cast = [] if slow or self._renewed else cast
        self._work, self._renewed = None, False
        return cast or largest(values)


def barrier() -> None:
    """Returns when all ranks have reached it."""
    distributed.barrier(group=control())


def close() -> None:
    """Destroys the process group."""
    global _control
    _control = None
    if distributed.is_initialized():
        distributed.destroy_process_group()
