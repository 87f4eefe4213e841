"""Metrics of the retrieval targets: Tatoeba (translation), BUCC (mining), LAReQA and Mewsli-X (ranking)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from eval.inference.encoder import DEVICE
from eval.inference.predict import default_layer
from eval.metrics.aggregate import TO_ENGLISH, TO_OTHER
from eval.metrics.items import means
from eval.metrics.score_target import TargetScores
from eval.retrieval import mining, neighbors, ranking
from eval.rows import UNLABELLED, Candidate, Corpora, Loaded, Query, Translation
from eval.suites import MAX_LENGTH, TOP_K, Target

Read = Callable[[str], np.ndarray]  # name of an artifact -> its vectors, float32 [texts, H]
Unit = Callable[[str], Tensor]  # the same of length 1, on the device
RANKED = 256  # queries scored against the whole pool at once: 13 MB for the 13,014 sentences of LAReQA
PROTOCOLS: dict[str, dict[str, Any]] = {
    "mining": {
        "margin": f"ratio, k = {mining.NEIGHBOURS}, both directions",
        "mining": "max: greedy one to one over the best neighbours of both directions, margins above 0",
        "threshold": "the one of highest F1 on dev: midpoint between the last pair taken and the next",
        "repeated_sentences": "embedded once; left out of the pairs, not of the gold",
    },
    "answers": {
        "metric": f"mAP@{TOP_K}, divisor min(relevant, {TOP_K}); mean over a language's questions, then over languages",
        "pool": "the sentences of all languages together",
    },
    "entities": {"metric": f"mAP@{TOP_K}; one entity is right, so it is MRR@{TOP_K}"},
    "translation": {
        "direction": f"{TO_OTHER} (query: English sentence, index: the other language); {TO_ENGLISH} in details"
    },
}
NLU_EVALS: dict[str, Any] = {
    "translation": {"protocol": "nlu-evals", "direction": f"{TO_ENGLISH}, an English sentence of equal text is right"},
    "answers": {
        "protocol": "nlu-evals",
        "metric": f"mAP@{TOP_K}; one paragraph is right, so it is MRR@{TOP_K}",
        "pool": "the paragraphs of all languages together; right is the one in the question's language",
    },
}


def described(target: Target) -> dict[str, Any]:
    """What its protocol says beside layer and pooling."""
    return NLU_EVALS[target.kind] if target.protocol else PROTOCOLS[target.kind]


def protocol(target: Target, depth: int, layer: int | None, pooling: str, centre: bool) -> dict[str, Any]:
    """Settings that the metrics of an encoder's vectors depend on; `depth`: its layers, `layer` None: the default."""
    lengths = {"query_length": target.query_length, "passage_length": MAX_LENGTH}
    return {
        "layer": default_layer(depth) if layer is None else layer,
        "depth": depth,
        "pooling": pooling,
        "special_tokens": pooling != "mean_no_special",
        "centred": centre,
        "similarity": "cosine",
        **(lengths if target.kind in ("answers", "entities") else {"max_length": MAX_LENGTH}),
        "head": None,
        **described(target),
    }


def score_vectors(target: Target, read: Read, loaded: Loaded, centre: bool) -> TargetScores:
    """Scores the vectors that `read` gives. centre: subtract each side's mean vector first, in a pool each language's.

    `read` gives arrays that may be changed.
    """
    scores = TargetScores()

    def unit(name: str) -> Tensor:
        found = read(name)
        return neighbors.normalise(neighbors.centre(found) if centre else found).to(DEVICE)

    if loaded.pool:
        pool = read("pool")
        languages = np.array([candidate.language for candidate in loaded.pool])
        for code in np.unique(languages) if centre else ():
            pool[languages == code] = neighbors.centre(pool[languages == code])
        _rank(scores, target, unit, neighbors.normalise(pool).to(DEVICE), loaded)
    if target.kind == "mining":
        for code, corpora in loaded.rows.items():
            _mine(scores, unit, code, corpora, loaded.unlabelled.get(code, []))
    elif target.kind == "translation" and target.protocol:
        for code, rows in loaded.rows.items():
            _to_english(scores, unit, code, rows)
    elif target.kind == "translation":
        for name, code, rows in loaded.artifacts():
            _translate(scores, unit, name, code, rows, rows is loaded.rows.get(code))
    return scores


def _translate(scores: TargetScores, unit: Unit, name: str, code: str, rows: list[Translation], gold: bool) -> None:
    """gold: whether the sentences of a row are each other's translations."""
    english, other = (unit(f"{name}.{side}") for side in ("en", "xx"))
    to_other, to_english = (indices[:, 0] for _, indices in neighbors.top_k_both(english, other, 1))
    if gold:
        gold_rows = np.arange(len(rows))
        # English sentences recur in the sets of other languages: the same item.
        outcomes = means({TO_OTHER: to_other == gold_rows, TO_ENGLISH: to_english == gold_rows})
        scores.add(code, outcomes.named([row.english for row in rows]), n=len(rows), chance=100 / len(rows))
    scores.submission[code] = [(row.english, int(index)) for row, index in zip(rows, to_other, strict=True)]


