"""Training metrics per task between two log lines.

Sums stay on the device and are reduced over the ranks only when a line is written; the numbers of units and examples
follow from the plan.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtl.data.plan import Step
from mtl.data.task_data import TaskData

Sum = Callable[[Tensor], Tensor]


class RunningMetrics:
    """Accumulates steps until `compute` returns their metrics and starts afresh."""

    def __init__(self, tasks: list[TaskData], device: torch.device) -> None:
        self.tasks, self.device = tasks, device
        self._reset()

    def _reset(self) -> None:
        self.sums = torch.zeros(len(self.tasks), 2, dtype=torch.float64, device=self.device)  # loss, correct units
        self.units = np.zeros(len(self.tasks))
        self.counts = np.zeros(len(self.tasks), dtype=np.int64)  # examples
        self.totals: dict[str, float] = dict.fromkeys(("tokens", "steps", "fill", "balance", "seconds"), 0)
        self.resume()

    @property
    def steps(self) -> int:
        return int(self.totals["steps"])

    def pause(self) -> None:
        """Stops the clock: what follows (evaluation, saving) is not training time."""
        self.totals["seconds"] += time.perf_counter() - self.started

    def resume(self) -> None:
        """Starts the clock again."""
        self.started = time.perf_counter()

    def add(self, step: Step, stats: Tensor, assignment: list[list[np.ndarray]], micro_tokens: int) -> None:
        """One step: `stats` float32 [tasks, 2] of this rank (loss sums, correct), `assignment` from `Step.divide`."""
        self.sums += stats
        self.units += step.units
        self.counts += step.counts
        ranks = len(assignment[0])
        self.totals["tokens"] += step.tokens
        self.totals["steps"] += 1
        self.totals["fill"] += step.tokens / (len(assignment) * ranks * micro_tokens)
        self.totals["balance"] += step.tokens / (int(step.loads(assignment).max(axis=1).sum()) * ranks)

    def state(self, sum_over_ranks: Sum) -> dict[str, Any]:
        """The sums so far over all ranks, for a checkpoint between two log lines (a collective call)."""
        sums = {"sums": sum_over_ranks(self.sums).tolist()}
        return {**sums, "units": self.units.tolist(), "counts": self.counts.tolist(), **self.totals}

    def load(self, state: dict[str, Any], rank: int) -> None:
        """Goes on from `state`; rank 0 holds the sums of all ranks."""
        if rank == 0:
            self.sums += torch.tensor(state["sums"], dtype=torch.float64, device=self.device)
        self.units = np.array(state["units"])
        self.counts = np.array(state["counts"], dtype=np.int64)
        self.totals = {name: state[name] for name in self.totals}
        self.resume()

    def compute(self, sum_over_ranks: Sum) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """(metrics of the interval, one dict per task that had examples); a collective call.

        packing: real tokens over what the slowest rank's load times the ranks would hold (1.0: nobody waits);
        fill: real tokens over ranks x micro-steps x micro_tokens.
        """
        sums = sum_over_ranks(self.sums).cpu().numpy()
        self.pause()
        tasks = []
        for index in np.flatnonzero(self.counts):
            task = self.tasks[index]
            loss, accuracy = (float(value) for value in sums[index] / self.units[index])
            share = float(self.counts[index] / self.counts.sum())
            metrics = {"loss": loss, "accuracy": accuracy} if task.type.accuracy else {"loss": loss}
            tasks.append({"task": task.name, **metrics, "share": share})
        losses = np.array([task["loss"] for task in tasks])
        present = self.counts > 0
        weights = np.array([task.entry.loss_weight for task in self.tasks])[present]
        totals, steps = self.totals, self.steps
        overall = {
            "loss": float((losses * self.counts[present] * weights).sum() / self.counts.sum()),
            "tokens_per_second": totals["tokens"] / totals["seconds"],
            "seconds_per_step": totals["seconds"] / steps,
            "tokens_per_step": totals["tokens"] / steps,
            "packing": totals["balance"] / steps,
            "fill": totals["fill"] / steps,
        }
        self._reset()
        return overall, tasks
