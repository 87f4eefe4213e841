"""What noise in the queries costs: the score of the same items with noise beside the clean one."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from eval.inference.artifacts import Job, noisy_vectors, vectors
from eval.metrics.items import Outcomes
from eval.report.statistics import relative_drop, uneven
from eval.retrieval.score_vectors import score_vectors
from eval.rows import Loaded
from eval.suites import Target

ByLanguage = Mapping[str, Outcomes]


def measure(
    target: Target, job: Job, loaded: Loaded, clean: ByLanguage, centre: bool, device: str
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Outcomes]]]:
    """(noise -> metric -> what scores.json records, noise -> outcomes by language) of `loaded.perturbed`.

    Over the languages in which noise changes a query; the others are named as not applicable. A metric without any of
    the former, or whose clean score is 0, is left out, and so is a language with 0: there is nothing to lose.
    """
    records: dict[str, dict[str, Any]] = {}
    outcomes: dict[str, dict[str, Outcomes]] = {}
    for (noise, metric), sides in loaded.perturbed.items():
        read = partial(noisy_vectors, job, noise, sides)
        noisy = score_vectors(target, read, loaded, centre, device).items
        touched = {name.partition(".")[0]: 100 * len(texts) / len(vectors(job, name)) for name, texts in sides.items()}
        found = _record(clean, noisy, metric, touched)
        records.setdefault(noise, {}).update({} if found is None else {metric: found})
        for code, one in outcomes.setdefault(noise, noisy).items():
            if metric in one.columns:  # Tatoeba's other direction has other queries
                outcomes[noise][code] = replace(one, columns={**one.columns, metric: noisy[code].columns[metric]})
    return records, outcomes


def _record(clean: ByLanguage, noisy: ByLanguage, metric: str, touched: Mapping[str, float]) -> dict[str, Any] | None:
    """touched: percent of the queries of each language that noise changes."""
    codes = [code for code in clean if touched[code]]
    if not codes:
        return None
    sides = [{code: side[code] for code in codes} for side in (clean, noisy)]
    whole = relative_drop([(sides[0], sides[1])], metric)
    each = {code: relative_drop([({code: clean[code]}, {code: noisy[code]})], metric) for code in codes}
    languages = {code: asdict(one) | {"touched": touched[code]} for code, one in each.items() if one is not None}
    if whole is None:
        return None
    worst, beyond = uneven({code: one["drop"] for code, one in languages.items()}, whole.drop)
    rest = {"languages": languages, "not_applicable": [code for code in clean if code not in codes]}
    return {**asdict(whole), "worst": worst, "beyond_twice": beyond, **rest}
