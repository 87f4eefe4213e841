"""The tables of a report, as rows of cells that the page, Markdown and TensorBoard read alike.

    table = main_table(comparison, ("xtreme", targets))
    table.rows[1][3].text()       # "76.1 / 60.3 (+1.2 / +0.4)"

The first cell of a row is its head. No cell is empty: a missing result is named in the cell and explained in a note.
"""

import functools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from common.languages import language
from data_prep.datasets import TEST_SETS
from eval.metrics import aggregate
from eval.report.compare import Classes, Comparison, Value, View, headline, title
from eval.report.load import Entry, Run
from eval.suites import GROUPS, OFFICIAL, Target
from tasks.registry import TASK_TYPES


@dataclass(frozen=True)
class Cell:
    """values: numbers, or one text. halves: of their intervals, or (). deltas: from the baseline, or (). notes: numbers
    of the table's notes. title: what an abbreviation means.
    """

    values: tuple[str, ...]
    halves: tuple[str, ...] = ()
    deltas: tuple[str, ...] = ()
    notes: tuple[int, ...] = ()
    title: str = ""

    def text(self, between: str = " / ") -> str:
        halves = self.halves or ("",) * len(self.values)
        text = between.join(f"{v} ± {h}" if h else v for v, h in zip(self.values, halves, strict=True))
        if self.deltas:
            text += f" ({' / '.join(self.deltas)})"
        return text + "".join(f" [{number}]" for number in self.notes)


@dataclass
class Table:
    """Header and rows of the same length.

    style: class in style.css: figures; long, of so many rows that each is one line; texts, of sentences; listed, with a
    list in the last column. foot: how many of the last rows sum up the others. decimals: of the numbers. low: lower is
    better.
    """

    caption: str
    header: list[Cell]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    style: str = "figures"
    foot: int = 0
    decimals: int = 1
    low: bool = False

    def note(self, text: str) -> int:
        """The number of a note, from 1; the same text has one number."""
        if text not in self.notes:
            self.notes.append(text)
        return self.notes.index(text) + 1

    def cells(self, *metrics: Sequence[Value]) -> list[Cell]:
        """A cell per entry with its value of each metric, and how they differ from the first entry's."""
        return [self._cell(values, metrics, compared=i > 0) for i, values in enumerate(zip(*metrics, strict=True))]

    def _cell(self, values: Sequence[Value], metrics: Sequence[Sequence[Value]], compared: bool) -> Cell:
        if reasons := dict.fromkeys(value.missing for value in values if value.missing):
            words = dict.fromkeys(reason.split(":")[0].split(" for ")[0] for reason in reasons)
            return Cell((", ".join(words),), notes=tuple(self.note(reason) for reason in reasons))
        halves = tuple("" if value.half is None else number(value.half, self.decimals) for value in values)
        pairs = [(value, metric[0]) for value, metric in zip(values, metrics, strict=True)]
        deltas: tuple[str, ...] = ()
        if compared and not any(first.missing for _, first in pairs):
            deltas = tuple(signed(value.mean - first.mean, self.decimals) for value, first in pairs)
        shown = tuple(number(value.mean, self.decimals) for value in values)
        return Cell(shown, halves if any(halves) else (), deltas)


def number(value: float, decimals: int = 1, sign: str = "") -> str:
    """sign: "+" for a difference."""
    return f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"  # never -0.0


signed = functools.partial(number, sign="+")


def row(*cells: Cell | str) -> list[Cell]:
    return [Cell((cell,)) if isinstance(cell, str) else cell for cell in cells]


def head(entry: Entry) -> Cell:
    """The name of an entry, at the head of its row or column."""
    names = ", ".join(dict.fromkeys(run.name for run in entry.runs))
    return Cell((entry.name,), title=names if len(entry.runs) > 1 else str(entry.runs[0].scores["encoder"]))


def heads(comparison: Comparison) -> list[Cell]:
    return [head(entry) for entry in comparison.entries]


# The table of the paper


def main_table(comparison: Comparison, view: View) -> Table:
    """Rows: entries; columns: targets, and for an official suite the average. The last row is chance."""
    suite, targets = view
    table = Table(f"{suite}: mean over languages, in percent", [], foot=1)
    chance = Cell(("chance",), title="one guess among n, or always the commonest label")
    columns = [row("run", *heads(comparison), chance)]
    for target in targets:
        found = comparison.records(target.name)
        asked = comparison.wanted(target, suite)
        codes = comparison.shared(target.name, asked)
        if found:
            # F1 and EM for question answering, else the headline
            metrics = ["f1", "em"] if "em" in found[0]["scores"] else [headline(found[0])]
            heading = " / ".join(title(found[0], metric) for metric in metrics)
        else:
            metrics, heading = ["score"], "no result"
        notes = column_notes(comparison, target, asked, codes) if found else []
        first = Cell((target.name, heading), notes=tuple(table.note(text) for text in notes))
        cells = table.cells(*(comparison.values(target.name, metric, codes) for metric in metrics))
        columns.append(row(first, *cells, _chance(found[0], codes) if found else "none"))
    if suite in OFFICIAL:
        columns.append(row("average", *table.cells(comparison.average(view)), "none"))
    table.header, *table.rows = (list(cells) for cells in zip(*columns, strict=True))
    return table


