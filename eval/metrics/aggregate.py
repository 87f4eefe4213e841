"""From figures per language to figures per target, group, suite, and over seeds. Pure functions over scores.json.

    average(scores, "xtreme", targets)      the suite's score and its groups, or what is missing
    over_seeds([scores_a, scores_b, ...])   mean and 95 % interval of each figure over runs of the same thing

Counted as the official evaluator counts (google-research/xtreme at 838c13b, `evaluate.py`): a target is the unweighted
mean over its languages, English among them wherever the official list has it; question answering enters as the mean of
F1 and EM; a group and a suite are unweighted means over their targets. Without all of its languages a target enters no
average, nor where dev was scored instead of test; without all of its targets a group or a suite has no score. What is
missing is named: a mean over a part compares with nothing.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from eval.metrics import score
from eval.official import GROUPS
from eval.suites import OFFICIAL, Target

Figures = dict[str, Any]  # one language of one target: figures by name, "n", perhaps "chance"
PROTOCOL: dict[str, Any] = {
    "target": "unweighted mean over the suite's languages, English where the official list has it",
    "question_answering": "(F1 + EM) / 2",
    "group": "unweighted mean over its targets",
    "suite": "unweighted mean over its targets",
    "incomplete": "no score; what is missing is named",
}
LEVEL = 0.95
TO_OTHER, TO_ENGLISH = "en->xx", "xx->en"  # figures of retrieval: queries in English, in the other language


def means(details: Mapping[str, Figures], languages: Mapping[str, float]) -> dict[str, Any]:
    """Means over the languages: "scores" of every figure but n and chance, "chance", and, if English is one of

    several languages, "score_without_english" of the headline figure in `languages`. All languages have the same
    figures.
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
    """The headline over each official suite's own language list, named as incomplete where languages are missing."""
    result = {}
    for suite, codes in target.languages.items():
        there = {code: languages[code] for code in codes if code in languages}
        if there:
            missing = [code for code in codes if code not in languages]
            result[suite] = {"score": score.mean(there), "languages": len(there), "missing_languages": missing}
    return result


def contribution(record: Mapping[str, Any], codes: Sequence[str]) -> float:
    """What a target of scores.json puts into an average: the headline's mean over `codes`, for QA (F1 + EM) / 2."""
    headline = score.mean({code: record["languages"][code] for code in codes})
    if "em" not in record["scores"]:
        return headline
    return (headline + score.mean({code: record["details"][code]["em"] for code in codes})) / 2


def average(result: Mapping[str, Any], suite: str, targets: Sequence[Target]) -> dict[str, Any]:
    """The score of an official suite and of its groups; None for other suites and while anything is missing.

    {"suite", "score", "targets": what each complete target contributes, "missing": {target: what it lacks},
    "groups": {group: {"score", "targets", "missing"}}, "protocol"}. A target counts over the languages of `suite`,
    whichever suite it was run for.
    """
    entered: dict[str, float] = {}
    missing: dict[str, str] = {}
    for target in targets:
        record = result["targets"].get(target.name)
        if record is None:
            missing[target.name] = "not run"
            continue
        codes = target.of_suite(suite) or tuple(record["languages"])
        absent = [code for code in codes if code not in record["languages"]]
        if absent:
            missing[target.name] = f"without {' '.join(absent)}"
        elif any(code in record.get("dev", ()) for code in codes):
            missing[target.name] = "scored on dev"
        else:
            entered[target.name] = contribution(record, codes)
    groups = {}
    if suite in GROUPS:
        for group, members in GROUPS[suite].items():
            lacking = [name for name in members if name not in entered]
            values = {name: entered[name] for name in members if name in entered}
            groups[group] = {
                "score": None if lacking else score.mean(values),
                "targets": list(members),
                "missing": lacking,
            }
    complete = not missing and suite in OFFICIAL
    return {
        "suite": suite,
        "score": score.mean(entered) if complete else None,
        "targets": entered,
        "missing": missing,
        "groups": groups,
        "protocol": PROTOCOL,
    }


