"""Differences between entries with the intervals of `eval/report/statistics.py`, from the files of all outcomes.

Without those files (scores of an earlier version) only Student's interval over seeds is left, which is for these test
items alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.metrics import items
from eval.metrics.items import Outcomes
from eval.report.compare import Comparison, View, headline, title
from eval.report.load import Entry, Run
from eval.report.statistics import Estimate, Interval, Scores, estimate, of_items
from eval.report.tables import Cell, Table, head, number, row

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


def matched(first: Entry, second: Entry) -> tuple[Sequence[Run], Sequence[Run], bool]:
    """The runs of both, seed by seed where both have the same seeds, and whether that is so.

    A single run, as of an encoder that was not trained, is what every seed of the other entry is compared with.
    """
    by_seed = {run.seeds: run for run in second.runs}
    sizes = len(first.runs), len(second.runs)
    if 1 in sizes:
        return first.runs * (max(sizes) // sizes[0]), second.runs * (max(sizes) // sizes[1]), True
    if {run.seeds for run in first.runs} != by_seed.keys():
        return first.runs, second.runs, False
    return first.runs, [by_seed[run.seeds] for run in first.runs], True


def difference(
    first: Sequence[Run], second: Sequence[Run], target: str, metric: str, codes: Sequence[str], paired: bool = True
) -> Difference:
    """`second` less `first` in the mean of a metric over `codes`, which all runs have.

    `paired`: run i of both has the same seed; otherwise there is a seed variance on either side.
    """
    runs = [*first, *second]
    sides = range(len(first)), range(len(first), len(runs))
    each = outcomes_of(runs, target, codes)

    def between(some: Sequence[str]) -> tuple[Estimate, bool]:
        scores, crossed = scores_of(runs, each, target, metric, some)
        return estimate(scores, *sides, paired=paired), crossed

    whole, crossed = between(codes)
    return Difference(whole, {code: between([code])[0] for code in codes}, crossed)


Items = list[dict[str, Outcomes]] | None


def scores_of(runs: Sequence[Run], each: Items, target: str, metric: str, codes: Sequence[str]) -> tuple[Scores, bool]:
    """The mean over `codes` of each run, and whether `each` (of `outcomes_of`) gave the covariance; else it is 0."""
    found = None if each is None else of_items([{code: one[code] for code in codes} for one in each], metric)
    if found is not None:
        return found, True
    details = [run.targets[target]["details"] for run in runs]
    values = np.array([np.mean([one[code][metric] for code in codes]) for one in details])
    return Scores(values, np.zeros((len(runs), len(runs))), 0), False


def outcomes_of(runs: Sequence[Run], target: str, codes: Sequence[str], noise: str = "") -> Items:
    """By run and language, with this noise in the queries; None if a run has not all of them."""
    found = []
    for run in runs:
        if run.folder is None:
            return None
        fingerprint = run.targets[target]["fingerprint"]
        name = f"{target}~{noise}" if noise else target
        read = {code: items.read(run.folder, name, code, fingerprint) for code in codes}
        there = {code: one for code, one in read.items() if one is not None}
        if len(there) < len(codes):
            return None
        found.append(there)
    return found


def of_view(comparison: Comparison, view: View) -> Differences:
    """Each headline's difference from the first entry, over the languages that all entries have."""
    suite, targets = view
    first, *others = comparison.entries
    found = {}
    for entry in others:
        for target in targets:
            records = comparison.records(target.name)
            codes = comparison.shared(target.name, comparison.wanted(target, suite))
            if codes and not any(comparison.not_run(some, target.name) for some in (first, entry)):
                metric = headline(records[0])
                one, other, paired = matched(first, entry)
                found[entry.name, target.name] = difference(one, other, target.name, metric, codes, paired)
    return found


def difference_table(comparison: Comparison, view: View, found: Differences) -> Table:
    """Rows: entries but the first, and their targets."""
    columns = ("target", "difference", "95 % crossed", "95 % Student", "seeds", "could have seen", "verdict")
    first = comparison.entries[0].name
    table = Table(f"{view[0]}: differences from {first}, in points", row("run", *columns), style="long")
    by_name = {entry.name: entry for entry in comparison.entries}
    for (entry, target), one in found.items():
        record = comparison.records(target)[0]
        alone = [e.name for e in (comparison.entries[0], by_name[entry]) if len(e.runs) < one.of.seeds]
        note = [table.note(f"{name} is one run: not for another seed of it") for name in alone]
        name = f"{target} {title(record, headline(record))}"
        table.rows.append([head(by_name[entry]), Cell((name,), notes=tuple(note)), *estimate_cells(table, one)])
    return table


def estimate_cells(table: Table, found: Difference, margin: float = 0.5) -> list[Cell]:
    """Difference, crossed interval, Student's, seeds, visible difference, verdict."""
    one = found.of
    student = "one seed" if one.student is None else spoken(one.student)
    if not found.crossed:
        note: tuple[int, ...] = (table.note(NO_ITEMS),)
        known = "none" if one.student is None else number(one.visible)
        verdict = "none" if one.student is None else f"{one.verdict(margin)}, these items"
        crossed = Cell(("no items",), notes=note)
    else:
        known, verdict = number(one.visible), one.verdict(margin)
        note = (table.note("one seed: says nothing about training again"),) if one.seeds == 1 else ()
        crossed = Cell((spoken(one.interval),), notes=note)
    return row(signed(one.difference), crossed, student, str(one.seeds), known, verdict)


def signed(value: float, decimals: int = 1) -> str:
    """A difference with its sign."""
    return f"{round(value, decimals) + 0.0:+.{decimals}f}"  # never -0.0


def spoken(interval: Interval, decimals: int = 1) -> str:
    """[-0.6, +1.5]"""
    return f"[{signed(interval[0], decimals)}, {signed(interval[1], decimals)}]"
