"""The results of a report: every entry's mean over the same languages, with its interval over seeds.

    comparison = Comparison(entries, everything=True)
    comparison.values("xnli", "accuracy", ["de", "fr"])         # one Value per entry

Nothing is formatted here. A missing result carries a sentence that says why; a mean is taken over the languages that
all entries have, so that a difference never compares different sets of languages.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from common.languages import language
from eval.metrics import aggregate
from eval.metrics.aggregate import TO_ENGLISH, TO_OTHER
from eval.report.load import Entry, Run
from eval.suites import OFFICIAL, SUITES, Target, resolve_suite

View = tuple[str, list[Target]]  # a suite, or names of targets with commas between, and its targets
_KNOWN_LABELS = {"f1": "F1", "em": "EM", "map@20": "mAP@20", TO_OTHER: "en→xx", TO_ENGLISH: "xx→en"}


@dataclass(frozen=True)
class Value:
    """mean ± half is the 95 % interval over n seeds, half None for one seed; `missing` is why there is no value."""

    mean: float = math.nan
    half: float | None = None
    n: int = 0
    missing: str = ""


Classes = dict[str, tuple[list[Value], list[str]]]  # family or script: (each entry's value, the languages)


def label(metric: str) -> str:
    """How tables call a metric of scores.json."""
    return _KNOWN_LABELS.get(metric, metric.replace("_", " "))


def title(record: dict[str, Any], metric: str) -> str:
    """`label`, with the metric before a direction of retrieval: accuracy en→xx."""
    return f"{label(record['metric'])} {label(metric)}" if metric in (TO_OTHER, TO_ENGLISH) else label(metric)


def headline(record: dict[str, Any]) -> str:
    """The metric of `languages` in a record of scores.json."""
    return TO_OTHER if TO_OTHER in record["scores"] else str(record["metric"])


def intervals(row: pd.Series, why: Callable[[int], str]) -> list[Value]:
    """Each entry's mean over its seeds.

    row: indexed by (number of the entry, number of its run), NaN where a run has no value. `why`: the reason that the
    entry of this number has none; all of its seeds must have one.
    """
    return [
        Value(missing=why(i)) if seeds.isna().any() else Value(**aggregate.interval(seeds.tolist()))
        for i, seeds in row.groupby(level=0)
    ]


class Comparison:
    """Entries beside one another, the first one as the baseline.

    views: the suites to show: the first run's, or with `everything` every run's and what else was scored. scored: the
    targets of the views that any run has.
    """

    def __init__(self, entries: Sequence[Entry], everything: bool) -> None:
        self.entries = list(entries)
        self.runs = [run for entry in entries for run in entry.runs]
        self.views = _views(self.runs, everything)
        shown = {target.name: target for _, targets in self.views for target in targets}
        self.scored = [target for target in shown.values() if self.records(target.name)]
        self._tables: dict[tuple[str, str], pd.DataFrame] = {}

    def records(self, target: str) -> list[dict[str, Any]]:
        return [run.targets[target] for run in self.runs if target in run.targets]

    def languages(self, target: str) -> list[str]:
        """Those that any run has, in alphabetical order."""
        return sorted({code for record in self.records(target) for code in record["languages"]})

    def wanted(self, target: Target, suite: str) -> list[str]:
        """The languages that a suite asks for; where it names none (the toy world), all that there are."""
        return sorted(target.of_suite(suite) or self.languages(target.name))

    def shared(self, target: str, codes: Iterable[str] | None = None) -> list[str]:
        """Those of `codes` (default: all) that every run has which has the target."""
        found = self.records(target)
        codes = self.languages(target) if codes is None else codes
        return [code for code in codes if all(code in record["languages"] for record in found)]

    def table(self, target: str, metric: str) -> pd.DataFrame:
        """Languages x (number of the entry, number of its run), NaN where there is no metric."""
        if (target, metric) not in self._tables:
            columns = {}
            for i, entry in enumerate(self.entries):
                for k, run in enumerate(entry.runs):
                    details = run.targets.get(target, {"details": {}})["details"]
                    column = {code: one.get(metric, math.nan) for code, one in details.items()}
                    columns[i, k] = pd.Series(column, dtype=float)
            self._tables[target, metric] = pd.DataFrame(columns)
        return self._tables[target, metric]

    def values(self, target: str, metric: str, codes: Sequence[str]) -> list[Value]:
        """Each entry's unweighted mean over languages."""
        means = self.table(target, metric).reindex(codes).mean(skipna=False)
        absent = "no data: no such language or metric in the scores of every run"
        return intervals(means, lambda i: self.not_run(self.entries[i], target) or absent)

    def by_language(self, target: str) -> dict[str, list[Value]]:
        """{language: each entry's headline metric}, in alphabetical order."""
        metric = headline(self.records(target)[0])
        return {code: self.values(target, metric, [code]) for code in self.languages(target)}

    def by_class(self, targets: Sequence[Target], kind: str) -> Classes:
        """Each entry's value by family or script, without English, which targets are trained in.

        kind: "family" or "script". A value is the mean over targets of the mean over the languages of a class, of the
        headline metric, over the languages that all runs have; every target is one that all runs have, or the only one.
        """
        parts = {}
        for target in targets:
            codes = [code for code in self.shared(target.name) if code != "en"]
            parts[target.name] = self.table(target.name, headline(self.records(target.name)[0])).loc[codes]
        if not any(map(len, parts.values())):
            return {}
        scores = pd.concat(parts, names=["target", "language"])
        codes = scores.index.get_level_values("language")
        classes = codes.map(lambda code: getattr(language(code), kind)).rename("class")
        means = scores.groupby(["target", classes]).mean().groupby("class").mean()
        return {
            str(name): (
                intervals(row, lambda i: self.not_run(self.entries[i], targets[0].name)),
                sorted(set(codes[classes == name])),
            )
            for name, row in means.iterrows()
        }

    def not_run(self, entry: Entry, target: str) -> str:
        """Why an entry has no metric of a target, "" if it has; all of its seeds must have it."""
        without = [run for run in entry.runs if target not in run.targets]
        whom = "" if len(without) == len(entry.runs) else f" for {', '.join(run.name for run in without)}"
        each = (run.scores["not_run"].get(target, f"not scored yet (--suite {run.scores['suite']})") for run in without)
        return f"not run{whom}: {'; '.join(dict.fromkeys(map(str, each)))}" if without else ""

    def average(self, view: View, group: str | None = None) -> list[Value]:
        """Each entry's average of a suite, or of one of its groups, over all targets with all their languages."""
        return [_average(entry, view, group) for entry in self.entries]

    def results(self) -> dict[str, list[Value]]:
        """Each entry's headline metric and averages, over the languages that all entries have, by tag.

        Tags: TARGET/score, TARGET/LANGUAGE and average/SUITE.
        """
        found = {f"average/{view[0]}": self.average(view) for view in self.views}
        for target in (one.name for one in self.scored):
            metric = headline(self.records(target)[0])
            found[f"{target}/score"] = self.values(target, metric, self.shared(target))
            found |= {f"{target}/{code}": values for code, values in self.by_language(target).items()}
        return found


