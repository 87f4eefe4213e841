"""Differences between entries with the intervals of `eval/report/statistics.py`, from the files of all outcomes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from eval.metrics import items
from eval.metrics.items import Outcomes
from eval.report.compare import Comparison, View, headline, title
from eval.report.load import Entry, Run
from eval.report.statistics import Estimate, Interval, estimate, of_items
from eval.report.tables import Cell, Table, head, number, row, signed
from eval.suites import Target


@dataclass(frozen=True)
class Difference:
    """of: the target's; languages: of each language."""

    of: Estimate
    languages: dict[str, Estimate]


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
) -> Difference | None:
    """`second` less `first` in the mean of a metric over `codes`, which all runs have; None without the same items.

    `paired`: run i of both has the same seed; otherwise there is a seed variance on either side.
    """
    each = outcomes_of([*first, *second], target, codes)
    sides = range(len(first)), range(len(first), len(each))

    def between(some: Sequence[str]) -> Estimate | None:
        scores = of_items(each, metric, some)
        return None if scores is None else estimate(scores, *sides, paired=paired)

    whole, languages = between(codes), {code: found for code in codes if (found := between([code])) is not None}
    return None if whole is None else Difference(whole, languages)


def outcomes_of(runs: Sequence[Run], target: str, codes: Sequence[str], noise: str = "") -> list[dict[str, Outcomes]]:
    """By run and language, with this noise in the queries; a run without its items lacks them."""
    name, found = f"{target}~{noise}" if noise else target, []
    for run in runs:
        assert run.folder is not None
        fingerprint = run.targets[target]["fingerprint"]
        read = {code: items.read(run.folder, name, code, fingerprint) for code in codes}
        found.append({code: one for code, one in read.items() if one is not None})
    return found


def of_view(comparison: Comparison, view: View) -> Differences:
    """Each headline's difference from the first entry, over the languages that all entries have."""
    found = {}
    for entry, target in _scored(comparison, view):
        if codes := comparison.shared(target.name, comparison.wanted(target, view[0])):
            metric = headline(comparison.records(target.name)[0])
            one, other, paired = matched(comparison.entries[0], entry)
            if (differs := difference(one, other, target.name, metric, codes, paired)) is not None:
                found[entry.name, target.name] = differs
    return found


def _scored(comparison: Comparison, view: View) -> Iterator[tuple[Entry, Target]]:
    """Entries but the first, and the targets that both have scores of."""
    first, *others = comparison.entries
    for entry, target in product(others, view[1]):
        if not any(comparison.not_run(some, target.name) for some in (first, entry)):
            yield entry, target


def not_compared(comparison: Comparison, view: View, found: Differences) -> str:
    """A sentence on the differences that `found` lacks although both entries have scores; "" if there are none."""
    scored = _scored(comparison, view)
    lacking = [f"{entry.name} on {target.name}" for entry, target in scored if (entry.name, target.name) not in found]
    if not lacking:
        return ""
    return f"Not compared, since not all runs have the same items beside their scores: {', '.join(lacking)}."


def difference_table(comparison: Comparison, view: View, found: Differences) -> Table:
    """Rows: entries but the first, and their targets, of which all runs have the items beside their scores."""
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
    note = (table.note("one seed: does not cover run-to-run variation"),) if one.seeds == 1 else ()
    crossed = Cell((spoken(one.interval),), notes=note)
    return row(signed(one.difference), crossed, student, str(one.seeds), number(one.visible), one.verdict(margin))


def spoken(interval: Interval, decimals: int = 1) -> str:
    """[-0.6, +1.5]"""
    return f"[{signed(interval[0], decimals)}, {signed(interval[1], decimals)}]"
