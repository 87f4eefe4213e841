"""The plan of a run: what every global step computes, and how it is divided over ranks and micro-steps.

    plan = Plan(config, tasks)
    step = plan.step(17, cursors)         # the same on every rank
    indices = step.divide(ranks=8, micro_tokens=16384)[micro][rank]

Every rank computes the whole plan (ids, lengths, unit counts: cheap) and selects its own part, so no communication is
needed to agree on tasks or counts. The loss of a step is

    L = sum_t lambda_t (n_t / N) (1 / U_t) sum of t's unit losses

with n_t examples of task t among N and U_t loss units of t in the *global* batch (a unit is an example, a labelled
word of a tag task, a masked token); `Step.weights` holds lambda_t n_t / (N U_t). It depends on neither ranks nor
micro-batches.
"""

import heapq
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import InputError
from common.files import json_sha256
from common.run_config import RunConfig
from data_prep.storage.store import short_hash
from mtl.data import sampler
from mtl.data.task_data import TaskData


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
    drawn: np.ndarray  # int64 [sources], examples of each source (see mtl/data/sampler.py)

    @property
    def tokens(self) -> int:
        return int(self.length.sum())

    def divide(self, ranks: int, micro_tokens: int) -> list[list[np.ndarray]]:
        """[micro-step][rank] -> indices into this step's arrays; every example exactly once.

        As few micro-steps as fit `micro_tokens` a rank (beyond 127 within 2 % of it); the longest examples are
        assigned first, each to the emptiest bin (longest processing time first, Graham 1969). A bin may be empty.
        """
        order = np.argsort(-self.length, kind="stable")
        micro_steps = max(1, math.ceil(self.tokens / (ranks * micro_tokens)))
        while (filled := _fill(self.length[order], ranks * micro_steps, micro_tokens)) is None:
            micro_steps += max(1, micro_steps // 64)  # thousands are not tried one by one
        owner, loads = filled
        # Bins of similar size run at the same time, so that ranks wait little for each other.
        rank_of = np.empty(len(loads), dtype=np.int64)
        rank_of[np.argsort(-loads, kind="stable")] = np.arange(len(loads))
        owner = rank_of[owner]
        ends = np.cumsum(np.bincount(owner, minlength=len(loads)))
        bins = np.split(order[np.argsort(owner, kind="stable")], ends[:-1])
        return [bins[first : first + ranks] for first in range(0, len(bins), ranks)]

    def loads(self, assignment: list[list[np.ndarray]]) -> np.ndarray:
        """int64 [micro-steps, ranks]: the tokens of each bin of `divide`."""
        bins = [np.zeros(0, np.int64), *(indices for ranks in assignment for indices in ranks)]
        total = np.concatenate([[0], np.cumsum(self.length[np.concatenate(bins)])])
        ends = np.cumsum([len(indices) for indices in bins])
        return np.diff(total[ends]).reshape(len(assignment), -1)


def _fill(lengths: np.ndarray, bins: int, capacity: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Each of `lengths` (descending) into the emptiest bin: (bin of each, load of each), None if a bin overflows.

    An item longer than `capacity` may have a bin of its own.
    """
    heap = list(range(bins))  # load * bins + index: one number sorts by load, then index
    owner = np.empty(len(lengths), dtype=np.int64)
    for item, length in enumerate(lengths.tolist()):
        owner[item] = heap[0] % bins
        heapq.heapreplace(heap, heap[0] + length * bins)
    loads = np.zeros(bins, dtype=np.int64)
    np.add.at(loads, owner, lengths)
    several = np.bincount(owner, minlength=bins) > 1
    return None if np.any(loads[several] > capacity) else (owner, loads)


class Plan:
    """All steps of a run; a pure function of the config and the prepared data."""

    def __init__(self, config: RunConfig, tasks: list[TaskData]) -> None:
        self.config = config
        self.tasks = tasks
        mixture = config.mixture
        default = sampler.DEFAULT_CAP if mixture.kind == "capped" else math.inf
        capped = [int(min(len(task.train), task.entry.cap or math.inf, mixture.cap or default)) for task in tasks]
        shares = tuple(task.entry.share for task in tasks)
        self.epoch_examples = sum(capped)
        if mixture.kind != "fixed" and any(
            share is not None for share in shares
        ):  # an epoch is one of the tasks without a share
            counted = sum(n for n, share in zip(capped, shares, strict=True) if share is None)
            self.epoch_examples = round(counted / (1.0 - sum(share or 0.0 for share in shares)))
        self.mean_length = np.array([task.mean_length for task in tasks])
        examples, steps = config.batch.examples, config.steps
        if examples is None:
            assert config.batch.tokens is not None
            start = sampler.task_probabilities(
                mixture.kind, np.array(capped), temperature=mixture.temperature, given=shares
            )
            examples = max(1, round(config.batch.tokens / float(start @ self.mean_length)))
        if steps is None:
            assert config.epochs is not None
            steps = max(1, math.ceil(config.epochs * self.epoch_examples / examples))
        self.steps, self.batch_examples = steps, examples
        self.sampler = sampler.Sampler(
            sizes=tuple(source.rows for task in tasks for source in task.sources),
            kind=mixture.kind,
            capped=tuple(capped),
            seed=config.seed,
            batch_examples=examples,
            steps=steps,
            by_task=mixture.batches == "by_task",
            temperature=mixture.temperature,
            given=shares,
            within=tuple(tuple(source.share for source in task.sources) for task in tasks),
            one_source=tuple(t for t, task in enumerate(tasks) if task.entry.hybrid is not None),
        )
        self._task_of, self._first_row = np.array(
            [(t, source.first) for t, task in enumerate(tasks) for source in task.sources]
        ).T
        self._loss_weights = np.array([task.entry.loss_weight for task in tasks])
        for task in tasks:
            # The lengths are read only where the manifest's bound does not settle it.
            if task.longest > config.micro_tokens and task.train.longest > config.micro_tokens:
                raise InputError(
                    f"micro_tokens {config.micro_tokens} is less than the longest example of {task.name} "
                    f"({task.train.longest} tokens): raise micro_tokens or lower its max_length"
                )

    def draws(self, number: int, cursors: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(source, task, row) of every example of global step `number`: three int64 [examples]."""
        source, row = self.sampler.batch(number, cursors)
        return source, self._task_of[source], self._first_row[source] + row

    def step(self, number: int, cursors: np.ndarray | None = None) -> Step:
        """Global step `number`, counted from 0. `cursors`: see `Sampler.batch`; advance them by `Step.drawn`."""
        source, task, row = self.draws(number, cursors)
        length = np.empty(len(task), dtype=np.int64)
        counts = np.bincount(task, minlength=len(self.tasks))
        units = np.zeros(len(self.tasks), dtype=np.int64)
        for t in np.flatnonzero(counts):
            mine = task == t
            length[mine], row_units = self.tasks[t].sizes(row[mine], self.config.mlm_probability)
            units[t] = row_units.sum()
        weights = self._loss_weights * counts / (len(task) * np.maximum(units, 1))
        drawn = np.bincount(source, minlength=len(self._task_of))
        return Step(number, task, row, length, counts, units, weights, drawn)

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
                    "cap": task.entry.cap,
                    "share": task.entry.share,
                    "loss_weight": task.entry.loss_weight,
                    "data": [p.manifest["files"]["train.arrow"]["sha256"][:12] for p in task.prepared],
                    **({} if task.train.chosen is None else {"subset": short_hash(task.train.chosen.tolist())}),
                    **({"languages": {s.name: s.share for s in task.sources}} if task.task.codes else {}),
                    **({} if task.entry.hybrid is None else {"hybrid": task.entry.hybrid}),
                }
                for task in self.tasks
            },
        }

    def fingerprint(self) -> str:
        """sha256 of `parts()`."""
        return json_sha256(self.parts())

    def expected(self) -> list[dict[str, Any]]:
        """The mixture table: per task its size, probability at the start, expected examples and epochs of the run.

        `languages` has the same of each language of a task whose entry names them, and of each pair of languages; that
        of the passages, where it is another, is `passages`.
        """
        probability = mean = self.sampler.probabilities_at(0)
        if self.config.mixture.kind == "annealed":
            mean = self.sampler.probabilities_at(np.arange(self.steps)).mean(axis=0)
        draws = mean * self.steps * self.batch_examples

        def line(t: int, rows: int, share: float, mean_length: float) -> dict[str, Any]:
            return {
                "rows": rows,
                "probability": float(probability[t] * share),
                "examples": float(draws[t] * share),
                "epochs": float(draws[t] * share / rows),
                "mean_length": mean_length,
            }

        return [
            {
                "task": task.name,
                "capped": self.sampler.capped[t],
                **line(t, len(task.train), 1.0, task.mean_length),
                "languages": [
                    {"language": s.language, "passages": s.passages, **line(t, s.rows, s.share, s.tokens)}
                    for s in task.sources
                    if s.language
                ],
            }
            for t, task in enumerate(self.tasks)
        ]
