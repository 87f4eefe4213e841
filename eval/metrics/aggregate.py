"""Aggregates scores per language to targets, groups and suites. Pure functions over scores.json.

    average(scores, "xtreme", targets)      the score of the suite and its groups, or what is missing
    interval([71.2, 70.6, 71.9])            mean and 95 % interval over seeds

As in the official evaluator (google-research/xtreme at 838c13b, `evaluate.py`): a target is the unweighted mean over
its languages, including English where the official list has it; question answering is the mean of F1 and EM; groups
and suites are unweighted means over their targets. A target that lacks languages, or was scored on dev, enters no
average; a group or suite that lacks targets has no score. Missing ones are named, since partial means are not
comparable.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from eval.metrics import score
from eval.suites import GROUPS, OFFICIAL, Target

Metrics = dict[str, Any]  # one language of one target: metrics by name, "n", optionally "chance"
PROTOCOL: dict[str, Any] = {
    "target": "unweighted mean over the suite's languages, English where the official list has it",
    "question_answering": "(F1 + EM) / 2",
    "group": "unweighted mean over its targets",
    "suite": "unweighted mean over its targets",
    "incomplete": "no score; what is missing is named",
}
LEVEL = 0.95
TO_OTHER, TO_ENGLISH = "en->xx", "xx->en"  # retrieval metrics: queries in English, in the other language
_BY_KIND = {  # of target; at the end what two targets have besides
    "classify": ("accuracy",), "choice": ("accuracy",), "span": ("f1", "em"), "entities": ("map@20",),
    "tag": ("f1", "precision", "recall"), "mining": ("f1", "precision", "recall"),
    "translation": (TO_OTHER, TO_ENGLISH), "answers": ("map@20", "map_multi", "map_mono", "map_cross"),
    "pawsx": ("distractor_accuracy", "other_accuracy"), "udpos": ("accuracy",),
}  # fmt: skip


def metric_names(target: Target) -> tuple[str, ...]:
    """The metrics of a target by XTREME's protocol; some data lack "map_mono" and "map_cross"."""
    return _BY_KIND[target.kind] + _BY_KIND.get(target.name, ())


def means(details: Mapping[str, Metrics], languages: Mapping[str, float]) -> dict[str, Any]:
    """Means over languages: "scores" of every metric, "chance", and "score_without_english".

    The latter, of the headline metric in `languages`, only if English is one of several languages. All languages have
    the same metrics.
    """
    columns = {key: {c: d[key] for c, d in details.items()} for key in next(iter(details.values())) if key != "n"}
    result: dict[str, Any] = {
        "scores": {key: score.mean(column) for key, column in columns.items() if key != "chance"},
        "chance": score.mean(columns["chance"]) if "chance" in columns else None,
    }
    foreign = {code: value for code, value in languages.items() if code != "en"}
    if foreign and len(foreign) < len(languages):
        result["score_without_english"] = score.mean(foreign)
    return result


def by_suite(target: Target, languages: Mapping[str, float]) -> dict[str, Any]:
    """Mean of the headline metric over each official suite's languages, with the languages that are missing."""
    result = {}
    for suite, codes in target.languages.items():
        if present := {code: languages[code] for code in codes if code in languages}:
            missing = [code for code in codes if code not in languages]
            result[suite] = {"score": score.mean(present), "languages": len(present), "missing_languages": missing}
    return result


def contribution(record: Mapping[str, Any], codes: Sequence[str]) -> float:
    """A target's term in an average: mean of the headline metric over `codes`; for QA (F1 + EM) / 2."""
    headline = score.mean({code: record["languages"][code] for code in codes})
    if "em" not in record["scores"]:
        return headline
    return (headline + score.mean({code: record["details"][code]["em"] for code in codes})) / 2


def average(result: Mapping[str, Any], suite: str, targets: Sequence[Target]) -> dict[str, Any]:
    """Scores of an official suite and its groups; None for other suites and while anything is missing.

    {"suite", "score", "targets": {complete target: contribution}, "missing": {target: reason},
    "groups": {group: {"score", "targets", "missing"}}, "protocol"}. A target is averaged over the languages of `suite`,
    whichever suite it was run for.
    """
    contributions: dict[str, float] = {}
    missing: dict[str, str] = {}
    for target in targets:
        record = result["targets"].get(target.name)
        if record is None:
            missing[target.name] = "not run"
            continue
        codes = target.of_suite(suite) or tuple(record["languages"])
        absent = [code for code in codes if code not in record["languages"]]
        if other := record.get("protocol", {}).get("protocol"):
            missing[target.name] = f"scored by the protocol of {other}"
        elif absent:
            missing[target.name] = f"without {' '.join(absent)}"
        elif any(code in record.get("dev", ()) for code in codes):
            missing[target.name] = "scored on dev"
        else:
            contributions[target.name] = contribution(record, codes)
    groups = {}
    for group, members in GROUPS.get(suite, {}).items():
        lacking = [name for name in members if name not in contributions]
        mean = None if lacking else score.mean({name: contributions[name] for name in members})
        groups[group] = {"score": mean, "targets": list(members), "missing": lacking}
    complete = not missing and suite in OFFICIAL
    return {
        "suite": suite,
        "score": score.mean(contributions) if complete else None,
        "targets": contributions,
        "missing": missing,
        "groups": groups,
        "protocol": PROTOCOL,
    }


def interval(values: Sequence[float]) -> dict[str, Any]:
    """{"mean", "half", "n"}: the 95 % interval of the mean is mean +- half, by Student's t.

    half = t(0.975, n - 1) * s / sqrt(n), with n - 1 degrees of freedom and s the sample standard deviation; None for a
    single value.
    """
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return {"mean": mean, "half": None, "n": 1}
    from scipy.stats import t  # slow to import, only needed with seeds

    half = t.ppf((1 + LEVEL) / 2, n - 1) * statistics.stdev(values) / math.sqrt(n)
    return {"mean": mean, "half": float(half), "n": n}


DRAWN = ("seed", "selected_at_step", "dev")  # what depends on a run's seed
_ABSENT = object()


def differing(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Settings of the protocol that differ between records of a target, sorted.

    Ignores seeds, including those of target training, and what depends on them: the selected step and its dev score.
    """
    protocols = [settings(record["protocol"]) for record in records]
    keys = {key for one in protocols for key in one}
    first = protocols[0]
    return sorted(key for key in keys if any(one.get(key, _ABSENT) != first.get(key, _ABSENT) for one in protocols))


def settings(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """A target's protocol without seeds and what depends on them (`DRAWN`)."""
    kept = {key: value for key, value in protocol.items() if key not in DRAWN}
    if "training" in kept:
        kept["training"] = [
            settings(stage) | {"overrides": [text for text in stage["overrides"] if not text.startswith("seed=")]}
            for stage in kept["training"]
        ]
    return kept
