"""Alignment scores (`python -m eval align`) in the report: layer x language heat maps, and means by layer.

Read is the align.json beside a run's scores.json; it may hold several encoders, known by the fingerprint of their
weights. Definitions of the scores are in `measures.py`. Every one depends on n, the number of pairs, which stands in
its name there ("mexa@1000") and in the captions here.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.metrics.aggregate import TO_ENGLISH, TO_OTHER
from eval.report import plots, tables
from eval.report.compare import Lacking, Value, over_seeds
from eval.report.inputs import Entry, Run
from eval.report.plots import Plot
from eval.report.tables import Table


@dataclass(frozen=True)
class Measure:
    """`names`: the scores of align.json whose mean is shown; `percent`: colours begin at 0; `low`: lower is better."""

    key: str
    title: str
    names: tuple[str, ...]
    percent: bool = False
    low: bool = False
    places: int = 1


MEASURES = (
    Measure("top1", "top-1, mean of both directions, in percent", (f"top1_{TO_OTHER}", f"top1_{TO_ENGLISH}"), True),
    Measure(
        "centred", "top-1 with each language's mean taken off, in percent",
        (f"centred_{TO_OTHER}", f"centred_{TO_ENGLISH}"), True,
    ),
    Measure("mexa", "MEXA, in percent", ("mexa",), True),
    Measure("margin", "ratio margin", ("margin",), places=3),
    Measure("cka", "linear CKA, debiased", ("cka",), places=3),
    Measure("anc", "ANC, signed", ("anc",), places=3),
    Measure("rank_distance", "rank distance, in places, lower is better", ("rank_distance",), low=True),
)  # fmt: skip


def aligned(entry: Entry) -> bool:
    """Whether all of its runs have alignment scores."""
    return all(run.alignment is not None for run in entry.runs)


def layers(entries: Sequence[Entry]) -> list[int]:
    """The layers that any entry has."""
    return sorted({layer for entry in entries for run in entry.runs for layer in _of(run)["layers"]})


def languages(entries: Sequence[Entry], everyone: bool) -> list[str]:
    """The languages that any, or every, run has, in alphabetical order."""
    each = [set(_of(run)["languages"]) for entry in entries for run in entry.runs]
    return sorted(set.intersection(*each) if everyone else set.union(*each))


def _of(run: Run) -> dict[str, Any]:
    assert run.alignment is not None
    return run.alignment


def score(run: Run, measure: Measure, layer: int, code: str, which: str = "score") -> float | None:
    """One score of one language; `which`: "score", or "random" for the control over wrong pairs. None: not there."""
    one = run.alignment["languages"].get(code) if run.alignment is not None else None
    cells = one["layers"].get(str(layer)) if one is not None else None
    if one is None or cells is None:
        return None
    numbers = [cells[name][which] for name in (f"{name}@{one['n']}" for name in measure.names) if name in cells]
    there = [number for number in numbers if number is not None]
    return statistics.fmean(there) if len(there) == len(measure.names) else None


def mean(entry: Entry, measure: Measure, layer: int, codes: Sequence[str], which: str = "score") -> Value | Lacking:
    """An entry's mean over languages at one layer."""
    if not codes:
        return "no language that all runs have"
    each = []
    for run in entry.runs:
        found = [score(run, measure, layer, code, which) for code in codes]
        there = [one for one in found if one is not None]
        if len(there) < len(codes):
            lacking = [code for code, one in zip(codes, found, strict=True) if one is None]
            return f"not defined: no score at layer {layer} for {' '.join(lacking)}"
        each.append(statistics.fmean(there))
    return over_seeds(each)


def table(entries: Sequence[Entry], measure: Measure) -> Table:
    """Rows: layers, embeddings as 0; columns: each entry's mean over the shared languages, and over wrong pairs."""
    codes = languages(entries, everyone=True)
    caption = f"{measure.title}: mean over {len(codes)} languages by layer"
    result = Table(caption, tables.texts("layer"), [], long=True, places=measure.places, low=measure.low)
    result.header += [tables.head(entry) for entry in entries] + tables.texts("wrong pairs")
    for layer in layers(entries):
        values = [[mean(entry, measure, layer, codes)] for entry in entries]
        control = tables.figures(result, [mean(entries[0], measure, layer, codes, "random")], None)
        result.rows.append([*tables.texts(str(layer)), *tables.across(result, values), control])
    return result


def heat_maps(entries: Sequence[Entry], measure: Measure) -> list[Plot]:
    """One map of layers x languages per entry, all with the same rows, columns and colours."""
    rows, columns = layers(entries), languages(entries, everyone=False)
    grids = []
    for entry in entries:
        cells = [[mean(entry, measure, layer, [code]) for code in columns] for layer in rows]
        grids.append([[cell.mean if isinstance(cell, Value) else None for cell in row] for row in cells])
    numbers = [number for grid in grids for row in grid for number in row if number is not None]
    low, high = (0.0 if measure.percent else min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    sizes = sorted(
        {_of(run)["languages"][code]["n"] for e in entries for run in e.runs for code in _of(run)["languages"]}
    )
    pairs = f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}"
    return [
        plots.heat(
            f"align_{measure.key}_{number}", f"{entry.name}: {measure.title}, by layer and language ({pairs})",
            [str(layer) for layer in rows], columns, grid, (low, high), f".{measure.places}f", measure.low,
        )
        for number, (entry, grid) in enumerate(zip(entries, grids, strict=True), start=1)
    ]  # fmt: skip
