"""Dev evaluation during training: every task with its own metric, divided over the ranks.

A rank takes whole examples (all windows of a question); sums and the outcome of each example are summed over the
ranks, so that metrics do not depend on how many there are. The dev examples are evenly spaced over the task's dev set,
the same ones every time. Forward passes hold one task each and need no communication; there is one reduction per task.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from common.columns import Columns
from common.run_config import RunConfig
from mtl.data.plan import Plan
from mtl.data.task_data import TaskData
from mtl.evaluation.inference import TOTALS, score
from mtl.model.encoder import MultiTaskModel
from tasks.base import Draw
from tasks.encoding import Special

Sum = Callable[[torch.Tensor], torch.Tensor]
DEV_STEP = 2**63  # seeds the masks of dev rows, the same at every evaluation: a step that is never trained


Scores = dict[str, dict[str, float]]  # task: its metrics in [0, 1], as in metrics.jsonl


class DevEvaluation:
    """The dev sets of a run.

    `sum_over_ranks` adds a float64 tensor up over all ranks; `wants_stop`: whether this rank wants the run to stop.
    """

    def __init__(
        self, plan: Plan, special: Special, rank: int, world: int, sum_over_ranks: Sum, wants_stop: Callable[[], bool]
    ) -> None:
        self.wants_stop = wants_stop
        self.micro_tokens = plan.config.micro_tokens
        self.rank, self.world, self.sum = rank, world, sum_over_ranks
        self.sets = [_DevSet(task, plan.config, special) for task in plan.tasks if len(task.dev)]

    def run(self, model: MultiTaskModel) -> Scores | None:
        """Scores of every task that has dev rows; None, on all ranks, if one wanted to stop (a collective call)."""
        model.eval()
        scores: Scores = {}
        try:
            for dev in tqdm(self.sets, desc="dev", leave=False, disable=self.rank != 0, unit="task"):
                totals, outcomes, units = self._outcomes(dev, model)
                mine = np.concatenate([totals, units.ravel(), outcomes.ravel(), [self.wants_stop()]])
                summed = self.sum(torch.from_numpy(mine)).numpy()
                if summed[-1]:
                    return None
                totals, units, outcomes = np.split(summed[:-1], [TOTALS, TOTALS + units.size])
                scores[dev.task.name] = dev.scores(model, totals, outcomes.reshape(len(dev.examples), -1), units)
        finally:
            model.train()
        return scores

    def _outcomes(self, dev: "_DevSet", model: MultiTaskModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of this rank: sums, float64 [4] as `Scored.totals`; of each example the outcome, and units and units right,

        0 of those of other ranks.
        """
        head = model.head(dev.task.name)
        totals = np.zeros(TOTALS)
        outcomes = np.zeros((len(dev.examples), head.outcome_width(model.encoder.config.hidden_size)))
        units = np.zeros((len(dev.examples), 2))
        scored = score(
            model.encoder,
            head,
            dev.task.task.kind,
            dev.columns,
            dev.example,
            dev.length,
            dev.special,
            micro_tokens=self.micro_tokens,
            shard=(self.rank, self.world),
            keep_scores=bool(head.outcome),
            losses=True,
        )
        for example in scored:
            if self.wants_stop():
                break  # the scores will not be used
            totals += example.totals
            index = int(np.searchsorted(dev.examples, example.example))
            units[index] = example.totals[2:]
            if head.outcome:
                rows = list(zip(dev.task.dev.take(dev.rows[example.rows]), example.scores, strict=True))
                outcomes[index] = head.example_outcome(rows, dev.gold.get(example.example), dev.task.task.metric)
        return totals, outcomes, units


class _DevSet:
    """The chosen dev examples of one task."""

    def __init__(self, task: TaskData, config: RunConfig, special: Special) -> None:
        self.task, self.special = task, special
        self.seed, self.probability = config.seed, config.mlm_probability
        numbers = np.unique(task.dev.example)
        count = min(config.evaluate.examples or len(numbers), len(numbers))
        self.examples = numbers = numbers[np.arange(count) * len(numbers) // count]
        self.rows = np.flatnonzero(np.isin(task.dev.example, numbers))
        self.example, self.length = task.dev.example[self.rows], task.dev.length[self.rows]
        self.gold: dict[int, dict[str, Any]] = {}
        for prepared, first in zip(task.dev_prepared, task.dev.first_examples, strict=True):
            self.gold |= {first + int(gold["example"]): gold for gold in prepared.dev_examples()}
        self.all_columns = self.columns(np.arange(len(self.rows)))
        gold_of_chosen = [self.gold[int(e)] for e in numbers] if self.gold else []
        self.majority = task.type.majority(self.all_columns, gold_of_chosen)

    def columns(self, numbers: np.ndarray) -> Columns:
        """What the head reads of the chosen rows with these numbers."""
        rows, task = self.rows[numbers], self.task
        columns = task.dev.gather(rows, [*self.special.columns, *task.type.stored])
        draw = Draw(self.seed, DEV_STEP, rows, numbers, self.special, self.probability, task.entry.pooling)
        return task.type.complete(columns, draw)

    def scores(
        self, model: MultiTaskModel, totals: np.ndarray, outcomes: np.ndarray, units: np.ndarray
    ) -> dict[str, float]:
        """Metrics from the sums and outcomes of all ranks.

        `score` among them selects the best encoder; `low` and `high` are its 95 % interval over dev examples.
        """
        head = model.head(self.task.name)
        metrics = head.dev_metrics(totals, outcomes, self.all_columns)
        score = next(iter(metrics.values()))
        low, high = head.dev_interval(score, units.reshape(-1, 2), outcomes, self.all_columns)
        about = {"examples": float(len(self.examples)), "majority": self.majority, "low": low, "high": high}
        return {**about, **metrics, "score": score}


def mean_score(scores: Scores) -> float:
    """Unweighted mean of the tasks' scores, which selects the best encoder."""
    return sum(metrics["score"] for metrics in scores.values()) / len(scores)
