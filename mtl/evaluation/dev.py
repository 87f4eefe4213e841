"""Dev evaluation during training: every task with its own metric, divided over the ranks.

A rank takes whole examples (all windows of a question), so figures are plain sums over ranks and do not depend on
how many there are. The dev examples are evenly spaced over the task's dev set, the same ones every time. Forward
passes hold one task each and need no communication; there is one reduction per task.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from tqdm import tqdm

from common.run_config import RunConfig
from mtl.data.packing import PackedBatch, Special, batches_by_tokens, mask_tokens, pack
from mtl.data.task_data import TaskData
from mtl.evaluation.running_metrics import headline
from mtl.model import pairs
from mtl.model.encoder import MultiTaskModel
from mtl.model.heads import loss
from tasks.span.squad import best_answers, squad_scores

Sum = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class DevScores:
    """Figures of one task: `figures` as in metrics.jsonl (shares in [0, 1]); `major` is the one that selects."""

    task: str
    figures: dict[str, float]
    major: float


class DevEvaluation:
    """The dev sets of a run.

    `sum_over_ranks` adds a float64 tensor up over all ranks; `wants_stop`: whether this rank wants the run to stop.
    """

    def __init__(
        self,
        config: RunConfig,
        tasks: list[TaskData],
        special: Special,
        rank: int,
        world: int,
        sum_over_ranks: Sum,
        wants_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.wants_stop = wants_stop
        self.config = config
        self.special = special
        self.rank, self.world, self.sum = rank, world, sum_over_ranks
        self.sets = [_DevSet(index, task, config, special) for index, task in enumerate(tasks) if len(task.dev)]

    def run(self, model: MultiTaskModel, device: torch.device) -> list[DevScores] | None:
        """Scores of every task that has dev rows; None, on all ranks, if one wanted to stop (a collective call)."""
        model.eval()
        scores = []
        try:
            with torch.no_grad():
                for dev in tqdm(self.sets, desc="dev", leave=False, disable=self.rank != 0, unit="task"):
                    vectors = self._vectors(dev, model, device) if dev.task.task.kind == "pair" else None
                    totals = self._totals(dev, model, device) if vectors is None else dev.rank(vectors, model)
                    # Of pairs every rank has computed the same.
                    mine = np.append(totals if vectors is None or self.rank == 0 else 0 * totals, self.wants_stop())
                    totals = self.sum(torch.from_numpy(mine)).numpy()
                    if totals[-1]:
                        return None
                    scores.append(dev.scores(totals[:-1]))
        finally:
            model.train()
        return scores

    def _totals(self, dev: "_DevSet", model: MultiTaskModel, device: torch.device) -> np.ndarray:
        """This rank's sums, float64 [5]: loss, loss units, right, EM, F1 (the last two for span)."""
        totals = np.zeros(5)
        rows = dev.rows_of(self.rank, self.world)
        if not len(rows):
            return totals
        heads = [(name, kind) for name, kind in model.kinds.items()]
        lengths = dev.task.dev.length[rows]
        windows: list[tuple[dict[str, Any], np.ndarray]] = []
        for group in batches_by_tokens(lengths, self.config.micro_tokens):
            if self.wants_stop():
                return totals  # nobody will look at them
            taken = dev.fetch(rows[group])
            batch = pack([(dev.index, row) for row in taken], heads, self.special).to(device)
            scores = model.scores(batch, dev.task.name)
            summed, right = loss(dev.task.task.kind, scores, batch.heads[dev.task.name])
            totals[:3] += float(summed), _units(dev, batch), float(right)
            if dev.task.task.kind == "span":
                pieces = scores.float().cpu().numpy()
                cuts = np.cumsum([len(row["input_ids"]) for row in taken])[:-1]
                windows.extend(zip(taken, np.split(pieces, cuts), strict=True))
        if dev.task.task.kind == "span":
            totals[3:] = dev.answer(rows, lengths, self.config.micro_tokens, windows)
        return totals

    def _vectors(self, dev: "_DevSet", model: MultiTaskModel, device: torch.device) -> torch.Tensor:
        """float64 [rows, 2, H]: query and passage of every chosen pair, on all ranks (a collective call)."""
        found = torch.zeros(len(dev.rows), 2, model.encoder.config.hidden_size, dtype=torch.float64)
        mine = np.arange(len(dev.rows))[self.rank :: self.world]
        heads = [(name, kind) for name, kind in model.kinds.items()]
        for group in batches_by_tokens(dev.task.dev.length[dev.rows[mine]], self.config.micro_tokens):
            if self.wants_stop():
                break  # nobody will look at them
            taken = dev.fetch(dev.rows[mine[group]])
            batch = pack([(dev.index, {**row, "slot": 0}) for row in taken], heads, self.special).to(device)
            vectors = model.pair_vectors(batch, [dev.task.name])[dev.task.name]
            found[torch.from_numpy(mine[group])] = vectors.double().cpu().unflatten(0, (-1, 2))
        return self.sum(found)


def _units(dev: "_DevSet", batch: PackedBatch) -> float:
    labels = batch.heads[dev.task.name].labels
    return float((labels >= 0).sum()) if dev.task.task.kind == "tag" else float(len(labels))


