"""Metrics in percent: accuracy, also of distractors, SQuAD v1.1 and v2.0, MLQA. Pure functions, no I/O.

SQuAD's string metrics are in `tasks/span/squad.py`, shared with the trainer; MLQA's are here. XQuAD and TyDiQA-GoldP
are scored as SQuAD v1.1, with English articles in every language, as in XTREME. Token classification is in
`eval/metrics/tagging.py`, mining in `eval/retrieval/mining.py`, ranking in `eval/retrieval/ranking.py`.

Sources: google-research/xtreme at 838c13b, `evaluate.py`, `third_party/evaluate_squad.py`, `evaluate_mlqa.py`
(the latter is Lewis et al. 2020's script); SQuAD v2.0: Rajpurkar et al. 2018.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from eval.metrics.items import Metric, Outcomes, means
from tasks.classify.data import Classify
from tasks.span.squad import squad_scores, word_f1

# Whole words only. Hindi and Chinese have none; Arabic is not here because its article is not a word of its own.
_ARTICLES = {
    "en": re.compile(r"\b(a|an|the)\b"),
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
}
_HAN = re.compile("([\u4e00-\u9fa5])")


def accuracy(predictions: Sequence[Hashable], labels: Sequence[Hashable]) -> Outcomes:
    """ "accuracy": the share of equal entries; both sequences have the same length, at least 1."""
    return means({"accuracy": [p == y for p, y in zip(predictions, labels, strict=True)]})


def overlap(one: str, other: str) -> float:
    """Character bigrams, in lower case, that two texts share, by how many either has: of multisets, so 0 to 1."""
    first, second = (Counter(pairwise(text.lower())) for text in (one, other))
    return (first & second).total() / max(1, (first | second).total())


def with_distractors(outcomes: Outcomes, rows: Sequence[Classify]) -> Outcomes:
    """PAWS-X's accuracy with "distractor_accuracy", of pairs that share most of their text and are no paraphrases, and
    "other_accuracy", that over all other pairs. The names are ours.

    All pairs of PAWS share many words (Zhang et al. 2019, arXiv 1904.01130); the translations of PAWS-X share less, and
    each language its own amount. Therefore the half of a language's negative pairs that share most.
    """
    shared = np.array([overlap(row.text_a, row.text_b or "") for row in rows])
    negative = np.array([row.label == 0 for row in rows])
    distractor = negative & (shared >= (np.median(shared[negative]) if negative.any() else 0.0))
    columns, metrics = dict(outcomes.columns), dict(outcomes.metrics)
    for name, some in (("distractor", distractor), ("other", ~distractor)):
        columns |= {name: some.astype(np.float64), f"{name}_right": some * outcomes.columns["accuracy"]}
        metrics[f"{name}_accuracy"] = Metric((f"{name}_right",), (name,))
    return Outcomes(columns, metrics)


def majority(labels: Sequence[Hashable]) -> float:
    """Accuracy, 0-100, of always predicting the most frequent of `labels`."""
    return 100 * Counter(labels).most_common(1)[0][1] / len(labels)


def squad(predictions: Sequence[str | None], golds: Sequence[Sequence[str]]) -> Outcomes:
    """ "f1" and "em": means over questions of the maximum over gold answers.

    None: no prediction, scored 0. v1.1 needs a gold answer for every question (`ValueError`).
    """
    return _questions(predictions, golds, squad_scores)


def mlqa(predictions: Sequence[str | None], golds: Sequence[Sequence[str]], language: str) -> Outcomes:
    """ "f1" and "em" with MLQA's normalisation for `language`, the language of the context and its answers.

    None: no prediction, scored 0. Every question has a gold answer.
    """

    def scores(prediction: str, wanted: Sequence[str]) -> tuple[float, float]:
        words = mlqa_words(prediction, language)
        each = [mlqa_words(gold, language) for gold in wanted]
        return max(float(words == gold) for gold in each), max(word_f1(words, gold) for gold in each)

    return _questions(predictions, golds, scores)


def mlqa_words(text: str, language: str) -> list[str]:
    """The words of an answer after MLQA's normalisation, in its order.

    Lower case; no character of a Unicode punctuation class or of ASCII punctuation; no articles; then words between
    white space, in Chinese also every character U+4E00 to U+9FA5 by itself (the official range, which ends before the
    later additions to the block). Arabic: "ال" becomes a space, also inside a word; the second half of the script's
    pattern, meant for the start of words, can never match.
    Two answers are an exact match if their words are equal: the script compares them joined by spaces.
    """
    text = "".join(c for c in text.lower() if c not in string.punctuation and unicodedata.category(c)[0] != "P")
    if language in _ARTICLES:
        text = _ARTICLES[language].sub(" ", text)
    elif language == "ar":
        text = text.replace("ال", " ")
    elif language == "zh":
        text = _HAN.sub(r" \1 ", text)
    return text.split()


def _questions(
    predictions: Sequence[str | None],
    golds: Sequence[Sequence[str]],
    scores: Callable[[str, Sequence[str]], tuple[float, float]],
) -> Outcomes:
    pairs = [(0.0, 0.0) if p is None else scores(p, g) for p, g in zip(predictions, golds, strict=True)]
    return means({"f1": [f1 for _, f1 in pairs], "em": [em for em, _ in pairs]})


def mean(values: Mapping[str, float]) -> float:
    """Unweighted mean over languages (or targets)."""
    return sum(values.values()) / len(values)
