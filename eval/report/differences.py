"""Differences between entries with the intervals of `eval/statistics.py`, from the files of every item's outcome.

Without those files (scores of an earlier version) only Student's interval over seeds is left, which is for these test
items alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval import items
from eval.metrics.outcomes import Outcomes
from eval.report.compare import Comparison, View, headline, title
from eval.report.load import Entry, Run
from eval.report.tables import Cell, Table, head, number, row
from eval.statistics import Estimate, Interval, Scores, estimate, of_items

NO_ITEMS = (
    "the runs have no items/ beside their scores, or other items: Student's interval over seeds is for these test items"
    " alone; evaluate again for both"
)


@dataclass(frozen=True)
class Difference:
    """of: the target's; languages: of each language; crossed: whether there are items, else only `student` counts."""

    of: Estimate
    languages: dict[str, Estimate]
    crossed: bool


Differences = dict[tuple[str, str], Difference]  # by entry and target


def difference(first: Entry, second: Entry, target: str, metric: str, codes: Sequence[str]) -> Difference:
    """`second` less `first` in the mean of a metric over `codes`, which all of their runs have.

    Seed by seed where both have the same seeds, otherwise with a seed variance on either side.
    """
    by_seed = [{run.seeds: run for run in entry.runs} for entry in (first, second)]
    single = len(first.runs) == len(second.runs) == 1
    paired = single or by_seed[0].keys() == by_seed[1].keys()
    others = second.runs if single or not paired else [by_seed[1][run.seeds] for run in first.runs]
    runs = [*first.runs, *others]
    sides = range(len(first.runs)), range(len(first.runs), len(runs))
    each = _outcomes(runs, target, codes)

    def between(some: Sequence[str]) -> tuple[Estimate, bool]:
        found = None if each is None else of_items([{code: one[code] for code in some} for one in each], metric)
        scores = found or Scores(_values(runs, target, metric, some), np.zeros((len(runs), len(runs))), 0)
        return estimate(scores, *sides, paired=paired), found is not None

    whole, crossed = between(codes)
    return Difference(whole, {code: between([code])[0] for code in codes}, crossed)


def _outcomes(runs: Sequence[Run], target: str, codes: Sequence[str]) -> list[dict[str, Outcomes]] | None:
    """By run and language; None if a run has not all of them."""
    found = []
    for run in runs:
        if run.folder is None:
            return None
        fingerprint = run.targets[target]["fingerprint"]
        read = {code: items.read(run.folder, target, code, fingerprint) for code in codes}
        there = {code: one for code, one in read.items() if one is not None}
        if len(there) < len(codes):
            return None
        found.append(there)
    return found


def _values(runs: Sequence[Run], target: str, metric: str, codes: Sequence[str]) -> np.ndarray:
    return np.array([np.mean([run.targets[target]["details"][code][metric] for code in codes]) for run in runs])


def of_view(comparison: Comparison, view: View) -> Differences:
    """Each headline's difference from the first entry, over the languages that all entries have."""
    suite, targets = view
    first, *others = comparison.entries
    found = {}
    for entry in others:
        for target in targets:
            records = comparison.records(target.name)
            codes = comparison.shared(target.name, comparison.wanted(target, suite))
            if codes and not any(comparison.not_run(one, target.name) for one in (first, entry)):
                metric = headline(records[0])
                found[entry.name, target.name] = difference(first, entry, target.name, metric, codes)
    return found


def difference_table(comparison: Comparison, view: View, found: Differences) -> Table:
    """Rows: entries but the first, and their targets."""
    columns = ("target", "difference", "95 % crossed", "95 % Student", "seeds", "could have seen", "verdict")
    first = comparison.entries[0].name
    table = Table(f"{view[0]}: differences from {first}, in points", row("run", *columns), style="long")
    heads = {entry.name: head(entry) for entry in comparison.entries}
    for (entry, target), one in found.items():
        record = comparison.records(target)[0]
        name = f"{target} {title(record, headline(record))}"
        table.rows.append([heads[entry], Cell((name,)), *estimate_cells(table, one)])
    return table


def estimate_cells(table: Table, found: Difference) -> list[Cell]:
    """Difference, crossed interval, Student's, seeds, visible difference, verdict."""
    one = found.of
    student = "one seed" if one.student is None else spoken(one.student)
    if not found.crossed:
        note: tuple[int, ...] = (table.note(NO_ITEMS),)
        known = "none" if one.student is None else number(one.visible)
        verdict = "none" if one.student is None else f"{one.verdict()}, these items"
        crossed = Cell(("no items",), notes=note)
    else:
        known, verdict = number(one.visible), one.verdict()
        note = (table.note("one seed: says nothing about training again"),) if one.seeds == 1 else ()
        crossed = Cell((spoken(one.interval),), notes=note)
    return row(signed(one.difference), crossed, student, str(one.seeds), known, verdict)


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{round(value, 1) + 0.0:+.1f}"  # never -0.0


def spoken(interval: Interval) -> str:
    """[-0.6, +1.5]"""
    return f"[{signed(interval[0])}, {signed(interval[1])}]"
