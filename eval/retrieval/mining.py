"""BUCC: sentence pairs mined by ratio margin, a threshold from dev, precision, recall and F1 on test.

    dev = mine(top_k(x, y, 4), top_k(y, x, 4), german, english)      # x, y: vectors of the distinct() sentences
    threshold = best_threshold(dev, gold_of_dev)
    scores = f1(extract(test, threshold), gold_of_test).scores()

    margin(x, y) = cos(x, y) / ((mean of cos(x, its 4 nearest y) + mean of cos(y, its 4 nearest x)) / 2)

(Artetxe and Schwenk 2019, equation 2, "ratio"; "max" retrieval: each sentence's best neighbour by margin, both
directions together, taken greedily from the highest margin down, no sentence twice.) Definitions follow LASER's and
google-research/xtreme's `utils_retrieve.py` (at 838c13b); docs/protocol.md says where that script cannot run.
NumPy and one loop over the candidates; memory is a few arrays of one number per neighbour.

Where a rule was left open or broken: margins are computed in float64 (there float32); equal margins are taken forward
before backward and earlier sentence first (there in no order); the threshold never lies within a run of equal scores,
and if all pairs together are best it is the lowest score (there an IndexError).
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from eval.metrics.items import CHUNKS, Outcomes, counts
from eval.rows import Corpus

NEIGHBOURS = 4

Neighbours = tuple[np.ndarray, np.ndarray]  # (cosines float [n, k], indices int [n, k]), as `neighbors.top_k` returns
Pair = tuple[str, str]  # (id of the source sentence, id of the target sentence)


@dataclass(frozen=True)
class Mined:
    """Mined pairs from the highest score down: `scores` float64 [p]; `pairs[i]` has `scores[i]`."""

    scores: np.ndarray
    pairs: Sequence[Pair]


def mine(forward: Neighbours, backward: Neighbours, source: Corpus, target: Corpus) -> Mined:
    """The pairs of two corpora, at most one for each sentence.

    `forward`: for each `source.distinct()` sentence its nearest targets, indices counted among `target.distinct()`;
    `backward`: the same the other way round.
    """
    sources, targets = source.distinct(), target.distinct()
    scores, left, right = margin_pairs(forward, backward)
    kept = source.unrepeated()[left] & target.unrepeated()[right]
    left, right = sources[left[kept]], targets[right[kept]]
    pairs = [(source.ids[i], target.ids[j]) for i, j in zip(left.tolist(), right.tolist(), strict=True)]
    return Mined(scores[kept], pairs)


def margin_pairs(forward: Neighbours, backward: Neighbours) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(margins float64 [p] from high to low, source indices int64 [p], target indices int64 [p]), margins above 0."""
    of_source, of_target = (cosines.mean(axis=1, dtype=np.float64) for cosines, _ in (forward, backward))
    forward_scores, best_targets = _best(forward, of_source, of_target)
    backward_scores, best_sources = _best(backward, of_target, of_source)
    scores = np.concatenate([forward_scores, backward_scores])
    source = np.concatenate([np.arange(len(best_targets)), best_sources])
    target = np.concatenate([best_targets, np.arange(len(best_sources))])
    order = np.argsort(-scores, kind="stable")
    order = order[_greedy(source[order], target[order])]
    order = order[scores[order] > 0]
    return scores[order], source[order], target[order]


def best_threshold(mined: Mined, gold: Collection[Pair]) -> float:
    """The score from which on pairs are taken so that F1 against `gold` is highest; the highest such one.

    It lies half-way between the last pair taken and the next one. 0 where no mined pair is in `gold`.
    """
    wanted = set(gold)
    correct = np.cumsum([pair in wanted for pair in mined.pairs])
    if not wanted or not len(correct) or correct[-1] == 0:
        return 0.0
    precision, recall = correct / np.arange(1, len(correct) + 1), correct / len(wanted)
    with np.errstate(invalid="ignore"):
        f1 = np.where(correct > 0, 2 * precision * recall / (precision + recall), 0.0)
    f1[:-1][mined.scores[:-1] == mined.scores[1:]] = -1.0  # no threshold can cut between equal scores
    last = int(np.argmax(f1))
    if last == len(f1) - 1:
        return float(mined.scores[last])
    middle = (mined.scores[last] + mined.scores[last + 1]) / 2
    return float(middle if middle > mined.scores[last + 1] else mined.scores[last])  # adjacent floats have no middle


def extract(mined: Mined, threshold: float) -> list[Pair]:
    """The pairs whose score is at least `threshold`, best first."""
    return [pair for pair, score in zip(mined.pairs, mined.scores.tolist(), strict=True) if score >= threshold]


def f1(predicted: Collection[Pair], gold: Collection[Pair]) -> Outcomes:
    """ "f1", "precision" and "recall" of two sets of pairs.

    An item is a source sentence that either has in a pair, its id the sentence's: a wrong pair and the right one that
    was missed for it come and go together.
    """
    found, wanted = set(predicted), set(gold)
    by_source = [Counter(source for source, _ in pairs) for pairs in (found & wanted, found, wanted)]
    ids = list(by_source[1] | by_source[2])
    names = ("correct", "predicted", "gold")
    columns = {name: [count[one] for one in ids] for name, count in zip(names, by_source, strict=True)}
    return counts(CHUNKS, columns).named(ids)


def _best(neighbours: Neighbours, mine: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(highest margin [n], index of that neighbour [n]) of each sentence; equal margins: the nearer one."""
    cosines, indices = neighbours
    margins = cosines / ((mine[:, None] + other[indices]) / 2)
    at = margins.argmax(axis=1)[:, None]
    return np.take_along_axis(margins, at, axis=1)[:, 0], np.take_along_axis(indices, at, axis=1)[:, 0].astype(np.int64)


def _greedy(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """int64 [p]: the positions of the pairs that are taken going down the list, each sentence once."""
    taken, sources, targets = [], set(), set()
    for position, (i, j) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        if i not in sources and j not in targets:
            sources.add(i)
            targets.add(j)
            taken.append(position)
    return np.array(taken, dtype=np.int64)