class _DevSet:
    """The chosen dev examples of one task."""

    def __init__(self, index: int, task: TaskData, config: RunConfig, special: Special) -> None:
        self.index, self.task, self.special = index, task, special
        self.seed, self.probability = config.seed, config.mlm_probability
        numbers = np.unique(task.dev.example)
        wanted = config.evaluate.examples
        if wanted is not None and wanted < len(numbers):
            numbers = numbers[np.arange(wanted) * len(numbers) // wanted]
        self.examples = numbers
        self.rows = np.flatnonzero(np.isin(task.dev.example, numbers))
        self.gold: dict[int, dict[str, Any]] = {}
        if task.task.kind == "span":
            first = 0
            for prepared in task.prepared:
                for gold in prepared.dev_examples():
                    self.gold[first + int(gold["example"])] = gold
                first += int(prepared.dev.example[-1]) + 1 if prepared.dev.rows else 0
        self.majority, self.units = self._majority()

    def rows_of(self, rank: int, world: int) -> np.ndarray:
        """The rows of every `world`-th chosen example, beginning with number `rank`."""
        return np.flatnonzero(np.isin(self.task.dev.example, self.examples[rank::world]))

    def fetch(self, rows: np.ndarray) -> list[dict[str, Any]]:
        taken = self.task.dev.take(rows)
        if self.task.task.kind != "mlm":
            return taken
        # Places masked in dev are the same at every evaluation: step 2^63 is never trained.
        return [
            mask_tokens(row, self.special, self.probability, (self.seed, 2**63, int(number)))
            for number, row in zip(rows, taken, strict=True)
        ]

    def rank(self, vectors: torch.Tensor, model: MultiTaskModel) -> np.ndarray:
        """Sums as `DevEvaluation._totals`, for pairs from their vectors [rows, 2, H]: loss, units, right, 0, AP@20."""
        keys = torch.from_numpy(self.task.dev.passage_keys[self.rows])
        queries, passages = vectors.float().unbind(1)
        scale = cast(torch.Tensor, model.heads[self.task.name].logit_scale)[0].float().cpu()
        losses, right = pairs.unit_losses(queries, passages, scale, keys)
        precision = pairs.average_precision(queries, passages, keys)
        return np.array([float(losses.sum()), len(keys), float(right.sum()), 0.0, float(precision.sum())])

    def _majority(self) -> tuple[float, float]:
        """(score of always giving the commonest answer, number of units), over the chosen examples."""
        if self.task.task.kind == "pair":
            _, counts = np.unique(self.task.dev.passage_keys[self.rows], return_counts=True)
            return float(counts.max()) / len(self.rows), float(len(self.rows))
        if self.task.task.kind == "span":
            unanswerable = sum(not self.gold[int(e)]["answers"] for e in self.examples)
            return unanswerable / len(self.examples), float(len(self.examples))
        key = "label" if self.task.task.kind in ("classify", "choice") else "labels"
        labels = np.concatenate([np.atleast_1d(row[key]) for row in self.fetch(self.rows)])
        known = labels[labels >= 0]
        return (float(np.bincount(known).max()) / len(labels) if len(known) else 0.0), float(len(labels))

    def answer(
        self, rows: np.ndarray, lengths: np.ndarray, budget: int, windows: list[tuple[dict[str, Any], np.ndarray]]
    ) -> tuple[float, float]:
        """Summed (EM, F1) of the questions of `rows`, whose windows were scored in batch order."""
        order = np.concatenate(batches_by_tokens(lengths, budget))
        examples = self.task.dev.example[rows][order]
        v2 = self.task.task.metric == "squad_v2"
        answers = best_answers(
            [scores[:, 0] for _, scores in windows],
            [scores[:, 1] for _, scores in windows],
            [row["offset_start"] for row, _ in windows],
            [row["offset_end"] for row, _ in windows],
            [int(e) for e in examples],
            null_allowed=v2,
        )
        exact = overlap = 0.0
        for example, answer in answers.items():
            gold = self.gold[example]
            em, f1 = squad_scores(answer.text(gold["context"]), gold["answers"], v2=v2)
            exact, overlap = exact + em, overlap + f1
        return exact, overlap

    def scores(self, totals: np.ndarray) -> DevScores:
        """Figures from the sums of all ranks."""
        summed, units, right, exact, overlap = (float(x) for x in totals)
        metric = self.task.task.metric
        figures = {"loss": summed / max(units, 1.0), "examples": float(len(self.examples)), "majority": self.majority}
        if self.task.task.kind == "span":
            figures |= {"f1": overlap / self.units, "em": exact / self.units}
        elif metric == "map@20":
            figures |= {"accuracy": right / self.units, "map@20": overlap / self.units}
        else:
            # A tag unknown to the training set is a unit that nobody can get right.
            figures["accuracy"] = right / self.units
            assert metric in ("accuracy", "token_accuracy", "masked_accuracy")
        return DevScores(self.task.name, figures, headline(figures))


def mean_major(scores: list[DevScores]) -> float:
    """Unweighted mean of the tasks' major figures: what selects the best model."""
    return sum(score.major for score in scores) / len(scores)
