"""The figures of a report: every entry's mean over the same languages, with its interval over seeds.

    view = views(entries, everything=True)[0]            # a suite and its targets
    value(entry, record_languages, "f1")

Nothing is formatted here. Where a figure is lacking there is a sentence that says why, never a gap; a mean is taken
over the languages that all entries have, so that a difference never compares other sets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eval.metrics import aggregate
from eval.metrics.aggregate import TO_ENGLISH, TO_OTHER
from eval.report.families import language
from eval.report.inputs import Entry, Run
from eval.suites import OFFICIAL, SUITES, TARGETS, Target, resolve_suite

_KNOWN_LABELS = {
    "f1": "F1",
    "em": "EM",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "map@20": "mAP@20",
    TO_OTHER: "en→xx",
    TO_ENGLISH: "xx→en",
}


def label(figure: str) -> str:
    """What a figure of scores.json is called in tables; a figure that is not known by its own name."""
    return _KNOWN_LABELS[figure] if figure in _KNOWN_LABELS else figure.replace("_", " ")


def title(record: dict[str, Any], figure: str) -> str:
    """`label`, with the metric before a direction of retrieval: accuracy en→xx."""
    return f"{label(record['metric'])} {label(figure)}" if figure in (TO_OTHER, TO_ENGLISH) else label(figure)


@dataclass(frozen=True)
class Value:
    """mean +- half is the 95 % interval over the n seeds; half is None for one."""

    mean: float
    half: float | None
    n: int


Lacking = str  # why there is no value
_NAMED = 6  # languages
View = tuple[str, list[Target]]


def views(entries: Sequence[Entry], everything: bool) -> list[View]:
    """The suites to show, each with its targets: the first run's, or every run's and what else was scored.

    Targets outside the suites that were asked for come as the official suite that they belong to, else by themselves.
    """
    runs = [run for entry in entries for run in entry.runs]
    names = dict.fromkeys(str(run.scores["suite"]) for run in (runs if everything else runs[:1]))
    found = [resolve_suite(name) for name in names]
    if everything:
        scored = dict.fromkeys(name for run in runs for name in run.targets)
        for suite in (*OFFICIAL, "toy"):
            rest = [name for name in scored if not _shown(name, found)]
            if suite not in names and any(name in SUITES[suite] for name in rest):
                found.append(resolve_suite(suite))
        rest = [name for name in scored if not _shown(name, found)]
        if rest:
            found.append((",".join(rest), [TARGETS[name] for name in rest]))
    return [view for view in found if not _within(view, found)]


def _shown(target: str, found: Sequence[View]) -> bool:
    return any(target in [one.name for one in targets] for _, targets in found)


def _within(view: View, found: Sequence[View]) -> bool:
    """Whether an official suite among `found` shows all of it: then a choice of targets needs no table of its own."""
    suite, targets = view
    return suite not in SUITES and any(
        other in OFFICIAL and all(target in theirs for target in targets) for other, theirs in found
    )


def everywhere(views_: Iterable[View]) -> list[Target]:
    """Every target of the views, once."""
    return list({target.name: target for _, targets in views_ for target in targets}.values())


def records(entries: Sequence[Entry], target: str) -> list[dict[str, Any]]:
    return [run.targets[target] for entry in entries for run in entry.runs if target in run.targets]


def headline(record: dict[str, Any]) -> str:
    """The figure of `languages`."""
    return TO_OTHER if TO_OTHER in record["scores"] else str(record["metric"])


def in_cell(record: dict[str, Any]) -> list[str]:
    """The figures of a cell of the table: F1 and EM for question answering, else the headline."""
    return ["f1", "em"] if "em" in record["scores"] else [headline(record)]


def wanted(target: Target, suite: str, found: Sequence[dict[str, Any]]) -> list[str]:
    """The languages that a suite asks for; where it names none (the toy world), all that there are."""
    return sorted(target.of_suite(suite) or {code for record in found for code in record["languages"]})


def shared(found: Sequence[dict[str, Any]], codes: Iterable[str]) -> list[str]:
    """Those of `codes` that every record has."""
    return [code for code in codes if all(code in record["languages"] for record in found)]


def of_languages(record: dict[str, Any], codes: Sequence[str], figure: str) -> float:
    """Unweighted mean of a figure over languages, at least one."""
    if figure == headline(record):
        return sum(record["languages"][code] for code in codes) / len(codes)
    return sum(record["details"][code][figure] for code in codes) / len(codes)


def value(entry: Entry, target: str, codes: Sequence[str], figure: str) -> Value | Lacking:
    """An entry's mean over `codes`, which all its records of `target` have."""
    lacking = not_run(entry, target)
    if lacking is not None:
        return lacking
    found = records([entry], target)
    if not codes:
        return "no language that all runs have"
    if any(figure not in record["scores"] for record in found):
        return f"no {label(figure)} in its scores.json"
    return over_seeds([of_languages(record, codes, figure) for record in found])


