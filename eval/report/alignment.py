"""Alignment scores (`python -m eval align`) in the report: layer x language heat maps, and means by layer.

Read is the align.json beside a run's scores.json; it may hold several encoders, known by the fingerprint of their
weights. The scores are defined in `eval/alignment/measures.py`. Each depends on n, the number of pairs, which stands
in its name there ("mexa@1000") and in the captions here.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from eval.report.alignment_tables import MEASURES, Measure, Result, measured, pairs, short_names
from eval.report.compare import Value, intervals
from eval.report.load import Entry, Run
from eval.report.plots import Plot, heat
from eval.report.tables import Table, head, row


def aligned(entry: Entry) -> bool:
    """Whether all of its runs have alignment scores."""
    return all(run.alignment is not None for run in entry.runs)


def _encoders(entries: Sequence[Entry]) -> list[Result]:
    """What align.json has of each run."""
    return [run.alignment for entry in entries for run in entry.runs if run.alignment is not None]


def _scores(entries: Sequence[Entry], measure: Measure, which: str = "score") -> pd.DataFrame:
    """`measured` of every run: (layer, language) x (number of the entry, number of its run)."""
    return pd.DataFrame(
        {
            (i, k): measured(run.alignment, measure, which)
            for i, entry in enumerate(entries)
            for k, run in enumerate(entry.runs)
            if run.alignment is not None
        }
    ).sort_index()


def _means(scores: pd.DataFrame, layer: int, codes: Sequence[str]) -> list[Value]:
    """Each entry's mean over languages at one layer."""
    part = scores.loc[layer].reindex(codes)

    def why(i: int) -> str:
        if not codes:
            return "no language that all runs have"
        lacking = part.index[part[i].isna().any(axis=1)]
        return f"not defined: no score at layer {layer} for {' '.join(lacking)}"

    return intervals(part.mean(skipna=False), why)


def layer_table(entries: Sequence[Entry], measure: Measure) -> Table:
    """Rows: layers, embeddings as 0; columns: each entry's mean over the shared languages, and over wrong pairs."""
    codes = sorted(set.intersection(*(set(one["languages"]) for one in _encoders(entries))))
    header = row("layer", *(head(entry) for entry in entries), "wrong pairs")
    caption = f"{measure.title}: mean over {len(codes)} languages by layer"
    table = Table(caption, header, style="long", decimals=measure.decimals, low=measure.low)
    scores, control = _scores(entries, measure), _scores(entries[:1], measure, "random")
    for layer in scores.index.unique("layer"):
        cells = [*table.cells(_means(scores, layer, codes)), *table.cells(_means(control, layer, codes))]
        table.rows.append(row(str(layer), *cells))
    return table


def heat_maps(entries: Sequence[Entry], measure: Measure) -> list[Plot]:
    """One map of layers x languages per entry, all with the same rows, columns and colours."""
    scores = _scores(entries, measure)
    grids = [scores[i].mean(axis=1, skipna=False).unstack("language") for i in range(len(entries))]
    every = pd.concat(grids)
    lowest, highest = (0.0, 1.0) if every.isna().all(axis=None) else (every.min(axis=None), every.max(axis=None))
    limits = (0.0 if measure.percent else lowest, highest)
    n = pairs(_encoders(entries))
    return [
        heat(
            f"align_{measure.key}_{number}", f"{entry.name}: {measure.title}, by layer and language ({n})",
            grid, limits, f".{measure.decimals}f", measure.low,
        )
        for number, (entry, grid) in enumerate(zip(entries, grids, strict=True), start=1)
    ]  # fmt: skip


def draw(encoders: Sequence[Result], folder: Path) -> dict[Path, str]:
    """Writes `heat_maps` of the encoders of one align.json into `folder`; returns {path: caption}."""
    entries = [Entry(n, (Run({}, alignment=e),)) for n, e in zip(short_names(encoders), encoders, strict=True)]
    plots = {folder / f"{plot.name}.png": plot for measure in MEASURES for plot in heat_maps(entries, measure)}
    for path, plot in plots.items():
        path.write_bytes(plot.png)
    return {path: plot.caption for path, plot in plots.items()}
