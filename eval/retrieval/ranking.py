"""Metrics of ranked lists: mAP@20 for LAReQA and Mewsli-X, and the rank distance between languages.

    mean_average_precision([["b", "a", "c"]], [{"a"}])    ->  outcomes whose mean is 50.0
    rank_distance([ranks(scores, [4, 17, 203])])          ->  places between the nearest and the farthest translation

Sources: google-research/xtreme at 838c13b, `third_party/utils_lareqa.py` (average_precision_at_k) and
`utils_mewslix.py`; rank distance: Huang et al. 2023, as used in arXiv 2408.10536. Rankings come best first; where
scores are equal the searcher decides (`neighbors.py`: the earlier candidate), the official scripts leave it open.
"""

from collections.abc import Collection, Hashable, Sequence
from typing import Any

import numpy as np

from eval.metrics.items import Outcomes, means
from eval.suites import TOP_K

LAREQA_PROTOCOL: dict[str, Any] = {
    "metric": f"mAP@{TOP_K}, divisor min(relevant, {TOP_K}); mean over a language's questions, then over languages",
    "pool": "the sentences of all languages together",
}
MEWSLIX_PROTOCOL: dict[str, Any] = {"metric": f"mAP@{TOP_K}; one entity is right, so it is MRR@{TOP_K}"}


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


def mean_average_precision(
    ranked: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]], k: int = TOP_K
) -> Outcomes:
    """ "map@k": the mean of `average_precision` over queries, at least one. With one relevant candidate: MRR@k."""
    each = [average_precision(found, wanted, k) for found, wanted in zip(ranked, relevant, strict=True)]
    return means({f"map@{k}": each})


def ranks(scores: np.ndarray, indices: Sequence[int]) -> list[int]:
    """Ranks, from 1, of the candidates `indices` among all: scores [candidates], higher is better.

    Equal scores: the earlier candidate first. Costs one pass per candidate; nothing is sorted.
    """
    return [1 + int((scores > scores[index]).sum()) + int((scores[:index] == scores[index]).sum()) for index in indices]


def rank_distance(relevant_ranks: Sequence[Sequence[int]]) -> float:
    """Language bias: mean over queries of highest minus lowest rank of the query's relevant passages; lower is better.

    One entry per query, its ranks in the pool of all languages, two or more. A figure in places, not percent: it grows
    with the pool and with the number of translations, so it compares only over the same pool.
    """
    return float(np.mean([max(one) - min(one) for one in relevant_ranks]))
