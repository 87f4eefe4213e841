"""What ranks tell one another: problems, fingerprints, sums, and whether to stop.

Plain collectives over `torch.distributed`. What is not arithmetic goes over a gloo group of its own (`control`), which
works on any machine, does not touch the GPU, and cannot get in the way of the collectives of a step.
"""

import socket
import time
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.distributed import ProcessGroup

from common.errors import InputError

_control: ProcessGroup | None = None


def control() -> ProcessGroup:
    """The gloo group of all ranks for everything that is not arithmetic (made at the first, collective, call)."""
    global _control
    if _control is None:
        _control = distributed.new_group(backend="gloo", timeout=timedelta(minutes=30))
    return _control


def gather(value: Any) -> list[Any]:
    """The picklable `value` of every rank, in order of ranks (a collective call)."""
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value, group=control())
    return values


def agree(problem: str | None) -> None:
    """Raises the first rank's problem as `InputError` on all ranks, so that none goes on alone (a collective call)."""
    first = next((found for found in gather(problem) if found is not None), None)
    if first is not None:
        raise Agreed(first)


class Agreed(InputError):
    """A problem that all ranks know of: rank 0 tells the user, the others end in silence."""


def agree_on(values: dict[str, Any]) -> None:
    """Raises `InputError` on all ranks if `values` are not the same everywhere (a collective call).

    The sentence names the first rank that differs from rank 0, its host, and up to three differences.
    """
    first, *others = gather((socket.gethostname(), values))
    for rank, (host, found) in enumerate(others, start=1):
        different = differences(first[1], found)
        if different:
            what = "; ".join(f"{where}: {one} there, {other} here" for where, one, other in different[:3])
            raise Agreed(
                f"rank {rank} on {host} does not have what rank 0 on {first[0]} has ({what}; 'there' is rank 0): "
                "give all hosts the same code, config and prepared data"
            )


def differences(old: Any, new: Any, where: str = "") -> list[tuple[str, Any, Any]]:
    """[(dotted path, value in `old`, value in `new`)] of the leaves in which two JSON-like values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in [*old, *(k for k in new if k not in old)]:
            found += differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
        return found
    return [] if old == new else [(where, old, new)]


def from_first(value: Any) -> Any:
    """What rank 0 has, on all ranks (a collective call)."""
    values = [value]
    distributed.broadcast_object_list(values, src=0, group=control())
    return values[0]


def largest(values: list[int]) -> list[int]:
    """The largest of every rank's `values`, place by place (a collective call that keeps off the GPU)."""
    total = torch.tensor(values, dtype=torch.int64)
    distributed.all_reduce(total, op=distributed.ReduceOp.MAX, group=control())
    return [int(x) for x in total]


class Vote:
    """`largest` whose message travels while a step computes, so that nobody waits for it.

    A ring of N ranks passes a small message on 2 (N - 1) times: on hundreds of ranks that is tens of milliseconds. The
    price: what a rank learns during a step counts after the next one. So where the last step took longer than `SLOW`
    seconds on any rank, or `renew` was called since, the ranks vote again and wait.
    """

    SLOW = 1.0

    def __init__(self) -> None:
        self._sent: torch.Tensor | None = None
        self._work: distributed.Work | None = None
        self._began = time.monotonic()
        self._renewed = False

    def cast(self, values: list[int]) -> None:
        """Sends this rank's values for the next `result` (a collective call, which does not wait)."""
        self._sent = torch.tensor([*values, int(time.monotonic() - self._began > self.SLOW)], dtype=torch.int64)
        self._began = time.monotonic()
        self._work = distributed.all_reduce(self._sent, op=distributed.ReduceOp.MAX, group=control(), async_op=True)

    def renew(self) -> None:
        """The votes cast are out of date: something long has happened since, on all ranks."""
        self._renewed = True

    def result(self, values: list[int]) -> list[int]:
        """The largest of every rank's values as cast, or, where none were or they are out of date, of `values` now."""
        found: list[int] = []
        if self._work is not None and self._sent is not None:
            self._work.wait()
            *found, slow = self._sent.tolist()
            found = [] if slow or self._renewed else found
        self._work, self._renewed = None, False
        return found or largest(values)


def barrier() -> None:
    """Returns when all ranks have come here."""
    distributed.barrier(group=control())


def close() -> None:
    """Leaves the process group in order."""
    global _control
    _control = None
    if distributed.is_initialized():
        distributed.destroy_process_group()
