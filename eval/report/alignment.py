"""Alignment scores (`python -m eval align`): a table for the terminal, and heat maps and means by layer in the report.

    print(table(result))      # `result` is what align.json holds

The report reads the align.json beside a run's scores.json; it may hold several encoders, known by the fingerprint of
their weights. The scores are defined in `eval/alignment/measures.py`. Each depends on n, the number of pairs, which
stands in its name there ("mexa@1000") and in the captions here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from eval.report.compare import Value, intervals
from eval.report.load import Entry, Run, names_of
from eval.report.plots import Plot, heat
from eval.report.tables import Table, head, number, row

Result = dict[str, Any]


@dataclass(frozen=True)
class Measure:
    """names: the scores of align.json whose mean is shown. percent: colours begin at 0. low: lower is better."""

    key: str
    title: str
    names: tuple[str, ...]
    percent: bool = False
    low: bool = False
    decimals: int = 1


MEASURES = (
    Measure("top1", "top-1, mean of both directions, in percent", ("top1_en->xx", "top1_xx->en"), True),
    Measure("centred", "top-1, each language's mean taken off, in percent", ("centred_en->xx", "centred_xx->en"), True),
    Measure("mexa", "MEXA, in percent", ("mexa",), True),
    Measure("margin", "ratio margin", ("margin",), decimals=3),
    Measure("cka", "linear CKA, debiased", ("cka",), decimals=3),
    Measure("anc", "ANC, signed", ("anc",), decimals=3),
    Measure("rank_distance", "rank distance, in places, lower is better", ("rank_distance",), low=True),
)
_DECIMALS = {name: measure.decimals for measure in MEASURES for name in measure.names}


def scores_of(encoder: Result, which: str = "score") -> pd.DataFrame:
    """The scores of one encoder of align.json, (layer, language) x name, NaN where undefined; which: or "random"."""
    cells = {
        (int(layer), code): {name.partition("@")[0]: cell[which] for name, cell in scores.items()}
        for code, language in encoder["languages"].items()
        for layer, scores in language["layers"].items()
    }
    return pd.DataFrame.from_dict(cells, orient="index", dtype=float).rename_axis(["layer", "language"])


def measured(encoder: Result, measure: Measure, which: str = "score") -> pd.Series:
    """A measure by (layer, language): the mean of its scores, NaN if one is undefined."""
    return scores_of(encoder, which)[list(measure.names)].mean(axis=1, skipna=False)


def table(result: Result) -> str:
    """Means over languages by layer, the range of the controls below them; of further encoders also what they gain."""
    parts = []
    baseline, names = None, names_of([Run(one) for one in result["encoders"]])
    for name, encoder in zip(names, result["encoders"], strict=True):
        means, random = (scores_of(encoder, which).groupby("layer").mean() for which in ("score", "random"))
        shown = pd.concat([means, random.agg(["min", "max"]).set_axis(["random, lowest", "random, highest"])])
        count, n = len(encoder["languages"]), pairs([encoder])
        parts += [f"{name}: mean over {count} language{'s' if count > 1 else ''}, {n} pairs each", _text(shown), ""]
        if baseline is None:
            baseline = means
        elif len(gain := (means - baseline).reindex(means.index.intersection(baseline.index))):
            parts += [f"{name} less {names[0]}", _text(gain, "+"), ""]
    return "\n".join(parts).rstrip()


def pairs(encoders: Iterable[Result]) -> str:
    """How many pairs the languages of these encoders have."""
    sizes = sorted({language["n"] for encoder in encoders for language in encoder["languages"].values()})
    return f"n = {sizes[0]}" if len(sizes) == 1 else f"n = {sizes[0]} to {sizes[-1]}"


def _text(frame: pd.DataFrame, sign: str = "") -> str:
    forms = {name: partial(number, decimals=_DECIMALS[str(name)], sign=sign) for name in frame}
    return frame.to_string(formatters=forms, na_rep="–")


# In the report


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
    means = scores.loc[layer].reindex(codes).mean(skipna=False)
    return intervals(means, lambda i: "not defined: no score in a language, or no language that all runs have")


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
    of = entries[0].name.replace("/", "_")  # a page may have several comparisons
    return [
        heat(
            f"align_{measure.key}_{of}_{number}", f"{entry.name}: {measure.title}, by layer and language ({n})",
            grid, limits, f".{measure.decimals}f", measure.low,
        )
        for number, (entry, grid) in enumerate(zip(entries, grids, strict=True), start=1)
    ]  # fmt: skip
