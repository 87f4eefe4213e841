"""Alignment scores as a table for the terminal and as layer x language heat maps.

print(table(result)); heat_maps(result, folder)      # `result` is what align.json holds
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
        parts += [f"{name}: mean over {count} language{'s' if count > 1 else ''}", _aligned(_scores(encoder)), ""]
        if encoder is not first and _shared(encoder, first, "means"):
            parts += [f"{name} less {_called(result['encoders'])[0]}", _aligned(_differences(encoder, first)), ""]
    return "\n".join(parts).rstrip()


def _scores(encoder: Result) -> list[list[str]]:
    means = encoder["means"]
    columns = [(name, key) for name in _names(encoder) for key in ("score", "random")]
    columns = [(name, key) for name, key in columns if key == "score" or name.startswith("margin")]
    rows = [
        ["layer", *(name if key == "score" else f"margin_random@{name.partition('@')[2]}" for name, key in columns)]
    ]
    rows += [[layer, *(_number(name, scores[name][key]) for name, key in columns)] for layer, scores in means.items()]
    for label, choose in (("lowest", min), ("highest", max)):
        cells = []
        for name, _ in columns:
            controls = [scores[name]["random"] for scores in means.values() if scores[name]["random"] is not None]
            cells.append(_number(name, choose(controls) if controls else None))
        rows.append([f"random, {label}", *cells])
    return rows


def _differences(encoder: Result, baseline: Result) -> list[list[str]]:
    names, before = _names(encoder), _names(baseline)
    rows = [["layer", *names]]
    for layer in _shared(encoder, baseline, "means"):
        cells = []
        for name, old_name in zip(names, before, strict=True):
            new, old = encoder["means"][layer][name]["score"], baseline["means"][layer][old_name]["score"]
            cells.append(_number(name, None if new is None or old is None else new - old, "+"))
        rows.append([layer, *cells])
    return rows


def _names(encoder: Result) -> list[str]:
    return list(next(iter(encoder["means"].values())))


def _number(name: str, value: float | None, sign: str = "") -> str:
    places = 1 if name.startswith((*_PERCENT, "rank")) else 3
    return "–" if value is None else f"{round(value, places) + 0.0:{sign}.{places}f}"


def _aligned(rows: list[list[str]]) -> str:
    """Columns to the right; names of scores in three lines (what, which, how many pairs), so that they stay narrow."""
    header = [["", name, ""] if name == "layer" else _split(name) for name in rows[0]]
    lines = [*([cells[i] for cells in header] for i in range(3)), *rows[1:]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    text = ["  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*text[:3], "  ".join("-" * w for w in widths), *text[3:]])


def _split(name: str) -> list[str]:
    what, _, n = name.partition("@")
    first, _, second = what.rpartition("_")
    return [first, second, f"@{n}"]


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
