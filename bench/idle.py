"""How much of a step the GPU has nothing to do: the share of time in which no kernel, copy or fill runs on it.

From a trace of torch.profiler with the GPU's own activities alone, whose recording costs the host next to nothing (with
operators recorded too, the host is slower and the GPU waits for that). The time is that from the first activity to the
end of the last, over several steps, so what the host does between steps counts. On several GPUs, rank 0's; kernels that
wait for other ranks count as running.
"""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BUSY = {"kernel", "gpu_memcpy", "gpu_memset"}  # categories of the trace; annotations are others


def share(intervals: Iterable[tuple[float, float]]) -> float:
    """1 - (time covered by at least one of the intervals (start, end)) / (first start to last end)."""
    covered, first, reached = 0.0, None, 0.0
    for start, end in sorted(intervals):
        if first is None:
            first = reached = start
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    if first is None or reached == first:
        raise ValueError("no activity of the GPU in the trace")
    return 1 - covered / (reached - first)


def of_trace(trace: dict[str, Any]) -> float:
    """`share` of a Chrome trace as torch.profiler writes it (`ts` and `dur` in microseconds)."""
    events = (event for event in trace["traceEvents"] if event.get("ph") == "X" and event.get("cat") in BUSY)
    return share((float(event["ts"]), float(event["ts"]) + float(event["dur"])) for event in events)


class Watching:
    """`start()`, steps, `stop()`: the share of them that the GPU was idle."""

    def __init__(self) -> None:
        import torch

        self._profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])

    def start(self) -> None:
        self._profile.start()

    def stop(self) -> float:
        """The GPU must have finished (`torch.cuda.synchronize`)."""
        self._profile.stop()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            self._profile.export_chrome_trace(str(path))
            return of_trace(json.loads(path.read_text(encoding="utf-8")))
