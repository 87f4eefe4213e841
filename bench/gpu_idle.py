"""Share of the time in which no kernel, copy or fill runs on the GPU.

From a torch.profiler trace of the GPU's activities alone, which costs the host next to nothing to record (recording
operators as well slows the host down, and the GPU waits for it). Measured from the first activity to the end of the
last, over several steps, so the host's work between steps counts. With several GPUs it is rank 0's; kernels that wait
for other ranks count as running.
"""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

BUSY = {"kernel", "gpu_memcpy", "gpu_memset"}  # trace categories of work on the GPU; annotations are not


def idle_share(intervals: Iterable[tuple[float, float]]) -> float:
    """1 - (time covered by at least one of the intervals (start, end)) / (first start to last end)."""
    covered, first, reached = 0.0, None, 0.0
    for start, end in sorted(intervals):
        if first is None:
            first = reached = start
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    if first is None or reached == first:
        raise ValueError("no GPU activity in the trace")
    return 1 - covered / (reached - first)


def of_trace(trace: dict[str, Any]) -> float:
    """`idle_share` of a Chrome trace as torch.profiler writes it (`ts` and `dur` in microseconds)."""
    events = (event for event in trace["traceEvents"] if event.get("ph") == "X" and event.get("cat") in BUSY)
    return idle_share((float(event["ts"]), float(event["ts"]) + float(event["dur"])) for event in events)


class IdleProfiler:
    """`start()`, some steps, `stop()`: the idle share of these steps."""

    def __init__(self) -> None:
        self._profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])

    def start(self) -> None:
        self._profile.start()

    def stop(self) -> float:
        """Call it after `torch.cuda.synchronize()`."""
        self._profile.stop()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            self._profile.export_chrome_trace(str(path))
            return of_trace(json.loads(path.read_text(encoding="utf-8")))
