"""Running figures per task between two log lines.

Sums stay on the device and are reduced over the ranks only when a line is written; how many units and examples there
were is known from the plan without asking.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mtl.data.plan import Step
from mtl.data.task_data import TaskData

_PLAIN = ("tokens", "steps", "fill", "balance", "seconds")


class Meter:
    """Collects steps until `lines` turns them into log lines and starts afresh."""

    def __init__(self, tasks: list[TaskData], device: torch.device) -> None:
        self.names = [task.name for task in tasks]
        self.with_accuracy = [task.type.accuracy for task in tasks]
        self.weights = np.array([task.loss_weight for task in tasks])
        self.device = device
        self._reset()

    def _reset(self) -> None:
        self.sums = torch.zeros(len(self.names), 2, dtype=torch.float64, device=self.device)
        self.units = np.zeros(len(self.names))
        self.counts = np.zeros(len(self.names), dtype=np.int64)
        self.tokens = self.steps = 0
        self.fill = self.balance = 0.0
        self.seconds = 0.0
        self.started = time.perf_counter()

    def pause(self) -> None:
        """Stops the clock: what follows (evaluation, saving) is not training time."""
        self.seconds += time.perf_counter() - self.started

    def resume(self) -> None:
        """Starts the clock again."""
        self.started = time.perf_counter()

    def add(self, step: Step, stats: torch.Tensor, shares: list[list[np.ndarray]], micro_tokens: int) -> None:
        """One step: `stats` float32 [tasks, 2] of this rank (loss sums, right), `shares` as `Step.divide` gave them."""
        self.sums += stats
        self.units += step.units
        self.counts += step.counts
        self.tokens += step.tokens
        self.steps += 1
        heaviest, ranks = step.loads(shares).max(axis=1), len(shares[0])
        self.fill += step.tokens / (len(shares) * ranks * micro_tokens)
        self.balance += step.tokens / (int(heaviest.sum()) * ranks)

    def state(self, sum_over_ranks: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
        """The sums so far over all ranks, for a checkpoint between two log lines (a collective call)."""
        return {
            "sums": sum_over_ranks(self.sums).tolist(),
            "units": self.units.tolist(),
            "counts": self.counts.tolist(),
            **{name: getattr(self, name) for name in _PLAIN},
        }

    def load(self, state: dict[str, Any], rank: int) -> None:
        """Goes on from `state`; the sums of all ranks are kept by rank 0."""
        if rank == 0:
            self.sums += torch.tensor(state["sums"], dtype=torch.float64, device=self.device)
        self.units = np.array(state["units"])
        self.counts = np.array(state["counts"], dtype=np.int64)
        for name in _PLAIN:
            setattr(self, name, state[name])
        self.resume()

    def lines(
        self, sum_over_ranks: Callable[[torch.Tensor], torch.Tensor]
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """(figures of the interval, one dict per task that had examples); a collective call.

        packing: real tokens over what the slowest rank's load times the ranks would hold (1.0: nobody waits);
        fill: real tokens over ranks x micro-steps x micro_tokens.
        """
        sums = sum_over_ranks(self.sums).cpu().numpy()
        self.pause()
        seconds = self.seconds
        tasks = []
        for index in np.flatnonzero(self.counts):
            loss, accuracy = (float(value) for value in sums[index] / self.units[index])
            tasks.append(
                {
                    "task": self.names[index],
                    "loss": loss,
                    **({"accuracy": accuracy} if self.with_accuracy[index] else {}),
                    "share": float(self.counts[index] / self.counts.sum()),
                }
            )
        losses = np.array([task["loss"] for task in tasks])
        present = self.counts > 0
        overall = {
            "loss": float((losses * self.counts[present] * self.weights[present]).sum() / self.counts.sum()),
            "tokens_per_second": self.tokens / seconds,
            "seconds_per_step": seconds / self.steps,
            "tokens_per_step": self.tokens / self.steps,
            "packing": self.balance / self.steps,
            "fill": self.fill / self.steps,
        }
        self._reset()
        return overall, tasks
