"""Alignment scores as data frames and as a table for the terminal.

print(table(result))      # `result` is what align.json holds
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

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
    Measure(
        "centred", "top-1 with each language's mean taken off, in percent", ("centred_en->xx", "centred_xx->en"), True
    ),
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
    baseline, names = None, short_names(result["encoders"])
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


def short_names(encoders: Sequence[Result]) -> list[str]:
    """Names of the encoders; the whole path where two are the same."""
    names = [str(one["name"]) for one in encoders]
    return [name if names.count(name) == 1 else str(one["encoder"]) for name, one in zip(names, encoders, strict=True)]


def _text(frame: pd.DataFrame, sign: str = "") -> str:
    def form(decimals: int) -> Callable[[float], str]:
        return lambda value: f"{round(value, decimals) + 0.0:{sign}.{decimals}f}"  # never -0.0

    return frame.to_string(formatters={name: form(_DECIMALS[str(name)]) for name in frame}, na_rep="–")
