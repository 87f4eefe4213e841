"""Figures from predictions, all in percent, and their means. The string metrics of SQuAD are `mtl/spans.py`'s."""

from collections import Counter
from collections.abc import Mapping, Sequence

from mtl.spans import squad_scores


def accuracy(predictions: Sequence[int], labels: Sequence[int]) -> float:
    """Share of equal entries, 0-100; both sequences have the same length, at least 1."""
    return 100 * sum(p == y for p, y in zip(predictions, labels, strict=True)) / len(labels)


def majority(labels: Sequence[int]) -> float:
    """Accuracy, 0-100, of always giving the commonest label of `labels`."""
    return 100 * Counter(labels).most_common(1)[0][1] / len(labels)


def squad(predictions: Sequence[str], golds: Sequence[Sequence[str]], v2: bool = False) -> dict[str, float]:
    """{"f1", "em"}, 0-100: means over questions of the best score over each one's gold answers.

    v1.1 needs a gold answer for every question (`ValueError`); `v2` scores those without as unanswerable.
    """
    pairs = [squad_scores(p, g, v2) for p, g in zip(predictions, golds, strict=True)]
    return {
        "f1": 100 * sum(f1 for _, f1 in pairs) / len(pairs),
        "em": 100 * sum(em for em, _ in pairs) / len(pairs),
    }


def mean(values: Mapping[str, float]) -> float:
    """Unweighted mean over languages (or targets)."""
    return sum(values.values()) / len(values)
