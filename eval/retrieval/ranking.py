"""Metrics of ranked lists: mAP@20 for LAReQA and Mewsli-X, mAP within and across languages, and rank distance.

    mean_average_precision([["b", "a", "c"]], [{"a"}])    ->  outcomes whose mean is 50.0
    rank_distance([ranks(scores, [4, 17, 203])])          ->  places between the nearest and the farthest translation

Sources: google-research/xtreme at 838c13b, `third_party/utils_lareqa.py` (average_precision_at_k) and
`utils_mewslix.py`; monolingual, cross-lingual and multilingual mAP: arXiv 2408.10536, section 3.2; rank distance: Huang
et al. 2023, as used there (section 4.1). Rankings come best first; where scores are equal the searcher decides
(`neighbors.py`: the earlier candidate), the official scripts leave it open.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np

from eval.metrics.items import Outcomes, means
from eval.suites import TOP_K


def average_precision(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int = TOP_K) -> float:
    """AP@k in [0, 1]: the sum of precision at each rank of a relevant candidate, over min(number of relevant, k).

    Only the first k of `ranked` count (fewer, or none, may be given); a candidate that comes again counts once. Without
    anything relevant AP is undefined.
    """
    wanted = set(relevant)
    total, seen = 0.0, set()
    for place, candidate in enumerate(ranked[:k], start=1):
        if candidate in wanted and candidate not in seen:
            seen.add(candidate)
            total += len(seen) / place
    return total / min(len(wanted), k)


def mean_average_precision(ranked: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]]) -> Outcomes:
    """ "map@20": the mean of `average_precision` over queries, at least one. With one relevant candidate: MRR@20."""
    each = [average_precision(found, wanted) for found, wanted in zip(ranked, relevant, strict=True)]
    return means({f"map@{TOP_K}": each})


def ranks(scores: np.ndarray, indices: Sequence[int]) -> list[int]:
    """Ranks, from 1, of the candidates `indices` among all: scores [candidates], higher is better.

    Equal scores: the earlier candidate first. Costs one pass per candidate; nothing is sorted.
    """
    return [1 + int((scores > scores[index]).sum()) + int((scores[:index] == scores[index]).sum()) for index in indices]


def precision_of_ranks(relevant_ranks: Sequence[int]) -> float:
    """AP in [0, 1] without a cut, from the ranks of all relevant candidates (one at least): mean of i / i-th rank."""
    return float(np.mean(np.arange(1, len(relevant_ranks) + 1) / np.sort(relevant_ranks)))


def precision_by_language(
    scores: np.ndarray, gold: Mapping[str, Sequence[int]], pools: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """AP of a query among the candidates of each language alone, of the languages that have a relevant one.

    scores: [candidates]; gold: indices of the relevant ones by language; pools: those of all candidates, ascending.
    """
    return {
        code: precision_of_ranks(ranks(scores[pools[code]], np.searchsorted(pools[code], own).tolist()))
        for code, own in gold.items()
    }


def mono_and_cross(code: str, precisions: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """ "map_mono" and "map_cross" of the queries of one language, a number each, whose means are the metrics.

    precisions: of each query in language `code` what `precision_by_language` gives. Monolingual mAP is that among the
    candidates of `code`, cross-lingual mAP the unweighted mean over the other languages of the mAP among theirs. A
    query counts for the languages that have a relevant candidate for it (MLQA-R: two to four), so where these are not
    all, its number is weighted by their share and may exceed 1. Empty where one of the two has no queries.
    """
    asked = Counter(other for one in precisions for other in one)
    others = [other for other in asked if other != code]
    if not others or not asked[code]:
        return {}

    def mean(one: Mapping[str, float], languages: Sequence[str]) -> float:
        return sum(one.get(o, 0.0) * len(precisions) / asked[o] for o in languages) / len(languages)

    settings = {"map_mono": [code], "map_cross": others}
    return {name: [mean(one, languages) for one in precisions] for name, languages in settings.items()}


def rank_distance(relevant_ranks: Sequence[Sequence[int]]) -> float:
    """Language bias: mean over queries of highest minus lowest rank of the query's relevant passages; lower is better.

    Of the queries in one language; a target's is the mean over its languages, as in arXiv 2408.10536. One entry per
    query, its ranks in the pool of all languages. In places, not percent: it grows with the pool and with the
    number of translations, so it compares only over the same pool.
    """
    return float(np.mean([max(one) - min(one) for one in relevant_ranks]))
