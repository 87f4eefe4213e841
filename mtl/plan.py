"""The plan of a run: what every global step computes, and how ranks share it.

    plan = Plan(config, tasks)
    step = plan.step(17, cursors)         # the same on every rank
    mine = step.divide(ranks=8, micro_tokens=16384)[micro][rank]

Every rank computes the whole plan (ids, lengths, unit counts: cheap) and takes its share, so nobody has to communicate
to agree on tasks or counts. The loss of a step is

    L = sum_t lambda_t (n_t / N) (1 / U_t) sum of t's unit losses

with n_t examples of task t among N and U_t loss units of t in the *global* batch (a unit is an example, a labelled
word of a tag task, a masked token); `Step.weights` holds lambda_t n_t / (N U_t). It depends on neither ranks nor
micro-batches.
"""

import hashlib
import heapq
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.errors import InputError
from mtl import mixture
from mtl.config import RunConfig
from mtl.data import TaskData


@dataclass(frozen=True)
class Step:
    """One global step: arrays over its N examples, and over the tasks."""

    number: int
    task: np.ndarray  # int64 [N]
    row: np.ndarray  # int64 [N], row of the task's training data
    length: np.ndarray  # int64 [N], tokens
    counts: np.ndarray  # int64 [tasks], n_t
    units: np.ndarray  # int64 [tasks], U_t
    weights: np.ndarray  # float64 [tasks]

    @property
    def tokens(self) -> int:
        return int(self.length.sum())

    def divide(self, ranks: int, micro_tokens: int) -> list[list[np.ndarray]]:
        """[micro-step][rank] -> places in this step's arrays; every example exactly once.

        As few micro-steps as fit `micro_tokens` a rank (beyond 127 within 2 % of it); the longest examples are
        placed first, each into the emptiest bin (longest processing time first, Graham 1969). A bin may be empty.
        """
        order = np.argsort(-self.length, kind="stable")
        micro_steps = max(1, math.ceil(self.tokens / (ranks * micro_tokens)))
        while True:
            bins = _fill(self.length, order, ranks * micro_steps, micro_tokens)
            if bins is not None:
                break
            micro_steps += max(1, micro_steps // 64)  # thousands are not tried one by one
        # Bins of like size run at the same time, so that ranks wait little for each other.
        bins.sort(key=lambda places: -int(self.length[places].sum()))
        return [bins[first : first + ranks] for first in range(0, len(bins), ranks)]


def _fill(length: np.ndarray, order: np.ndarray, count: int, capacity: int) -> list[np.ndarray] | None:
    heap = [(0, index) for index in range(count)]
    bins: list[list[int]] = [[] for _ in range(count)]
    for place in order:
        filled, index = heapq.heappop(heap)
        if filled and filled + length[place] > capacity:
            return None
        bins[index].append(int(place))
        heapq.heappush(heap, (filled + int(length[place]), index))
    return [np.array(places, dtype=np.int64) for places in bins]


class Plan:
    """All steps of a run; a pure function of the config and the prepared data."""

    def __init__(self, config: RunConfig, tasks: list[TaskData]) -> None:
        self.config = config
        self.tasks = tasks
        sizes = np.array([len(task.train) for task in tasks])
        caps = np.array([self._cap(task) for task in tasks])
        capped = np.minimum(sizes, caps)
        self.epoch_examples = int(capped.sum())
        self.mean_length = np.array([task.train.length.mean() for task in tasks])
        given = tuple(task.share or 0.0 for task in tasks) if config.mixture.kind == "fixed" else None
        start = mixture.shares(
            config.mixture.kind,
            capped,
            temperature=config.mixture.temperature,
            given=None if given is None else np.array(given),
        )
        if config.batch.examples is not None:
            batch = config.batch.examples
        else:
            assert config.batch.tokens is not None
            batch = max(1, round(config.batch.tokens / float(start @ self.mean_length)))
        if config.steps is not None:
            steps = config.steps
        else:
            assert config.epochs is not None
            steps = max(1, math.ceil(config.epochs * self.epoch_examples / batch))
        self.sampler = mixture.Sampler(
            sizes=tuple(int(n) for n in sizes),
            kind=config.mixture.kind,
            capped=tuple(int(n) for n in capped),
            seed=config.seed,
            batch_examples=batch,
            steps=steps,
            by_task=config.mixture.batches == "by_task",
            temperature=config.mixture.temperature,
            given=given,
        )
        self._units = [task.train_units(config.mlm_probability) for task in tasks]
        self._lambda = np.array([task.loss_weight for task in tasks])
        longest = max(int(task.train.length.max()) for task in tasks)
        if longest > config.micro_tokens:
            worst = max(tasks, key=lambda task: int(task.train.length.max()))
            raise InputError(
                f"micro_tokens {config.micro_tokens} is less than the longest example of {worst.name} "
                f"({longest} tokens): raise micro_tokens or lower its max_length"
            )

    def _cap(self, task: TaskData) -> float:
        caps = [task.cap or math.inf]
        if self.config.mixture.kind == "capped":
            caps.append(self.config.mixture.cap or mixture.DEFAULT_CAP)
        elif self.config.mixture.cap is not None:
            caps.append(self.config.mixture.cap)
        return min(caps)

    @property
    def steps(self) -> int:
        return self.sampler.steps

    @property
    def batch_examples(self) -> int:
        return self.sampler.batch_examples

    def step(self, number: int, cursors: np.ndarray | None = None) -> Step:
        """Global step `number`, counted from 0. `cursors`: see `Sampler.batch`; advance them by `Step.counts`."""
        task, row = self.sampler.batch(number, cursors)
        length = np.empty(len(task), dtype=np.int64)
        counts = np.bincount(task, minlength=len(self.tasks))
        units = np.zeros(len(self.tasks), dtype=np.int64)
        for t in np.flatnonzero(counts):
            places = task == t
            length[places] = self.tasks[t].train.length[row[places]]
            units[t] = self._units[t][row[places]].sum()
        weights = self._lambda * counts / (len(task) * np.maximum(units, 1))
        return Step(number, task, row, length, counts, units, weights)

    def parts(self) -> dict[str, Any]:
        """What the plan depends on, by name: two plans are the same exactly when these are."""
        return {
            "seed": self.config.seed,
            "mixture": self.config.mixture.model_dump(),
            "batch examples": self.batch_examples,
            "steps": self.steps,
            "mlm_probability": self.config.mlm_probability,
            "tasks": {
                task.name: {
                    "rows": len(task.train),
                    "cap": task.cap,
                    "share": task.share,
                    "loss_weight": task.loss_weight,
                    "data": [p.manifest["files"]["train.arrow"]["sha256"][:12] for p in task.prepared],
                }
                for task in self.tasks
            },
        }

    def fingerprint(self) -> str:
        """sha256 of `parts()`."""
        return hashlib.sha256(json.dumps(self.parts(), sort_keys=True).encode()).hexdigest()

    def expected(self) -> list[dict[str, Any]]:
        """The mixture table: per task its size, probability at the start, expected examples and epochs of the run."""
        probability = self.sampler.shares_at(0)
        if self.config.mixture.kind == "annealed":
            mean = self.sampler.shares_at(np.arange(self.steps)).mean(axis=0)
        else:
            mean = probability
        draws = mean * self.steps * self.batch_examples
        return [
            {
                "task": task.name,
                "rows": len(task.train),
                "capped": self.sampler.capped[t],
                "probability": float(probability[t]),
                "examples": float(draws[t]),
                "epochs": float(draws[t] / len(task.train)),
                "mean_length": float(self.mean_length[t]),
            }
            for t, task in enumerate(self.tasks)
        ]
