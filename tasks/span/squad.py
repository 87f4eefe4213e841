"""Extractive question answering as pure functions: the SQuAD string metrics and the search for the best span.

No torch and no I/O: start and end logits go in as numpy arrays, answers come out as character spans of the context.
The trainer's dev evaluation and `eval` share these functions, so a score means the same in both. The search looks at
every span of at most `max_answer_length` tokens at once (a band of the start x end matrix) instead of looping over
candidate pairs: a window costs `max_answer_length` vector additions.

Definitions: Rajpurkar et al. 2016 (SQuAD v1.1 evaluation) and 2018 (v2.0).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

N_BEST = 20
MAX_ANSWER_LENGTH = 30

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single spaces: SQuAD's normaliser, in its order."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def f1(prediction: str, gold: str, v2: bool = False) -> float:
    """Harmonic mean of precision and recall over the bags of normalised words, in [0, 1].

    Where one side has no word left, v1.1 gives 0 (even if both are empty), v2.0 gives 1 if both are empty, else 0.
    """
    predicted, wanted = normalize_answer(prediction).split(), normalize_answer(gold).split()
    if not predicted or not wanted:
        return float(v2 and predicted == wanted)
    return word_f1(predicted, wanted)


def word_f1(predicted: Sequence[str], wanted: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over two bags of words, in [0, 1]; 0 where they share none."""
    common = sum((Counter(predicted) & Counter(wanted)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def squad_scores(prediction: str, golds: Sequence[str], v2: bool = False) -> tuple[float, float]:
    """(exact match, F1) of one prediction, each the maximum over the gold answers, in [0, 1].

    v2: gold answers with no word left do not count, and a question without any is unanswerable: the empty
    prediction is the right one. v1.1: a question must have a gold answer (`ValueError`).
    """
    if v2:
        golds = [gold for gold in golds if normalize_answer(gold)] or [""]
    if not golds:
        raise ValueError("SQuAD v1.1: a question without a gold answer; score it as v2")
    exact = any(normalize_answer(prediction) == normalize_answer(gold) for gold in golds)
    return float(exact), max(f1(prediction, gold, v2) for gold in golds)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question: `context[start:end]`, or nothing where `null`.

    `score` is start logit + end logit of the best span. A question whose windows hold no context token at all has
    start = end = 0 and score -inf.
    """

    start: int
    end: int
    score: float
    null: bool

    def text(self, context: str) -> str:
        """The answer string; "" for no answer."""
        return "" if self.null else context[self.start : self.end]


Window = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def best_answer(
    windows: Sequence[Window],
    *,
    n_best: int | None = N_BEST,
    max_answer_length: int = MAX_ANSWER_LENGTH,
    null_allowed: bool = False,
) -> Answer:
    """The best answer of a question over all of its windows.

    A window: start and end logits, float [tokens] each, and first character and end of each token in the context,
    int [tokens] each (-1: not a context token).

    A span begins at one of the `n_best` highest starts and ends at one of the `n_best` highest ends of its window
    (None: no such limit), holds at most `max_answer_length` tokens, and wins by start logit + end logit. The limit
    counts context tokens only (the scripts in use count all tokens and may then find no span at all); should it leave
    no span in any window, it is dropped. Equal scores: the earlier window, the earlier start, the shorter span.
    With `null_allowed`, a question whose null score (that of token 0, the lowest over the windows) exceeds that of the
    best span is unanswered.
    """
    best, null_score = (-np.inf, 0, 0), np.inf
    for limit in (n_best, None):
        for start_logits, end_logits, begins, ends in windows:
            starts, stops = start_logits.astype(np.float64), end_logits.astype(np.float64)
            null_score = min(null_score, starts[0] + stops[0])
            score, first, last = best_span(starts, stops, (begins >= 0) & (ends > begins), limit, max_answer_length)
            if score > best[0]:
                best = (score, int(begins[first]), int(ends[last]))
        if best[0] > -np.inf:
            break
    return Answer(best[1], best[2], float(best[0]), bool(null_allowed and null_score > best[0]))


def best_span(
    starts: np.ndarray, ends: np.ndarray, allowed: np.ndarray, n_best: int | None, max_answer_length: int
) -> tuple[float, int, int]:
    """(score, first token, last token) of the best span of one window; score -inf where there is none.

    `starts`, `ends`: float [tokens]; `allowed`: bool [tokens], which tokens may begin or end a span.
    """
    starts, ends = _keep_best(starts, allowed, n_best), _keep_best(ends, allowed, n_best)
    best, first, last = -np.inf, 0, 0
    for width in range(min(max_answer_length, len(starts))):
        sums = starts[: len(starts) - width] + ends[width:]
        at = int(np.argmax(sums))
        # Widths grow, so a later equal score must begin earlier to win.
        if sums[at] > best or (sums[at] == best and best > -np.inf and at < first):
            best, first, last = float(sums[at]), at, at + width
    return best, first, last


def _keep_best(logits: np.ndarray, allowed: np.ndarray, n_best: int | None) -> np.ndarray:
    """`logits` with -inf outside `allowed` and outside the `n_best` highest (equal ones: the earliest)."""
    kept = np.where(allowed, logits, -np.inf)
    if n_best is not None and n_best < int(allowed.sum()):
        out = np.argsort(-kept, kind="stable")[n_best:]
        kept[out] = -np.inf
    return kept
