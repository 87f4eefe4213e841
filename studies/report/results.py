"""What a study has found: the scores of its runs, and every variant against its baseline.

A seed counts in a comparison if both variants have the target with it; a language, if all of these runs have it.
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from common.run_config import read_json
from eval.report import load
from eval.report.compare import headline
from eval.report.differences import Difference, difference, outcomes_of
from eval.report.load import Entry
from eval.report.statistics import Estimate, Verdict, contrast, holm, of_items
from eval.suites import resolve_suite
from studies.runs import ORACLE, Run
from studies.study import Study

_NOTHING = load.Run({"targets": {}})


@dataclass(frozen=True)
class Compared:
    """The variant `b` less its baseline `a`; of primary targets p is Holm's.

    target: compared by its headline metric, or TARGET:METRIC.
    runs: those of `a`, then those of `b`, with the same seeds.
    """

    a: str
    b: str
    target: str
    primary: bool
    found: Difference
    margin: float
    runs: Sequence[load.Run]

    @property
    def verdict(self) -> Verdict:
        return self.found.of.verdict(self.margin)


@dataclass(frozen=True)
class Slope:
    """Of a primary target over the study's axis, in points per unit, at some levels of its factors.

    Each seed has one. Where variants have several groups (orders, say) each group has one, the mean over its seeds.
    `found.seeds` counts these lines, `over` says what they are: "4 groups". Both are empty until every variant that is
    on the axis and can have the target is scored on it, with a seed in common: fewer would answer another question.
    """

    target: str
    levels: str
    over: str = ""
    found: Estimate | None = None


@dataclass(frozen=True)
class Results:
    """entries: scored variants by name, each with its runs in the order of the study's seeds; runs: all, by plan."""

    study: Study
    runs: Sequence[Run]
    entries: dict[str, Entry]
    compared: list[Compared]
    slopes: list[Slope]

    @property
    def targets(self) -> list[str]:
        """In the suite's order; any variant has them."""
        there = {name for entry in self.entries.values() for run in entry.runs for name in run.targets}
        return [target.name for target in resolve_suite(self.study.file.evaluate.suite)[1] if target.name in there]

    @cached_property
    def variants(self) -> dict[str, Any]:
        """By name: folders of the runs; of each target the scores by language, means over seeds, and their mean."""
        return {name: self._variant(name) for name in self.study.variants}

    def plain(self) -> dict[str, Any]:
        """The content of study.json."""
        return {
            "study": self.study.name,
            "sha256": self.study.sha256,
            "variants": self.variants,
            "comparisons": [_plain(one) for one in self.compared],
            "slopes": [
                {"axis": self.study.file.compare.axis, "target": one.target, "levels": one.levels, "over": one.over}
                | {"slope": one.found.difference, "interval": list(one.found.interval), "crossed": one.found.seeds > 1}
                for one in self.slopes
                if one.found is not None
            ],
        }

    def _variant(self, name: str) -> dict[str, Any]:
        folders = [str(run.folder) for run in self.runs if run.variant.name == name and run.identity]
        scored = self.entries[name].runs if name in self.entries else ()
        targets = {}
        for target in self.targets:
            records = [run.targets[target] for run in scored if target in run.targets]
            if records:
                codes = _codes(records)
                means = {code: sum(one["languages"][code] for one in records) / len(records) for code in codes}
                targets[target] = {"score": sum(means.values()) / len(means) if means else None, "languages": means}
                best = oracle([run for run in self.runs if run.variant.name == name and run.evaluated], target)
                targets[target] |= {} if best is None else {"oracle": best}
        return {"runs": list(dict.fromkeys(folders)), "targets": targets}


def _plain(one: Compared) -> dict[str, Any]:
    found = asdict(one.found.of)
    del found["of_seeds"]
    about = {"a": one.a, "b": one.b, "target": one.target, "primary": one.primary}
    return {**about, **found, "crossed": one.found.of.seeds > 1, "verdict": one.verdict}


def gather(study: Study, runs: Sequence[Run]) -> Results:
    """Reads what there is; `InputError` for a damaged scores.json."""
    scored: dict[str, dict[int, load.Run]] = {}
    for run in runs:
        if run.evaluated:
            [read], name = load.read([str(run.evaluation)]), run.variant.name
            config, about = run.config.model_dump(mode="json"), {**read.scores, "name": name}  # for notes
            scored.setdefault(name, {})[run.seed] = replace(read, config=config, scores=about)
    entries = {name: Entry(name, tuple(by_seed.values())) for name, by_seed in scored.items()}
    results = Results(study, runs, entries, [], [])
    names = dict.fromkeys([*study.primaries, *results.targets])
    for b, a in study.comparisons:
        for name in names if a in scored and b in scored else ():
            if (one := _compare(study, scored, a, b, name)) is not None:
                results.compared.append(one)
    primary = [i for i, one in enumerate(results.compared) if one.primary]
    estimates = [results.compared[i].found.of for i in primary]
    for i, adjusted in zip(primary, holm(estimates, len(study.declared)), strict=True):
        one = results.compared[i]
        results.compared[i] = replace(one, found=replace(one.found, of=adjusted))
    if study.file.compare.axis:
        for levels in dict.fromkeys("/".join(variant.levels.values()) for variant in study.variants.values()):
            results.slopes.extend(_slope(study, scored, name, levels) for name in study.primaries)
    return results


