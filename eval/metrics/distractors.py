"""Distractor accuracy: PAWS-X's pairs that share most of their text and are no paraphrases. The name is ours.

All pairs of PAWS share many words (Zhang et al. 2019, arXiv 1904.01130); the translations of PAWS-X share less, and
each language its own amount. Therefore the half of a language's negative pairs that share most.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from eval.metrics.items import Metric, Outcomes
from tasks.classify.data import Classify

PROTOCOL = {"distractors": "pairs of label 0, the half of a language with the most character bigrams in common"}


def overlap(one: str, other: str) -> float:
    """Character bigrams, in lower case, that two texts share, by how many either has: of multisets, so 0 to 1."""
    first, second = (Counter(pairwise(text.lower())) for text in (one, other))
    return (first & second).total() / max(1, (first | second).total())


def with_distractors(outcomes: Outcomes, rows: Sequence[Classify]) -> Outcomes:
    """Accuracy's outcomes, with "distractor_accuracy" and "other_accuracy", that over all other pairs."""
    shared = np.array([overlap(row.text_a, row.text_b or "") for row in rows])
    negative = np.array([row.label == 0 for row in rows])
    distractor = negative & (shared >= (np.median(shared[negative]) if negative.any() else 0.0))
    columns, metrics = dict(outcomes.columns), dict(outcomes.metrics)
    for name, some in (("distractor", distractor), ("other", ~distractor)):
        columns |= {name: some.astype(np.float64), f"{name}_right": some * outcomes.columns["accuracy"]}
        metrics[f"{name}_accuracy"] = Metric((f"{name}_right",), (name,))
    return Outcomes(columns, metrics)
