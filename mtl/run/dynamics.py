"""Training dynamics (Swayamdipta et al. 2020, arXiv 2009.10795): how a run's training rows fared at each visit.

A visit is two float32, the probability of the gold answer and whether it was the best one, computed by the heads from
the scores of the training step (`Head.visits`). They are kept by their place in the plan, [step, draw], so the row of
each follows from the plan again, ranks add theirs by a sum in which every other one has 0, and a checkpoint holds what
a resumed run goes on with. Trade-off: 8 bytes a visit, on rank 0 and in every checkpoint.

At the end dynamics/TASK.arrow has a line for each row that was visited: row and id as in the prepared data; label, the
class by which strata are balanced (`TaskType.classes`); visits; over these, confidence and variability: mean and
standard deviation of the probability, and correctness: the share that was right.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from common import files
from common.errors import InputError
from data_prep.storage import store
from mtl.data.plan import Plan, Step
from mtl.data.task_data import TaskData
from mtl.model.encoder import MultiTaskModel

FILE, FOLDER = "dynamics.npz", "dynamics"  # in a checkpoint, in the run folder
ENOUGH = 3  # visits below which a mean and a standard deviation say little


class Dynamics:
    """The visits of a run, of which `first` steps were made before. All ranks call `add` and `merge` alike."""

    def __init__(self, plan: Plan, model: MultiTaskModel, rank: int, first: int) -> None:
        self.plan, self.model, self.rank = plan, model, rank
        self.draws = plan.batch_examples
        self.tasks = [t for t, task in enumerate(plan.tasks) if task.type.dynamics]
        self._merged = self._seen = first
        self._parts: list[np.ndarray] = []  # float32 [draws, 2] each, on rank 0; NaN: no visit
        self._pending: list[tuple[np.ndarray, Tensor]] = []  # places of draws since the last merge, their visits
        model.visits = []

    def load(self, checkpoint: Path) -> bool:
        """Goes on from a checkpoint (rank 0 only); False if it has no visits of this plan: they count from here on."""
        if (checkpoint / FILE).exists():
            with np.load(checkpoint / FILE, allow_pickle=False) as saved:
                if str(saved["plan"]) == self.plan.fingerprint():
                    self._parts = [saved["visits"]]
                    return True
        self._parts = [np.full((self._merged * self.draws, 2), np.nan, np.float32)]
        return False

    def save(self, checkpoint: Path) -> None:
        """Writes what `load` reads (rank 0 only)."""
        np.savez(checkpoint / FILE, visits=np.concatenate(self._parts), plan=self.plan.fingerprint())

    def add(self, step: Step, assignment: list[list[np.ndarray]], made: bool) -> None:
        """The visits of a step; none if it was not `made`, because it was not finite."""
        first, self._seen = (step.number - self._merged) * self.draws, step.number + 1
        visits = iter(self.model.visits or ())
        for ranks in assignment:
            mine = ranks[self.rank]
            for t in self.tasks:  # the order of the heads
                draws = mine[step.task[mine] == t]
                if len(draws):
                    values = next(visits)
                    self._pending.append((first + draws, values if made else torch.full_like(values, torch.nan)))

    def merge(self, sum_over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Brings what was added on all ranks to rank 0 (a collective call)."""
        if self._seen == self._merged:
            return
        visits = torch.zeros((self._seen - self._merged) * self.draws, 2)
        if self._pending:
            places = np.concatenate([draws for draws, _ in self._pending])
            visits[torch.from_numpy(places)] = torch.cat([values for _, values in self._pending]).cpu()
        visits = sum_over_ranks(visits)
        if self.rank == 0:
            self._parts.append(visits.numpy())
        self._merged, self._pending = self._seen, []

    def write(self, run_folder: Path, warn: Callable[[str], None]) -> None:
        """Writes dynamics/TASK.arrow (rank 0 only); warns of rows with few visits."""
        draws = [self.plan.draws(number) for number in range(self._merged)]
        _, task, row = (np.concatenate(part) for part in zip(*draws, strict=True))
        visits = np.concatenate(self._parts).astype(np.float64)
        with files.replacing(run_folder / FOLDER) as writing:
            for t in self.tasks:
                data = self.plan.tasks[t]
                chosen = (task == t) & ~np.isnan(visits[:, 0])
                if chosen.any():
                    columns = _table(data, row[chosen], *visits[chosen].T)
                    store.write_table(writing / f"{data.name}.arrow", columns.to_batches(), columns.schema)
                if few := len(data.train) - int((np.bincount(row[chosen]) >= ENOUGH).sum()):
                    warn(
                        f"warning: dynamics of {data.name}: {few:,} of {len(data.train):,} rows have fewer than "
                        f"{ENOUGH} visits; more epochs or a subset would give each enough"
                    )


def _table(data: TaskData, row: np.ndarray, gold: np.ndarray, right: np.ndarray) -> pa.Table:
    """The columns of dynamics/TASK.arrow from visits [n]: row, probability of gold, right."""
    visits = pa.table({"row": row, "gold": gold, "right": right}).group_by("row")
    found = visits.aggregate([("gold", "count"), ("gold", "mean"), ("gold", "stddev"), ("right", "mean")])
    found = found.sort_by("row")
    seen = found["row"].to_numpy()
    numbers = data.train.numbers(seen)
    return pa.table(
        {
            "row": numbers,
            "id": store.row_ids(data.prepared).take(numbers),
            "label": data.type.classes(data.train.gather(seen, data.type.stored)),
            "visits": found["gold_count"],
            "confidence": found["gold_mean"],
            "variability": found["gold_stddev"],
            "correctness": found["right_mean"],
        }
    )


def check(tasks: list[TaskData]) -> None:
    """`InputError` where no task has gold answers to follow, or prepared data lack the ids of their rows."""
    followed = [task for task in tasks if task.type.dynamics]
    if not followed:
        kinds = ", ".join(sorted({task.task.kind for task in tasks}))
        raise InputError(f"dynamics: no task has a gold label whose probability could be followed (only {kinds})")
    for task in followed:
        store.row_ids(task.prepared)
