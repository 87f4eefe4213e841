"""The nine tasks as lengths alone: what the planner needs of a task, without a file behind it, of any size.

Each row has the length of a sample of bench/lengths.json that its number is hashed to, so that a hundred million rows
need no memory and are the same for everybody.
"""

import json
from collections.abc import Sequence

import numpy as np

from bench.lengths import DATASETS, FILE
from common.run_config import RunConfig
from data_prep.datasets import TASKS
from tasks.task import Task

NINE = ("anli_plus", "mnli", "qqp", "squad_v1", "squad_v2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa")


class Virtual:
    """Stands in for `mtl.data.TaskData`. `rows`: of each of its data sets; `asked`: how many rows' sizes were asked."""

    def __init__(self, task: Task, rows: Sequence[int]) -> None:
        samples = json.loads(FILE.read_text(encoding="utf-8"))
        self.task, self.name = task, task.name
        self.cap = None
        self.share: float | None = None
        self.loss_weight = 1.0
        self.train = range(sum(rows))
        self.asked = 0
        self._ends = np.cumsum(rows)
        own = [[row[:1] if task.kind == "tag" else row for row in samples[name]] for name in task.datasets]
        self._first = np.cumsum([0, *(len(part) for part in own)])
        self._table = [row for part in own for row in part]
        self._length = np.array([sum(row) for row in self._table])
        self._squares = np.array([sum(length**2 for length in row) for row in self._table])
        self._units = np.array([row[1] if task.kind == "tag" else 1 for part in task.datasets for row in samples[part]])
        means = [np.mean([sum(row) for row in part]) for part in own]
        self.mean_length = float(np.average(means, weights=rows))
        self.longest = int(self._length.max())

    def _samples(self, rows: np.ndarray) -> np.ndarray:
        owner = np.searchsorted(self._ends, rows, side="right")
        sizes = np.diff(self._first)[owner]
        spread = (rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
        return self._first[owner] + (spread % sizes.astype(np.uint64)).astype(np.int64)

    def sizes(self, rows: np.ndarray, mlm_probability: float) -> tuple[np.ndarray, np.ndarray]:
        """(tokens, loss units) of rows, as `TaskData.sizes`."""
        self.asked += len(rows)
        found = self._samples(rows)
        return self._length[found], self._units[found]

    def lengths(self, rows: np.ndarray) -> list[list[int]]:
        """The lengths of the sequences of each row."""
        return [self._table[n] for n in self._samples(rows)]

    def squares(self, rows: np.ndarray) -> np.ndarray:
        """Sum over the sequences of each row of their squared lengths: what attention's time follows."""
        return self._squares[self._samples(rows)]


def tasks(total: int | None = None) -> list[Virtual]:
    """The nine tasks with their published sizes, or scaled so that they have about `total` rows in all."""
    whole = sum(DATASETS[name] for task in NINE for name in TASKS[task].datasets)
    factor = 1.0 if total is None else total / whole
    return [Virtual(TASKS[n], [max(1, round(DATASETS[d] * factor)) for d in TASKS[n].datasets]) for n in NINE]


def config(**fields: object) -> RunConfig:
    """The published mixture over the nine tasks."""
    values = {"name": "bench", "tasks": list(NINE), "mixture": {"kind": "capped", "batches": "mixed"}, "steps": 10_000}
    return RunConfig.model_validate({**values, **fields})
