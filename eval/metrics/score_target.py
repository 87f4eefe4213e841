"""From the predictions of a head to the metrics of a target by language, and to its submission."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_prep.datasets import TEST_SETS
from eval.inference.artifacts import Job, predictions
from eval.metrics import score
from eval.metrics.items import Outcomes
from eval.rows import Loaded
from eval.suites import Target
from tasks.span.squad import MAX_ANSWER_LENGTH, N_BEST


@dataclass
class TargetScores:
    """Results of a target.

    details: {language: metrics in percent, "n", "chance"}; items: {language: what they are computed from};
    submission: {language: predictions for `eval/submission.py`}; extra: fields of the target as a whole (BUCC's
    thresholds, LAReQA's rank distance).
    """

    details: dict[str, dict[str, float]] = field(default_factory=dict)
    items: dict[str, Outcomes] = field(default_factory=dict)
    submission: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def add(self, code: str, outcomes: Outcomes, **more: float) -> None:
        """The outcomes of a language, with ids, and what else stands in its details."""
        self.items[code] = outcomes
        self.details[code] = {**outcomes.scores(), **more}


def score_predictions(target: Target, job: Job, loaded: Loaded, names: Mapping[str, str]) -> TargetScores:
    """Scores the finished predictions of `job`. names: head label -> target label."""
    scores = TargetScores()
    for name, code, rows in loaded.artifacts():
        predicted: Any = predictions(job, name)
        submitted = predicted
        if target.kind == "classify":
            labels = labels_of(target)
            predicted = [labels.index(names[label]) for label in predicted]
            submitted = [labels[label] for label in predicted] if target.name == "xnli" else predicted
        elif target.kind == "span":
            submitted = {row.id or str(i): text for i, (row, text) in enumerate(zip(rows, predicted, strict=True))}
        if rows is loaded.rows.get(code):
            outcomes = _outcomes(target, code, rows, predicted).named(_ids(target, code, rows))
            scores.add(code, outcomes, n=len(rows))
            if target.kind in ("classify", "choice"):
                scores.details[code]["chance"] = score.majority([row.label for row in rows])
        scores.submission[code] = submitted  # of a test without labels, where dev is scored
    return scores


def _ids(target: Target, code: str, rows: Sequence[Any]) -> list[str]:
    """The rows' own ids, their numbers where a copy has none: those of translations are the same.

    The sentences of each language's tag sets are its own.
    """
    if target.kind == "tag":
        return [f"{code}:{number}" for number in range(1, len(rows) + 1)]
    return [row.id or str(number) for number, row in enumerate(rows, 1)]


def _outcomes(target: Target, code: str, rows: Sequence[Any], predicted: Sequence[Any]) -> Outcomes:
    if target.kind in ("classify", "choice"):
        outcomes = score.accuracy(predicted, [row.label for row in rows])
        return score.with_distractors(outcomes, rows) if target.name == "pawsx" else outcomes
    if target.kind == "tag":
        from eval.metrics import tagging

        scorer = tagging.pos if target.name == "udpos" else tagging.entities
        return scorer(predicted, [row.tags for row in rows])
    golds = [[text for text, _ in row.answers] for row in rows]
    return score.mlqa(predicted, golds, code) if target.name == "mlqa" else score.squad(predicted, golds)


def labels_of(target: Target) -> tuple[str, ...]:
    """The labels of a classification target in id order of its test data."""
    return TEST_SETS[target.data or target.name].labels or ()


# What the protocol says of a kind of target, then of single ones.
_PROTOCOLS: dict[str, dict[str, Any]] = {
    "span": {
        "normalisation": "SQuAD v1.1 (English articles, ASCII punctuation)",
        "n_best": N_BEST,
        "max_answer_length": MAX_ANSWER_LENGTH,
        "null": "never: every question has an answer",
    },
    "mlqa": {"normalisation": "MLQA (articles of the context's language, Unicode punctuation, Chinese by characters)"},
    "panx": {
        "metric": "entity F1, micro (CoNLL; seqeval, default mode)",
        "I- without B-": "opens an entity",
        "word without prediction": "in no entity",
    },
    "udpos": {
        "metric": "f1: chunk F1 on bare UPOS tags (official; seqeval up to 0.0.15); accuracy: share of words",
        "word without prediction": "in no chunk; wrong for accuracy",
        "fused words of CoNLL-U": "tag of the part with the fewest ancestors, enhanced dependencies included",
    },
    "pawsx": {"distractors": "pairs of label 0, the half of a language with the most character bigrams in common"},
}


def protocol(target: Target, head_length: int) -> dict[str, Any]:
    """Settings that the metrics of predictions depend on, beside the training."""
    return {**_PROTOCOLS.get(target.kind, {}), **_PROTOCOLS.get(target.name, {}), "max_length": head_length}