def _chance(record: dict[str, Any], codes: Sequence[str]) -> str:
    if record["chance"] is None:
        return "none"
    each = [record["details"][code]["chance"] for code in codes]
    return number(statistics.fmean(each) if each else record["chance"])


def column_notes(comparison: Comparison, target: Target, asked: Sequence[str], codes: Sequence[str]) -> list[str]:
    """What a reader must know before comparing the metrics of a target."""
    notes = []
    if absent := [code for code in asked if code not in codes]:
        notes.append(f"over {len(codes)} of {len(asked)} languages: not all runs have data for {' '.join(absent)}")
    notes += run_notes(comparison.runs, target)
    if differing := aggregate.differing(comparison.records(target.name)):
        names = ", ".join(key.replace("_", " ") for key in differing)
        notes.append(f"the runs were scored with different settings: {names} (see Protocol)")
    return notes


def run_notes(runs: Sequence[Run], target: Target) -> list[str]:
    """The same of each run by itself: on how many rows, by what training, on which rows trained. One has the target."""
    notes = []
    found = [run.targets[target.name] for run in runs if target.name in run.targets]
    if limits := {str(record["protocol"]["n"]) for record in found if record["protocol"].get("n", "all") != "all"}:
        notes.append(f"{', '.join(sorted(limits))} rows of each language only")
    if untrained := [record for record in found if record["protocol"].get("training_on_target") == "none"]:
        some = "" if len(untrained) == len(found) else "some runs "
        by = "by an intermediate head, " if untrained[0]["protocol"]["head"] else ""
        notes.append(f"{some}{by}without target training")
    notes += dict.fromkeys(sentence for record in found for sentence in record.get("supplied", ()))
    return notes + overlap_notes(runs, target)


def overlap_notes(runs: Sequence[Run], target: Target) -> list[str]:
    """A sentence for each way in which datasets that may have the target's rows were trained on.

    Those are of its task type, or pairs, which are made of any (SQuAD's questions, NLI's sentences). None for targets
    that training data cannot be checked against.
    """
    name = {"lareqa": "xquad", "mlqar": "mlqa"}.get(target.name, target.name)  # XQuAD-R and MLQA-R
    if name not in TEST_SETS or TEST_SETS[name].kind not in TASK_TYPES:
        return []
    notes: dict[str, list[str]] = {}  # what was done -> runs
    for run in runs:
        if target.name in run.targets:
            stages = run.targets[target.name]["protocol"].get("training", ())
            overlaps = [run.overlap, *(stage.get("overlap", {}) for stage in stages)]
            data = [(d, a) for one in overlaps for d, a in one.items() if a["kind"] in ("pair", TEST_SETS[name].kind)]
            unchecked = dict.fromkeys(dataset for dataset, about in data if name not in about["against"])
            what = f"trained on {', '.join(unchecked)}, not checked for rows of this test (--against)"
            left = {dataset: count for dataset, about in data if (count := about["left_out"].get(name, 0))}
            without = [f"trained without {count:,} rows of {d} that this test has too" for d, count in left.items()]
            for text in [what] * bool(unchecked) + without:
                notes.setdefault(text, []).append(run.name)
    return [f"{', '.join(dict.fromkeys(names))}: {text}" for text, names in notes.items()]


def suite_tables(comparison: Comparison, view: View) -> list[Table]:
    """Targets and average of a suite and, where it has groups, their averages."""
    return [main_table(comparison, view), *([group_table(comparison, view)] if view[0] in GROUPS else ())]


def group_table(comparison: Comparison, view: View) -> Table:
    """Averages of the groups of a suite that has groups."""
    groups = GROUPS[view[0]]
    table = Table(f"{view[0]}: averages of the groups", row("run", *groups))
    columns = [heads(comparison), *(table.cells(comparison.average(view, group)) for group in groups)]
    table.rows = [list(cells) for cells in zip(*columns, strict=True)]
    return table


# Languages


