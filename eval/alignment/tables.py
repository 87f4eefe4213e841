"""Alignment scores as a table for the terminal and as layer x language heat maps.

print(table(result)); heat_maps(result, folder)      # `result` is what align.json holds
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Result = dict[str, Any]

# Panels of a heat map: title, scores whose mean is shown, whether the control is taken off, whether lower is better.
_PANELS = (
    ("top-1, both ways (%)", ("top1_en->xx", "top1_xx->en"), False, False),
    ("top-1, centred per language (%)", ("centred_en->xx", "centred_xx->en"), False, False),
    ("MEXA (%)", ("mexa",), False, False),
    ("ratio margin, less random pairs", ("margin",), True, False),
    ("CKA, linear, debiased", ("cka",), False, False),
    ("ANC", ("anc",), False, False),
    ("rank distance, pool of 2n (low is good)", ("rank_distance",), False, True),
)
_PERCENT = ("top1", "centred", "mexa")


def _called(encoders: Sequence[dict[str, Any]]) -> list[str]:
    """Short names of the encoders; the whole path where two are the same."""
    names = [str(one["name"]) for one in encoders]
    return [name if names.count(name) == 1 else str(one["encoder"]) for name, one in zip(names, encoders, strict=True)]


def table(result: Result) -> str:
    """Means over languages by layer, those of random pairs below them; for further encoders also what they gain."""
    parts = []
    first = result["encoders"][0]
    for name, encoder in zip(_called(result["encoders"]), result["encoders"], strict=True):
        count = len(encoder["languages"])
        parts += [f"{name}: mean over {count} language{'s' if count > 1 else ''}", _text(_scores(encoder)), ""]
        if encoder is not first and (layers := _shared(encoder, first, "means")):
            scores, before = (_means(one, "score").loc[layers] for one in (encoder, first))
            gain = scores - before.set_axis(scores.columns, axis=1)  # whose names carry the number of pairs
            parts += [f"{name} less {_called(result['encoders'])[0]}", _text(gain, "+"), ""]
    return "\n".join(parts).rstrip()


def _means(encoder: Result, key: str) -> pd.DataFrame:
    """[layers, scores], NaN where undefined."""
    means = {layer: {name: cell[key] for name, cell in scores.items()} for layer, scores in encoder["means"].items()}
    return pd.DataFrame.from_dict(means, orient="index", dtype=float)


def _scores(encoder: Result) -> pd.DataFrame:
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
        places = 1 if str(name).startswith((*_PERCENT, "rank")) else 3
        cells[_split(str(name))] = [
            "–" if pd.isna(value) else f"{round(value, places) + 0.0:{sign}.{places}f}" for value in column
        ]
    text = pd.DataFrame(cells, index=frame.index).rename_axis(columns=[None, "layer", None])
    return text.to_string(sparsify=False)


def _split(name: str) -> tuple[str, str, str]:
    what, _, n = name.partition("@")
    first, _, second = what.rpartition("_")
    return first, second, f"@{n}"


def heat_maps(result: Result, folder: Path) -> list[Path]:
    """Writes align_NAME.png for each encoder and, of two or more, align_NAME_less_FIRST.png; returns their paths."""
    paths = []
    first, names = result["encoders"][0], _called(result["encoders"])
    for name, encoder in zip(names, result["encoders"], strict=True):
        paths.append(folder / f"align_{_file_name(name)}.png")
        _draw(encoder, None, name, paths[-1])
        if encoder is not first and _shared(encoder, first, "layers"):
            paths.append(folder / f"align_{_file_name(name)}_less_{_file_name(names[0])}.png")
            _draw(encoder, first, f"{name} less {names[0]} (blue: better)", paths[-1])
    return paths


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("_")


def _shared(encoder: Result, baseline: Result | None, what: str) -> list[Any]:
    return [key for key in encoder[what] if baseline is None or key in baseline[what]]


def values(
    encoder: Result, names: tuple[str, ...], layers: list[int], codes: list[str], less_random: bool
) -> np.ndarray:
    """float64 [languages, layers]: mean of the scores `names`, less their controls if asked; NaN where undefined."""
    grid = np.full((len(codes), len(layers)), np.nan)
    for row, code in enumerate(codes):
        one = encoder["languages"][code]
        for column, layer in enumerate(layers):
            cells = [one["layers"][str(layer)][f"{name}@{one['n']}"] for name in names]
            numbers = [
                np.nan if c["score"] is None or (less_random and c["random"] is None)
                else c["score"] - (c["random"] if less_random else 0.0)
                for c in cells
            ]  # fmt: skip
            grid[row, column] = np.mean(numbers)
    return grid


def _draw(encoder: Result, baseline: Result | None, title: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers, codes = _shared(encoder, baseline, "layers"), _shared(encoder, baseline, "languages")
    height = 1.1 + max(1.2, 0.17 * len(codes))  # inches of a panel
    width = 1.6 + max(1.8, 0.13 * len(layers))
    figure = Figure(figsize=(4 * width, 2 * height + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 4, squeeze=False).ravel()
    for axes, (panel, names, less_random, low) in zip(grid, _PANELS, strict=False):
        shown = values(encoder, names, layers, codes, less_random)
        limits: dict[str, Any] = {"cmap": "viridis_r" if low else "viridis"}
        if baseline is not None:
            shown = shown - values(baseline, names, layers, codes, less_random)
            most = float(np.nanmax(np.abs(shown), initial=0.0)) or 1.0
            limits = {"cmap": "RdBu_r" if low else "RdBu", "vmin": -most, "vmax": most}
        elif names[0].startswith(_PERCENT):
            limits |= {"vmin": 0, "vmax": max(1.0, float(np.nanmax(shown, initial=0.0)))}
        image = axes.imshow(shown, aspect="auto", interpolation="nearest", **limits)
        axes.set_title(panel, fontsize=9, loc="left")
        labels = [f"{code} ({encoder['languages'][code]['n']})" for code in codes]
        axes.set_yticks(range(len(codes)), labels, fontsize=7)
        step = max(1, len(layers) // 12)
        axes.set_xticks(range(0, len(layers), step), layers[::step], fontsize=7)
        axes.set_xlabel("layer (0: embeddings)", fontsize=7)
        bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)
        bar.ax.tick_params(labelsize=7)
    for axes in grid[len(_PANELS) :]:
        axes.axis("off")
    figure.suptitle(f"Alignment with English by layer and language (n pairs): {title}", fontsize=11, x=0.01, ha="left")
    figure.savefig(path, dpi=130)
