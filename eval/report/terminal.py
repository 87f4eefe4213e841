"""The overview as plain text: a line per target and metric, below it what was not run and what they leave out."""

from collections.abc import Sequence

from common.table import table
from eval.report.compare import Comparison, Value, View, headline, title
from eval.report.perturbed import drop_blocks
from eval.report.tables import Table, main_table, number, signed
from eval.suites import OFFICIAL


def overview(comparison: Comparison, view: View) -> str:
    """The targets of a view with aligned columns, differences from the first entry, and notes below."""
    first, *others = (entry.name for entry in comparison.entries)
    columns = [first] + [column for name in others for column in (name, "Δ")]
    header = ["target", "metric", *columns, "chance", "languages"]
    text = table([header, *_rows(comparison, view)], right=range(2, len(header)), rule=True)
    drops = [one for target in view[1] for one in drop_blocks(comparison, target.name) if isinstance(one, Table)]
    return "\n".join([text, *_notes(comparison, view), *map(_plain, drops)])


def _plain(found: Table) -> str:
    cells = [[cell.text() for cell in row] for row in (found.header, *found.rows)]
    return "\n".join(["", found.caption, table(cells, right=range(3, len(found.header)), rule=True), *found.notes])


def _rows(comparison: Comparison, view: View) -> list[list[str]]:
    suite, targets = view
    rows = []
    for target in targets:
        name = target.name
        if not comparison.records(name):
            continue
        record = comparison.records(name)[0]
        asked = comparison.wanted(target, suite)
        codes = comparison.shared(name, asked)
        first = headline(record)
        chance = "–" if record["chance"] is None else number(record["chance"])
        count = str(len(codes)) if len(codes) == len(asked) else f"{len(codes)} of {len(asked)}"
        for metric in dict.fromkeys([first, *record["scores"]]):
            cells = [title(record, metric), *_cells(comparison.values(name, metric, codes))]
            rows.append([name, *cells, chance, count] if metric == first else ["", *cells, "", ""])
        foreign = [code for code in codes if code != "en"]
        if foreign and len(foreign) < len(codes):
            values = comparison.values(name, first, foreign)
            rows.append(["", f"{title(record, first)} without en", *_cells(values), "", ""])
    averages = comparison.average(view)
    if not all(value.missing for value in averages):
        rows.append([f"average {suite}", "", *_cells(averages), "", ""])
    return rows


def _cells(values: Sequence[Value]) -> list[str]:
    """The first value, then each further one with its difference from the first; what is missing is named below."""
    first = values[0]
    cells = [_text(first)]
    for value in values[1:]:
        cells += [_text(value), "–" if value.missing or first.missing else signed(value.mean - first.mean)]
    return cells


def _text(value: Value) -> str:
    if value.missing:
        return "–"
    return number(value.mean) + ("" if value.half is None else f" ± {number(value.half)}")


def _notes(comparison: Comparison, view: View) -> list[str]:
    """The notes of the report's table, each with its targets."""
    table = main_table(comparison, view)
    targets: dict[str, dict[str, None]] = {}
    for heading, *cells in zip(table.header, *table.rows, strict=True):
        for note in (note for cell in (heading, *cells) for note in cell.notes if heading.values != ("average",)):
            targets.setdefault(table.notes[note - 1], {})[heading.values[0]] = None
    lines = [f"{', '.join(names)}: {text}" for text, names in targets.items()]
    if view[0] in OFFICIAL and all(value.missing for value in comparison.average(view)):
        lines.append(f"no average for {view[0]}: it is taken over all of its targets with all of their test data")
    return lines