def _average(entry: Entry, view: View, group: str | None) -> Value:
    suite, targets = view
    if suite not in OFFICIAL:
        return Value(missing=f"no average: defined for {', '.join(OFFICIAL)} alone")
    each = [aggregate.average(run.scores, suite, targets) for run in entry.runs]
    missing = {name: lack for one in each for name, lack in one["missing"].items()}
    if group is not None:
        missing = {name: lack for name, lack in missing.items() if name in each[0]["groups"][group]["targets"]}
        each = [one["groups"][group] for one in each]
    if not missing:
        return Value(**aggregate.interval([one["score"] for one in each]))
    return Value(missing=f"no average: {'; '.join(f'{name} {lack}' for name, lack in missing.items())}")


def _views(runs: Sequence[Run], everything: bool) -> list[View]:
    """Targets outside the suites that were asked for come as the official suite that they belong to, else alone."""
    suites = dict.fromkeys(str(run.scores["suite"]) for run in (runs if everything else runs[:1]))
    found = [resolve_suite(suite) for suite in suites]
    scored = dict.fromkeys(name for run in runs for name in run.targets) if everything else {}

    def rest() -> list[str]:
        shown = {target.name for _, targets in found for target in targets}
        return [name for name in scored if name not in shown]

    for suite in (*OFFICIAL, "toy"):
        if suite not in suites and set(rest()) & set(SUITES[suite]):
            found.append(resolve_suite(suite))
    if rest():
        found.append(resolve_suite(",".join(rest())))
    # A choice of targets that an official suite shows as well needs no table of its own.
    official = [{target.name for target in targets} for suite, targets in found if suite in OFFICIAL]
    return [
        (suite, targets)
        for suite, targets in found
        if suite in SUITES or not any({target.name for target in targets} <= shown for shown in official)
    ]
