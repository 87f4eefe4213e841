"""What DeepSpeed and this program hand to the collectives of torch.distributed: calls, bytes and seconds.

`watch()` wraps every function through which a step communicates, before DeepSpeed is imported, since DeepSpeed keeps
some of them. DeepSpeed's own communication log would not see what is sent beside it (`zero2_gradients.py`,
`mtl/distributed/zero2_step.py`). Seconds are those of the call: with gloo, without `overlap_comm`, of the message.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

# Operation -> its tensor, among the arguments of a call in their order.
TENSORS: dict[str, Callable[[tuple[Any, ...]], list[torch.Tensor]]] = {
    "all_reduce": lambda given: [given[0]],
    "reduce": lambda given: [given[0]],
    "broadcast": lambda given: [given[0]],
    "all_gather_into_tensor": lambda given: [given[0]],
    "reduce_scatter_tensor": lambda given: [given[1]],
    "all_gather": lambda given: given[0],
}


@dataclass
class Traffic:
    """`calls`: (operation, bytes of its tensor, the whole one where ranks hold parts) -> times; `seconds` in them."""

    calls: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: float = 0.0

    def moved(self) -> dict[str, int]:
        """Operation -> bytes."""
        found: Counter[str] = Counter()
        for (name, size), times in self.calls.items():
            found[name] += size * times
        return dict(found)

    def clear(self) -> None:
        self.calls.clear()
        self.seconds = 0.0


def watch() -> Traffic:
    """Counts from now on, for as long as the process lives."""
    found = Traffic()
    for name, tensors in TENSORS.items():
        setattr(torch.distributed, name, _counting(name, getattr(torch.distributed, name), tensors, found))
    return found


def _counting(name: str, real: Callable[..., Any], tensors: Callable[..., list[torch.Tensor]], found: Traffic) -> Any:
    def counting(*arguments: Any, **more: Any) -> Any:
        found.calls[name, sum(t.nbytes for t in tensors((*arguments, *more.values())))] += 1
        began = time.perf_counter()
        try:
            return real(*arguments, **more)
        finally:
            found.seconds += time.perf_counter() - began

    return counting