def _to_english(scores: TargetScores, unit: Unit, code: str, rows: list[Translation]) -> None:
    """As nlu-evals: queries are not in English, and every English sentence of the right text is right."""
    english, other = (unit(f"{code}.{side}") for side in ("en", "xx"))
    _, indices = neighbors.top_k(other, english, 1)
    right = [rows[index].english == row.english for index, row in zip(indices[:, 0], rows, strict=True)]
    outcomes = means({"accuracy": right}).named([row.english for row in rows])
    scores.add(code, outcomes, n=len(rows), chance=100 / len({row.english for row in rows}))


def _mine(scores: TargetScores, unit: Unit, code: str, corpora: list[Corpora], unlabelled: list[Corpora]) -> None:
    """The threshold comes from dev, the metrics from test; with only one split both, recorded in `extra`.

    `unlabelled`: a test without gold, mined for the submission.
    """
    mined = {}
    for name, one in [*((code, one) for one in corpora), *((f"{code}.{UNLABELLED}", one) for one in unlabelled)]:
        x, y = (unit(f"{name}.{one.split}.{side}") for side in one.sides)
        k = min(mining.NEIGHBOURS, len(x), len(y))
        mined[one.split] = mining.mine(*neighbors.top_k_both(x, y, k), *one.sides.values())
    dev, test = corpora[0], corpora[-1]
    threshold = mining.best_threshold(mined[dev.split], dev.gold)
    pairs = mining.extract(mined[test.split], threshold)
    outcomes = mining.f1(pairs, test.gold)
    scores.add(code, outcomes.named([f"{code}:{name}" for name in outcomes.ids]), n=len(test.gold))
    scores.submission[code] = mining.extract(mined[unlabelled[-1].split], threshold) if unlabelled else pairs
    scores.extra.setdefault("threshold", {})[code] = threshold
    scores.extra.setdefault("threshold_from", {})[code] = dev.split
    scores.extra.setdefault("scored_on", {})[code] = test.split


def _rank(scores: TargetScores, target: Target, unit: Unit, pool: Tensor, loaded: Loaded) -> None:
    """pool: the vectors of `loaded.pool`."""
    ids = [candidate.id for candidate in loaded.pool]
    columns: dict[str, dict[str, Any]] = {}
    settings: dict[str, dict[str, list[float]]] = {}
    distances: list[float] = []
    alone = 0
    for code, rows in loaded.rows.items():
        queries = unit(code)
        _, indices = neighbors.top_k(queries, pool, min(TOP_K, len(pool)))
        ranked = [[ids[index] for index in row] for row in indices.tolist()]
        columns[code] = {**ranking.mean_average_precision(ranked, [set(query.gold) for query in rows]).columns}
        scores.submission[code] = {query.id: row for query, row in zip(rows, ranked, strict=True)}
        if target.kind == "answers":
            relevant, precisions = _whole_ranking(queries, pool, rows, loaded.pool)
            columns[code]["map_multi"] = [ranking.precision_of_ranks(places) for places in relevant]
            settings[code] = ranking.mono_and_cross(code, precisions)
            several = [places for places in relevant if len(places) > 1]
            alone += len(relevant) - len(several)
            distances += [ranking.rank_distance(several)] if several else []
    several_languages = bool(settings) and all(settings.values())
    for code, rows in loaded.rows.items():
        # A question of LAReQA is the same in all languages, a mention of Mewsli-X is in one of them.
        names = [q.id.removesuffix(f"_{code}") if target.kind == "answers" else f"{code}:{q.id}" for q in rows]
        more = settings[code] if several_languages else {}
        scores.add(code, means({**columns[code], **more}).named(names), n=len(rows))
    scores.extra["pool"] = len(ids)
    if distances:
        scores.extra["rank_distance"] = float(np.mean(distances))
        scores.extra |= {"rank_distance_over": f"all but {alone:,} questions, which have one answer"} if alone else {}


def _whole_ranking(
    queries: Tensor, pool: Tensor, rows: list[Query], candidates: list[Candidate]
) -> tuple[list[list[int]], list[dict[str, float]]]:
    """Of each query the ranks of its right candidates in the pool, and AP among the candidates of each language."""
    index_of = {candidate.id: index for index, candidate in enumerate(candidates)}
    languages = np.array([candidate.language for candidate in candidates])
    pools = {str(code): np.flatnonzero(languages == code) for code in np.unique(languages)}
    relevant, precisions = [], []
    for first in range(0, len(rows), RANKED):
        block = (queries[first : first + RANKED] @ pool.T).cpu().numpy()
        for query, cosines in zip(rows[first : first + RANKED], block, strict=True):
            gold = [index_of[name] for name in query.gold]
            relevant.append(ranking.ranks(cosines, gold))
            by_language: dict[str, list[int]] = {}
            for index in gold:
                by_language.setdefault(candidates[index].language, []).append(index)
            precisions.append(ranking.precision_by_language(cosines, by_language, pools))
    return relevant, precisions
