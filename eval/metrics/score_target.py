"""From finished predictions and vectors to metrics: the details of scores.json by language, and the submission.

    found = figures(target, job, loaded, names, centre, device)
    found.details["de"]["accuracy"], found.submission["de"], found.extra

`protocol` gives the settings that the metrics of a target depend on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from data_prep.datasets import TEST_SETS
from eval.inference.artifacts import Job, predictions, vectors
from eval.metrics import score, tagging
from eval.metrics.aggregate import TO_ENGLISH, TO_OTHER
from eval.retrieval import mining, neighbors, ranking
from eval.retrieval.mining import NEIGHBOURS, Corpus
from eval.rows import Corpora, Loaded
from eval.suites import Target
from tasks.span.squad import MAX_ANSWER_LENGTH, N_BEST

Details = dict[str, dict[str, float]]

RANKED = 256  # queries scored against the whole pool at once: 13 MB for the 13,014 sentences of LAReQA


@dataclass
class Figures:
    """Results of a target.

    details: {language: metrics in percent, "n", "chance"}; submission: {language: predictions for
    `eval/submission.py`}, empty where the rows are not those of the official test files; extra: fields of the target as
    a whole (BUCC's thresholds, LAReQA's rank distance).
    """

    details: Details = field(default_factory=dict)
    submission: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


def figures(target: Target, job: Job, loaded: Loaded, names: Mapping[str, str], centre: bool, device: str) -> Figures:
    """Scores the finished pieces of `job`.

    names: head label -> target label; centre: subtract each side's mean vector before retrieval.
    """
    found = Figures()
    if target.kind == "mining":
        for code, corpora in loaded.rows.items():
            _mine(found, job, code, corpora, centre, device)
    elif target.kind in ("answers", "entities"):
        _rank(found, target, job, loaded, device)
    else:
        for code, rows in loaded.rows.items():
            _of_language(found, target, job, code, rows, names, centre, device)
    if loaded.unsubmitted:
        found.submission = {}
    found.submission = {code: rows for code, rows in found.submission.items() if code not in loaded.dev}
    return found


def _of_language(
    found: Figures,
    target: Target,
    job: Job,
    code: str,
    rows: list[Any],
    names: Mapping[str, str],
    centre: bool,
    device: str,
) -> None:
    n = len(rows)
    if target.kind == "translation":
        english, other = (_side(job, f"{code}.{side}", centre) for side in ("en", "xx"))
        sides = (neighbors.normalise(english), neighbors.normalise(other))
        to_other, to_english = (indices[:, 0] for _, indices in neighbors.top_k_both(*sides, 1, device=device))
        gold_rows = np.arange(n)
        found.details[code] = {
            TO_OTHER: 100 * float((to_other == gold_rows).mean()),
            TO_ENGLISH: 100 * float((to_english == gold_rows).mean()),
            "n": n,
            "chance": 100 / n,
        }
        found.submission[code] = [(row.english, int(index)) for row, index in zip(rows, to_other, strict=True)]
        return
    predicted = predictions(job, code)
    if target.kind == "classify":
        labels = labels_of(target)
        predicted = [names[label] for label in predicted]
        gold = [labels[row.label] for row in rows]
        found.details[code] = {"accuracy": score.accuracy(predicted, gold), "n": n, "chance": score.majority(gold)}
        found.submission[code] = predicted if target.name == "xnli" else [labels.index(label) for label in predicted]
    elif target.kind == "choice":
        gold = [row.label for row in rows]
        found.details[code] = {"accuracy": score.accuracy(predicted, gold), "n": n, "chance": score.majority(gold)}
        found.submission[code] = predicted
    elif target.kind == "tag":
        scorer = tagging.pos if target.name == "udpos" else tagging.entities
        found.details[code] = {**scorer(predicted, [row.tags for row in rows]), "n": n}
        found.submission[code] = predicted
    else:
        golds = [[text for text, _ in row.answers] for row in rows]
        both = score.mlqa(predicted, golds, code) if target.name == "mlqa" else score.squad(predicted, golds)
        found.details[code] = {**both, "n": n}
        found.submission[code] = {
            row.id or str(i): text for i, (row, text) in enumerate(zip(rows, predicted, strict=True))
        }


def labels_of(target: Target) -> tuple[str, ...]:
    """The labels of a classification target in id order of its test data."""
    return TEST_SETS[target.data or target.name].labels or ()


def _side(job: Job, name: str, centre: bool) -> np.ndarray:
    side = vectors(job, name)
    return neighbors.centre(side) if centre else side


def _mine(found: Figures, job: Job, code: str, corpora: list[Corpora], centre: bool, device: str) -> None:
    """The threshold comes from dev, the metrics from test; with only one split both, recorded in `extra`."""
    mined = {}
    for one in corpora:
        other, english = Corpus(one.other_ids, one.other), Corpus(one.english_ids, one.english)
        x, y = (
            neighbors.normalise(_side(job, f"{code}.{one.split}.{side}", centre)).to(device) for side in ("xx", "en")
        )
        mined[one.split] = mining.mine(*_neighbours(x, y), other, english)
    dev, test = corpora[0], corpora[-1]
    threshold = mining.best_threshold(mined[dev.split], dev.gold)
    pairs = mining.extract(mined[test.split], threshold)
    found.details[code] = {**mining.f1(pairs, test.gold), "n": len(test.gold)}
    found.submission[code] = pairs
    found.extra.setdefault("threshold", {})[code] = threshold
    found.extra.setdefault("threshold_from", {})[code] = dev.split
    found.extra.setdefault("scored_on", {})[code] = test.split


def _neighbours(x: Tensor, y: Tensor) -> tuple[mining.Neighbours, mining.Neighbours]:
    if min(len(x), len(y)) < NEIGHBOURS:
        forward, backward = (neighbors.top_k(a, b, min(NEIGHBOURS, len(b))) for a, b in ((x, y), (y, x)))
        return forward, backward
    return neighbors.top_k_both(x, y, NEIGHBOURS)


def _rank(found: Figures, target: Target, job: Job, loaded: Loaded, device: str) -> None:
    ids = [candidate.id for candidate in loaded.pool]
    index_of = {name: index for index, name in enumerate(ids)}
    pool = neighbors.normalise(vectors(job, "pool")).to(device)
    several = all(len(query.gold) > 1 for rows in loaded.rows.values() for query in rows)
    distances = []
    for code, rows in loaded.rows.items():
        queries = neighbors.normalise(vectors(job, code)).to(device)
        _, indices = neighbors.top_k(queries, pool, min(ranking.TOP, len(pool)))
        ranked = [[ids[index] for index in row] for row in indices.tolist()]
        found.details[code] = {
            "map@20": ranking.mean_average_precision(ranked, [set(query.gold) for query in rows]),
            "n": len(rows),
        }
        found.submission[code] = {query.id: row for query, row in zip(rows, ranked, strict=True)}
        if several and target.kind == "answers":
            for first in range(0, len(rows), RANKED):
                block = (queries[first : first + RANKED] @ pool.T).cpu().numpy()
                for query, scores in zip(rows[first : first + RANKED], block, strict=True):
                    distances.append(ranking.ranks(scores, [index_of[name] for name in query.gold]))
    found.extra["pool"] = len(ids)
    if distances:
        found.extra["rank_distance"] = ranking.rank_distance(distances)


def protocol(target: Target, head_length: int | None) -> dict[str, Any]:
    """Settings that the metrics of a target depend on, beside the vectors or the training."""
    if target.kind == "mining":
        return mining.PROTOCOL
    if target.kind in ("answers", "entities"):
        return ranking.LAREQA_PROTOCOL if target.kind == "answers" else ranking.MEWSLIX_PROTOCOL
    if target.kind == "tag":
        return {**(tagging.POS_PROTOCOL if target.name == "udpos" else tagging.NER_PROTOCOL), "max_length": head_length}
    if target.kind == "span":
        return {
            **(score.MLQA_PROTOCOL if target.name == "mlqa" else score.SQUAD_PROTOCOL),
            "n_best": N_BEST,
            "max_answer_length": MAX_ANSWER_LENGTH,
            "null": "never: every question has an answer",
            "max_length": head_length,
        }
    if target.kind == "translation":
        return {
            "direction": f"{TO_OTHER} (query: English sentence, index: the other language); {TO_ENGLISH} in details"
        }
    return {"max_length": head_length}
