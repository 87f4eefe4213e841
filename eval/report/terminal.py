"""The overview as plain text: a line per target and figure, below it what was not run and what figures leave out."""

from collections.abc import Sequence

from eval.report import compare
from eval.report.compare import Lacking, Value, View, title
from eval.report.inputs import Entry, Run, Scores, names_of
from eval.report.tables import column_notes, delta, number
from eval.suites import OFFICIAL


def terminal_table(scores: Sequence[Scores]) -> str:
    """The overview of one call of a suite, one column per encoder."""
    runs = [Run(one) for one in scores]
    entries = [Entry(name, (run,)) for name, run in zip(names_of(runs), runs, strict=True)]
    (view,) = compare.views(entries, everything=False)
    return overview(entries, view)


def overview(entries: Sequence[Entry], view: View) -> str:
    """The targets of a view with aligned columns, differences from the first entry, and notes below."""
    table = [["target", "metric", *_columns(entries), "chance", "languages"], *_rows(entries, view)]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in [*lines, *_notes(entries, view)])


def _columns(entries: Sequence[Entry]) -> list[str]:
    first, *others = (entry.name for entry in entries)
    return [first] + [column for name in others for column in (name, "Δ")]


def _rows(entries: Sequence[Entry], view: View) -> list[list[str]]:
    suite, targets = view
    rows = []
    for target in targets:
        found = compare.records(entries, target.name)
        if not found:
            continue
        asked = compare.wanted(target, suite, found)
        codes = compare.shared(found, asked)
        first = compare.headline(found[0])
        chance = found[0]["chance"]
        count = str(len(codes)) if len(codes) == len(asked) else f"{len(codes)} of {len(asked)}"
        names = [first, *(name for name in found[0]["scores"] if name != first)]
        for name in names:
            values = [compare.value(entry, target.name, codes, name) for entry in entries]
            ends = ["–" if chance is None else number(chance), count] if name == first else ["", ""]
            rows.append([target.name if name == first else "", title(found[0], name), *_cells(values), *ends])
        foreign = [code for code in codes if code != "en"]
        if foreign and len(foreign) < len(codes):
            values = [compare.value(entry, target.name, foreign, first) for entry in entries]
            rows.append(["", f"{title(found[0], first)} without en", *_cells(values), "", ""])
    if suite in OFFICIAL:
        averages = [compare.average(entry, view) for entry in entries]
        if any(isinstance(one, Value) for one in averages):
            rows.append([f"average {suite}", "", *_cells(averages), "", ""])
    return rows


def _cells(values: Sequence[Value | Lacking]) -> list[str]:
    """The first value, then each further one with its difference from the first; what is lacking stands below."""
    first = values[0]
    cells = [_text(first)]
    for value in values[1:]:
        both = isinstance(value, Value) and isinstance(first, Value)
        cells += [_text(value), delta(value.mean, first.mean) if both else "–"]  # type: ignore[union-attr]
    return cells


def _text(value: Value | Lacking) -> str:
    if not isinstance(value, Value):
        return "–"
    return number(value.mean) + ("" if value.half is None else f" ± {number(value.half)}")


def _notes(entries: Sequence[Entry], view: View) -> list[str]:
    suite, targets = view
    reasons: dict[tuple[str, str], list[str]] = {}
    for target in targets:
        for entry in entries:
            why = compare.why_not_run(entry, target.name)
            if why is not None:
                reasons.setdefault((target.name, why), []).append(entry.name)
    grouped: dict[tuple[str, str], list[str]] = {}
    for (name, why), whose in reasons.items():
        whom = "" if len(whose) == len(entries) else f" for {', '.join(whose)}"
        grouped.setdefault((whom, why), []).append(name)
    lines = [f"not run{whom}: {', '.join(names)} ({why})" for (whom, why), names in grouped.items()]
    notes: dict[str, list[str]] = {}
    for target in targets:
        found = compare.records(entries, target.name)
        if found:
            asked = compare.wanted(target, suite, found)
            for text in column_notes(entries, target, asked, compare.shared(found, asked)):
                notes.setdefault(text, []).append(target.name)
    lines += [f"{', '.join(names)}: {text}" for text, names in notes.items()]
    if suite in OFFICIAL and all(isinstance(compare.average(entry, view), str) for entry in entries):
        lines.append(f"no average for {suite}: it is taken over all of its targets with all of their test data")
    return lines