def language_table(comparison: Comparison, target: str, metrics: Sequence[str]) -> Table:
    """Rows: languages in alphabetical order, then means; columns: entries, each with the metrics."""
    found = comparison.records(target)
    heading = " / ".join(title(found[0], metric) for metric in metrics)
    has_chance = any(record["chance"] is not None for record in found)
    header = row("language", "n", *heads(comparison), *["chance"] * has_chance)
    table = Table(f"{target}: {heading} by language, in percent", header, style="long")

    def add(first: Cell | str, n: str, codes: Sequence[str], chance: str) -> None:
        cells = table.cells(*(comparison.values(target, metric, codes) for metric in metrics))
        table.rows.append(row(first, n, *cells, *[chance] * has_chance))

    for code in comparison.languages(target):
        details = [record["details"][code] for record in found if code in record["details"]]
        sizes = " | ".join(dict.fromkeys(f"{detail['n']:.0f}" for detail in details))
        chance = number(details[0]["chance"]) if has_chance else ""
        add(Cell((code,), title=language(code).name), sizes, [code], chance)
    codes = comparison.shared(target)
    foreign = [code for code in codes if code != "en"]
    table.foot = 1
    add(f"mean of {len(codes)}", "all", codes, _chance(found[0], codes))
    if foreign and len(foreign) < len(codes):
        table.foot = 2
        add("mean without en", "all", foreign, _chance(found[0], foreign))
    return table


def class_table(comparison: Comparison, classes: Classes, kind: str) -> Table:
    """The metrics of the bars by family or script."""
    table = Table(f"By {kind}, in percent", row(kind, *heads(comparison), "languages"), style="long listed")
    for name, (values, codes) in classes.items():
        table.rows.append(row(name, *table.cells(values), " ".join(codes)))
    return table


def rank_distance_table(comparison: Comparison, target: str) -> Table | None:
    """LAReQA's rank distance; None for a target without one."""
    caption = "Rank distance: places between the first and the last translation of an answer; lower is better"
    table = Table(caption, row("run", "places", "sentences in the pool"), low=True)
    ranked = [(e, [run.targets[target] for run in e.runs if target in run.targets]) for e in comparison.entries]
    ranked = [(e, some) for e, some in ranked if some and all("rank_distance" in record for record in some)]
    if not ranked:
        return None
    values = [Value(**aggregate.interval([record["rank_distance"] for record in some])) for _, some in ranked]
    pools = [" | ".join(dict.fromkeys(str(record["pool"]) for record in some)) for _, some in ranked]
    comparable = ranked[0][0] == comparison.entries[0] and len(set(pools)) == 1
    cells = table.cells(values) if comparable else [table.cells([value])[0] for value in values]
    table.rows = [row(head(e), cell, pool) for (e, _), cell, pool in zip(ranked, cells, pools, strict=True)]
    return table


# What was done


# BUCC's threshold, by language: which it is, the split that it was set on, the split that was scored; and of which
# questions the rank distance is, where these are not all.
_MINED = ("threshold", "threshold_from", "scored_on", "rank_distance_over")


def protocol_table(comparison: Comparison, target: str) -> Table:
    """One row per setting; entries that differ stand one after another in it."""
    said: dict[str, dict[str, list[str]]] = {}  # setting -> its value in words -> the entries with it
    for entry in comparison.entries:
        for run in entry.runs:
            if target in run.targets:
                record = run.targets[target]
                mined = {key: record[key] for key in _MINED if key in record}
                settings = {**record["protocol"], **mined, "truncated": record["truncated"] or "none"}
                if "training" in settings:
                    settings["training"] = {str(i): stage for i, stage in enumerate(settings["training"], start=1)}
                for key, value in pd.json_normalize(settings, sep=" ").to_dict("records")[0].items():
                    whose = run.name if str(key).split()[-1] in aggregate.DRAWN else entry.name
                    said.setdefault(str(key).replace("_", " "), {}).setdefault(_in_words(value), []).append(whose)
    found = comparison.records(target)
    table = Table(f"{target}: protocol", row("setting", "value"), style="texts")
    for key, values in said.items():
        everyone = [len(whose) for whose in values.values()] == [len(found)]
        each = [v if everyone else f"{', '.join(dict.fromkeys(whose))}: {v}" for v, whose in values.items()]
        table.rows.append(row(key, "; ".join(each)))
    table.rows += [row("passed over", note) for note in dict.fromkeys(n for record in found for n in record["notes"])]
    return table


def _in_words(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def runs_table(comparison: Comparison) -> Table:
    """Which run is in which row, its seed and its encoder."""
    table = Table("Runs", row("run", "of", "seed", "encoder", "weights (sha256)"), style="texts")
    for entry in comparison.entries:
        for run in entry.runs:
            seed = "not from a run" if run.config is None else str(run.config["seed"])
            table.rows.append(row(run.name, entry.name, seed, run.scores["encoder"], run.scores["fingerprint"][:12]))
    return table
