"""From finished pieces to figures: one dict per language of what scores.json calls details, and what is submitted.

    details, submission, extra = figures(target, job, loaded, labels, device)

Every kind of target has one function here. Protocols, the settings that a figure depends on, are beside them.
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
from eval.retrieval import mining, ranking, retrieve
from eval.retrieval.mining import NEIGHBOURS, Corpus
from eval.rows import Corpora, Loaded
from eval.suites import Target
from tasks.span.squad import MAX_ANSWER_LENGTH, N_BEST

Details = dict[str, dict[str, float]]

RANKED = 256  # queries whose scores against the whole pool are held at once: 13 MB for the 13,014 sentences of LAReQA


@dataclass
class Figures:
    """details: figures of each language, in percent; submission: what `eval/submission.py` writes, by language;

    it is left out where the rows are not those of the official test files.
    extra: what is said once of the target (the threshold of BUCC, the rank distance of LAReQA).
    """

    details: Details = field(default_factory=dict)
    submission: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


def figures(target: Target, job: Job, loaded: Loaded, names: Mapping[str, str], centre: bool, device: str) -> Figures:
    """Scores the finished pieces of `job`. `names`: what the target calls each label of the head."""
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
    found.submission = {code: said for code, said in found.submission.items() if code not in loaded.dev}
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
        to_other, to_english = retrieve.nearest_both(english, other, device)
        right = np.arange(n)
        found.details[code] = {
            TO_OTHER: 100 * float((to_other == right).mean()),
            TO_ENGLISH: 100 * float((to_english == right).mean()),
            "n": n,
            "chance": 100 / n,
        }
        found.submission[code] = [(row.english, int(place)) for row, place in zip(rows, to_other, strict=True)]
        return
    said = predictions(job, code)
    if target.kind == "classify":
        labels = labels_of(target)
        said = [names[label] for label in said]
        gold = [labels[row.label] for row in rows]
        found.details[code] = {"accuracy": score.accuracy(said, gold), "n": n, "chance": score.majority(gold)}
        found.submission[code] = said if target.name == "xnli" else [labels.index(label) for label in said]
    elif target.kind == "choice":
        gold = [row.label for row in rows]
        found.details[code] = {"accuracy": score.accuracy(said, gold), "n": n, "chance": score.majority(gold)}
        found.submission[code] = said
    elif target.kind == "tag":
        scorer = tagging.pos if target.name == "udpos" else tagging.entities
        found.details[code] = {**scorer(said, [row.tags for row in rows]), "n": n}
        found.submission[code] = said
    else:
        golds = [[text for text, _ in row.answers] for row in rows]
        both = score.mlqa(said, golds, code) if target.name == "mlqa" else score.squad(said, golds)
        found.details[code] = {**both, "n": n}
        found.submission[code] = {row.id or str(i): text for i, (row, text) in enumerate(zip(rows, said, strict=True))}


def labels_of(target: Target) -> tuple[str, ...]:
    """The labels of a `classify` target in the order of its test data's numbers."""
    return TEST_SETS[target.data or target.name].labels or ()


def _side(job: Job, name: str, centre: bool) -> np.ndarray:
    side = vectors(job, name)
    return retrieve.centre(side) if centre else side


def _mine(found: Figures, job: Job, code: str, corpora: list[Corpora], centre: bool, device: str) -> None:
    """The threshold comes from dev, the figures from test; with one of them only, from that one, and it is said."""
    mined = {}
    for one in corpora:
        other, english = Corpus(one.other_ids, one.other), Corpus(one.english_ids, one.english)
        x, y = (
            retrieve.normalise(_side(job, f"{code}.{one.split}.{side}", centre)).to(device) for side in ("xx", "en")
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
        there, back = (retrieve.top_k(a, b, min(NEIGHBOURS, len(b))) for a, b in ((x, y), (y, x)))
        return there, back
    return retrieve.top_k_both(x, y, NEIGHBOURS)


def _rank(found: Figures, target: Target, job: Job, loaded: Loaded, device: str) -> None:
    ids = [candidate.id for candidate in loaded.pool]
    place_of = {name: place for place, name in enumerate(ids)}
    pool = retrieve.normalise(vectors(job, "pool")).to(device)
    several = all(len(query.gold) > 1 for rows in loaded.rows.values() for query in rows)
    distances = []
    for code, rows in loaded.rows.items():
        queries = retrieve.normalise(vectors(job, code)).to(device)
        _, places = retrieve.top_k(queries, pool, min(ranking.TOP, len(pool)))
        ranked = [[ids[place] for place in row] for row in places.tolist()]
        found.details[code] = {
            "map@20": ranking.mean_average_precision(ranked, [set(query.gold) for query in rows]),
            "n": len(rows),
        }
        found.submission[code] = {query.id: row for query, row in zip(rows, ranked, strict=True)}
        if several and target.kind == "answers":
            for first in range(0, len(rows), RANKED):
                block = (queries[first : first + RANKED] @ pool.T).cpu().numpy()
                for query, scores in zip(rows[first : first + RANKED], block, strict=True):
                    distances.append(ranking.ranks(scores, [place_of[name] for name in query.gold]))
    found.extra["pool"] = len(ids)
    if distances:
        found.extra["rank_distance"] = ranking.rank_distance(distances)


def protocol(target: Target, head_length: int | None) -> dict[str, Any]:
    """What the figures of a target depend on besides the vectors or the training."""
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