def interval(values: Sequence[float]) -> dict[str, Any]:
    """{"mean", "half", "n"}: the 95 % interval of the mean is mean +- half, by Student's t with n - 1 degrees.

    half = t(0.975, n - 1) * s / sqrt(n), s the sample's standard deviation; None for a single value.
    """
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return {"mean": mean, "half": None, "n": 1}
    from scipy.stats import t  # a second to import, and only seeds need it

    half = t.ppf((1 + LEVEL) / 2, n - 1) * statistics.stdev(values) / math.sqrt(n)
    return {"mean": mean, "half": float(half), "n": n}


def over_seeds(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several scores.json of the same thing (other seeds) as one, every figure an `interval`.

    {"runs": names, "level", "targets": {target: {"metric", "score", "scores", "languages", "missing", "differs"}},
    "average": {"suite", "score", "targets", "groups", "missing"}, "missing": {target: runs without it}}.
    Only what every run has is averaged: a target or language that a run lacks is named in "missing" and left out, with
    the score of that target over the shared languages left None. "differs" names settings of the protocol that are not
    the same in all runs (`differing`). `ValueError`: no run, or runs of different suites.
    """
    if not results:
        raise ValueError("over_seeds: no run")
    suites = {one["suite"] for one in results}
    if len(suites) > 1:
        raise ValueError(f"over_seeds: runs of different suites: {', '.join(sorted(suites))}")
    names = [str(one["name"]) for one in results]
    targets, missing = {}, {}
    for target in dict.fromkeys(name for one in results for name in one["targets"]):
        without = [name for name, one in zip(names, results, strict=True) if target not in one["targets"]]
        if without:
            missing[target] = without
        else:
            targets[target] = _target_over_seeds([one["targets"][target] for one in results])
    averages = [one["average"] for one in results]
    return {
        "runs": names,
        "level": LEVEL,
        "targets": targets,
        "average": {
            "suite": results[0]["suite"],
            "score": _shared([one["score"] for one in averages]),
            "targets": _columns([one["targets"] for one in averages]),
            "groups": _columns([{g: group["score"] for g, group in one["groups"].items()} for one in averages]),
        },
        "missing": missing,
    }


DRAWN = ("seed", "selected_at_step", "dev")  # what a run's seed decides
_ABSENT = object()


def differing(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Settings of the protocol that are not the same in all records of a target, in alphabetical order.

    Seeds are set aside, those of the target training among them, with what follows from them: the selected step and
    its dev score.
    """
    chosen = [settings(record["protocol"]) for record in records]
    keys = {key for one in chosen for key in one}
    first = chosen[0]
    return sorted(key for key in keys if any(one.get(key, _ABSENT) != first.get(key, _ABSENT) for one in chosen))


def settings(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """A target's protocol without seeds and what follows from them (`DRAWN`)."""
    kept = {key: value for key, value in protocol.items() if key not in DRAWN}
    if "training" in kept:
        kept["training"] = [
            {key: value for key, value in stage.items() if key not in DRAWN}
            | {"overrides": [text for text in stage["overrides"] if not text.startswith("seed=")]}
            for stage in kept["training"]
        ]
    return kept


def _target_over_seeds(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shared = [code for code in records[0]["languages"] if all(code in record["languages"] for record in records)]
    everything = {code for record in records for code in record["languages"]}
    lacking = sorted(everything - set(shared))
    return {
        "metric": records[0]["metric"],
        "score": None if lacking else interval([record["score"] for record in records]),
        "scores": {} if lacking else _columns([record["scores"] for record in records]),
        "languages": {code: interval([record["languages"][code] for record in records]) for code in shared},
        "missing": lacking,
        "differs": differing(records),
    }


def _shared(values: Sequence[float | None]) -> dict[str, Any] | None:
    """`interval`, or None where a run has no value."""
    there = [value for value in values if value is not None]
    return interval(there) if len(there) == len(values) else None


def _columns(rows: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    """`_shared` of every key that the first row and all others have."""
    return {key: _shared([row[key] for row in rows]) for key in rows[0] if all(key in row for row in rows)}
