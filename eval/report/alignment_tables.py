"""Alignment scores as data frames, as a table for the terminal and as layer x language heat maps.

print(table(result)); heat_maps(result, folder)      # `result` is what align.json holds
"""

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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


def scores_of(encoder: Result, measure: Measure, which: str = "score") -> pd.Series:
    """A measure of one encoder of align.json by (layer, language), NaN where undefined; which: or "random"."""
    cells = {}
    for code, language in encoder["languages"].items():
        for layer, scores in language["layers"].items():
            each = [scores.get(f"{name}@{language['n']}", {}).get(which) for name in measure.names]
            cells[int(layer), code] = math.nan if None in each else statistics.fmean(each)
    return pd.Series(cells, dtype=float).rename_axis(["layer", "language"])


def _short_names(encoders: Sequence[Result]) -> list[str]:
    """Names of the encoders; the whole path where two are the same."""
    names = [str(one["name"]) for one in encoders]
    return [name if names.count(name) == 1 else str(one["encoder"]) for name, one in zip(names, encoders, strict=True)]


def table(result: Result) -> str:
    """Means over languages by layer, those of random pairs below them; for further encoders also what they gain."""
    parts = []
    first, names = result["encoders"][0], _short_names(result["encoders"])
    for name, encoder in zip(names, result["encoders"], strict=True):
        count = len(encoder["languages"])
        parts += [f"{name}: mean over {count} language{'s' if count > 1 else ''}", _text(_with_controls(encoder)), ""]
        if encoder is not first and (layers := [layer for layer in encoder["means"] if layer in first["means"]]):
            scores, before = (_means(one, "score").loc[layers] for one in (encoder, first))
            gain = scores - before.set_axis(scores.columns, axis=1)  # whose names carry the number of pairs
            parts += [f"{name} less {names[0]}", _text(gain, "+"), ""]
    return "\n".join(parts).rstrip()


def _means(encoder: Result, which: str) -> pd.DataFrame:
    """[layers, scores], NaN where undefined."""
    means = {layer: {name: cell[which] for name, cell in scores.items()} for layer, scores in encoder["means"].items()}
    return pd.DataFrame.from_dict(means, orient="index", dtype=float)


def _with_controls(encoder: Result) -> pd.DataFrame:
    """Scores by layer, the range of the controls, and beside the margin its control, which is not near 0."""
    scores, random = _means(encoder, "score"), _means(encoder, "random")
    shown = pd.concat([scores, random.agg(["min", "max"]).set_axis(["random, lowest", "random, highest"])])
    margin = next(name for name in shown if name.startswith("margin"))
    control = pd.concat([random[margin], shown[margin].iloc[-2:]])
    shown.insert(list(shown).index(margin) + 1, margin.replace("margin", "margin_random"), control)
    return shown


def _text(frame: pd.DataFrame, sign: str = "") -> str:
    """Names of scores in three lines (what, which, how many pairs), so that columns stay narrow."""
    cells = {}
    for name, column in frame.items():
        score, _, n = str(name).partition("@")
        decimals = _DECIMALS[score.removesuffix("_random")]
        first, _, second = score.rpartition("_")
        cells[first, second, f"@{n}"] = [
            "–" if pd.isna(value) else f"{round(value, decimals) + 0.0:{sign}.{decimals}f}" for value in column
        ]
    text = pd.DataFrame(cells, index=frame.index).rename_axis(columns=[None, "layer", None])
    return text.to_string(sparsify=False)


def heat_maps(result: Result, folder: Path) -> list[Path]:
    """Writes align_NAME.png for each encoder and, of two or more, align_NAME_less_FIRST.png; returns their paths."""
    paths = []
    first, names = result["encoders"][0], _short_names(result["encoders"])
    files = [re.sub(r"[^\w.-]+", "_", name).strip("_") for name in names]
    for name, file, encoder in zip(names, files, result["encoders"], strict=True):
        paths.append(folder / f"align_{file}.png")
        _draw(encoder, None, name, paths[-1])
        if encoder is not first and set(encoder["layers"]) & set(first["layers"]):
            paths.append(folder / f"align_{file}_less_{files[0]}.png")
            _draw(encoder, first, f"{name} less {names[0]} (blue: better)", paths[-1])
    return paths


def _draw(encoder: Result, baseline: Result | None, title: str, path: Path) -> None:
    """A panel for each measure; with a baseline its difference from it, where both have the language and the layer."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 4).ravel()
    for axes, measure in zip(panels, MEASURES, strict=False):
        shown = scores_of(encoder, measure).unstack("layer")
        limits: dict[str, Any] = {"cmap": "viridis_r" if measure.low else "viridis"}
        if baseline is not None:
            before = scores_of(baseline, measure).unstack("layer")
            shown = (shown - before).loc[
                shown.index.intersection(before.index), shown.columns.intersection(before.columns)
            ]
            most = float(np.nanmax(shown.abs(), initial=0.0)) or 1.0
            limits = {"cmap": "RdBu_r" if measure.low else "RdBu", "vmin": -most, "vmax": most}
        elif measure.percent:
            limits["vmin"] = 0
        image = axes.imshow(shown, aspect="auto", interpolation="nearest", **limits)
        axes.set_title(measure.title, fontsize=9, loc="left")
        axes.set_yticks(range(len(shown)), [f"{c} ({encoder['languages'][c]['n']})" for c in shown.index], fontsize=7)
        step = max(1, len(shown.columns) // 12)
        axes.set_xticks(range(0, len(shown.columns), step), shown.columns[::step], fontsize=7)
        axes.set_xlabel("layer (0: embeddings)", fontsize=7)
        figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02).ax.tick_params(labelsize=7)
    panels[-1].axis("off")
    rows, columns = shown.shape
    figure.set_size_inches(6.4 + 4 * max(1.8, 0.13 * columns), 2.7 + 2 * max(1.2, 0.17 * rows))
    figure.suptitle(f"Alignment with English by layer and language (n pairs): {title}", fontsize=11, x=0.01, ha="left")
    figure.savefig(path, dpi=130)