def _slope(study: Study, scored: dict[str, dict[int, load.Run]], name: str, levels: str) -> Slope:
    """By least squares; a variant without a group is in all of them. Nothing is found with fewer than two points.

    With several groups the interval is the wider one of those over seeds and over groups.
    """
    nothing, (target, _, metric) = Slope(name, levels), name.partition(":")
    points = {
        v.name: (v.at, v.group)
        for v in study.variants.values()
        if v.at is not None and "/".join(v.levels.values()) == levels and study.scored(v, name)
    }
    seeds = [s for s in study.file.seeds if all(target in scored.get(n, {}).get(s, _NOTHING).targets for n in points)]
    runs = [scored[name][seed] for seed in seeds for name in points]
    weights = []
    for group in dict.fromkeys(group for _, group in points.values() if group) or [""]:
        x = np.array([at if own in ("", group) else np.nan for at, own in points.values()], dtype=float)
        centred = np.nan_to_num(x - np.nanmean(x)) if x.size else x
        if not (centred**2).sum():
            return nothing
        weights.append(centred / (centred**2).sum())
    if not runs or not (codes := _codes([run.targets[target] for run in runs])):
        return nothing
    scores = of_items(outcomes_of(runs, target, codes), metric or headline(runs[0].targets[target]), codes)
    if scores is None:
        return nothing
    # Lines of a group have the same tasks, say, with every seed; those of several groups share points without a group.
    count, each = len(seeds), np.array(weights)
    lines = {f"{count} seed{'s' * (count > 1)}": np.kron(np.eye(count), each.mean(axis=0, keepdims=True))}
    if len(each) > 1:
        lines[f"{len(each)} groups"] = np.kron(np.full((1, count), 1 / count), each)
    found = {over: contrast(scores, [some]) for over, some in lines.items()}
    over = max(found, key=lambda one: np.ptp(found[one].interval))
    return Slope(name, levels, over, found[over])


def _codes(records: Sequence[dict[str, Any]]) -> list[str]:
    """The languages that all have."""
    return [code for code in records[0]["languages"] if all(code in one["languages"] for one in records)]


def _compare(study: Study, scored: dict[str, dict[int, load.Run]], a: str, b: str, name: str) -> Compared | None:
    target, _, metric = name.partition(":")
    seeds = [s for s in scored[a] if s in scored[b] and all(target in scored[v][s].targets for v in (a, b))]
    first, second = ([scored[variant][seed] for seed in seeds] for variant in (a, b))
    records = [run.targets[target] for run in (*first, *second)]
    codes = _codes(records) if records else []
    found = difference(first, second, target, metric or headline(records[0]), codes) if codes else None
    primary, margin = name in study.primaries, study.file.compare.equivalence
    return None if found is None else Compared(a, b, name, primary, found, margin, [*first, *second])


def oracle(runs: Sequence[Run], target: str) -> dict[str, float] | None:
    """The oracle's test score by language, mean over the runs (seeds); None if one of them lacks it.

    It is what the best export of a run by target-language dev would have scored, which no user can follow: selection is
    by English dev, which often says little of a target language (Keung et al. 2020, arXiv 2004.15001). It shows how
    much is lost by that, chooses for every language, and enters no comparison. A language without dev data has the
    score of the export that is evaluated.
    """
    if not all(ORACLE in run.finished for run in runs):
        return None
    each = [_of_run(run, target) for run in runs]
    codes = [code for code in (each or [{}])[0] if all(code in one for one in each)]
    return {code: statistics.fmean(one[code] for one in each) for code in codes} or None


def _of_run(run: Run, target: str) -> dict[str, float]:
    exports = [
        (_scores(export.evaluation / "dev", target), _scores(export.evaluation, target)) for export in run.exports
    ]
    scored_on_dev = set(read_json(run.evaluation / load.FILE)["targets"].get(target, {}).get("dev", ()))
    best = {}
    for code, own in exports[0][1].items():  # of the export that is evaluated; it is the first, and wins where equal
        # Not where the test score would be the dev score that selects.
        known = [(dev[code], test[code]) for dev, test in exports if code in dev.keys() & test.keys() - scored_on_dev]
        best[code] = max(known, key=itemgetter(0))[1] if known else own
    return best if any(dev for dev, _ in exports) else {}


def _scores(folder: Path, target: str) -> dict[str, float]:
    return dict(read_json(folder / load.FILE)["targets"].get(target, {}).get("languages", {}))