def of_language(entry: Entry, target: str, code: str, name: str) -> Value | Lacking:
    """An entry's figure of one language."""
    lacking = not_run(entry, target)
    if lacking is None:
        without = [run for run in entry.runs if code not in run.targets[target]["languages"]]
        if without:
            whose = "" if len(without) == len(entry.runs) else " in some seeds"
            lacking = f"no data: this language was not in the test data{whose}"
    return lacking if lacking is not None else value(entry, target, [code], name)


def over_seeds(values: Sequence[float]) -> Value:
    return Value(**aggregate.interval(values))


def not_run(entry: Entry, target: str) -> Lacking | None:
    """Why an entry has no figure of a target, or None if it has; all seeds must have it."""
    reason = why_not_run(entry, target)
    if reason is None:
        return None
    without = [str(run.scores["name"]) for run in entry.runs if target not in run.targets]
    whom = "" if len(without) == len(entry.runs) else f" for {', '.join(without)}"
    return f"not run{whom}: {reason}"


def why_not_run(entry: Entry, target: str) -> str | None:
    """The reasons of `not_run` alone."""
    without = [run for run in entry.runs if target not in run.targets]
    return "; ".join(dict.fromkeys(_reason(run, target) for run in without)) or None


def _reason(run: Run, target: str) -> str:
    if target in run.scores["not_run"]:
        return str(run.scores["not_run"][target])
    suite = str(run.scores["suite"])
    if target in [one.name for one in resolve_suite(suite)[1]]:
        return "not finished yet; the same evaluation goes on where it stopped"
    return f"not among what was asked for (--suite {suite})"


def average(entry: Entry, view: View, group: str | None = None) -> Value | Lacking:
    """The average of a suite, or of one of its groups, over all targets with all their languages."""
    suite, targets = view
    if suite not in OFFICIAL:
        return f"no average: defined for {', '.join(OFFICIAL)} alone"
    each = [aggregate.average(run.scores, suite, targets) for run in entry.runs]
    missing: dict[str, str] = {}
    for one in each:
        for name, lack in one["missing"].items():
            if group is None or name in one["groups"][group]["targets"]:
                missing[name] = lack
    if missing:
        absent = [name for name, lack in missing.items() if lack == "not run"]
        parts = [f"{', '.join(absent)} not run"] if absent else []
        for name, lack in missing.items():
            if lack != "not run":
                codes = lack.removeprefix("without ").split()  # all of them stand at the head of the target's column
                parts.append(f"{name} {lack}" if len(codes) <= _NAMED else f"{name} without {len(codes)} languages")
        return f"no average: {'; '.join(parts)}"
    scores = [one["score"] if group is None else one["groups"][group]["score"] for one in each]
    return over_seeds(scores)


def by_language(entries: Sequence[Entry], target: str) -> dict[str, list[Value | Lacking]]:
    """{language: each entry's headline figure}, in alphabetical order."""
    found = records(entries, target)
    figure = headline(found[0])
    rows: dict[str, list[Value | Lacking]] = {}
    for code in sorted({code for record in found for code in record["languages"]}):
        rows[code] = [of_language(entry, target, code, figure) for entry in entries]
    return rows


def by_class(
    entries: Sequence[Entry], targets: Sequence[Target], kind: str
) -> dict[str, tuple[list[Value | Lacking], list[str]]]:
    """{family or script: (each entry's value, the languages)} without English, which the targets are trained in.

    kind: "family" or "script". A value is the mean over targets of the mean over the class's languages, of the
    headline figure, over the languages that all entries have; an entry without one of the targets has none.
    """
    cells: dict[str, dict[str, list[str]]] = {}
    for target in targets:
        found = records(entries, target.name)
        for code in shared(found, sorted(found[0]["languages"])):
            if code != "en":
                name = str(getattr(language(code), kind))
                cells.setdefault(name, {}).setdefault(target.name, []).append(code)
    return {
        name: (
            [_of_class(entry, columns) for entry in entries],
            sorted({code for codes in columns.values() for code in codes}),
        )
        for name, columns in sorted(cells.items())
    }


def _of_class(entry: Entry, columns: dict[str, list[str]]) -> Value | Lacking:
    """`columns`: the languages of each target."""
    lacking = [why for target in columns if (why := not_run(entry, target)) is not None]
    if lacking:
        return lacking[0]
    each = []
    for run in entry.runs:
        found = [(run.targets[target], codes) for target, codes in columns.items()]
        each.append(sum(of_languages(record, codes, headline(record)) for record, codes in found) / len(found))
    return over_seeds(each)
