"""The plots of a report, by matplotlib, as PNG: for the page, report.md and TensorBoard.

Colours are those of Okabe and Ito (2008), which the colour-blind can tell apart too, for up to eight entries; bars also
stand in the order of the legend.
"""

import base64
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.report.compare import Value

_INK, _GRID = "#1d2531", "#dfe3e9"
_COLOURS = ("#8c96a3", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c6d31")
_NUMBERS = 600  # cells of a heat map up to which their values are written in them
_SETTINGS: Any = {
    "font.size": 9.0,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
}


@dataclass(frozen=True)
class Plot:
    """name: file name and id. caption: what it shows, in a sentence. width: in a page, in CSS pixels."""

    name: str
    caption: str
    png: bytes
    width: int

    @property
    def uri(self) -> str:
        """The source of an image in a page."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@matplotlib.rc_context(_SETTINGS)
def bars(
    name: str, caption: str, labels: Sequence[str], rows: dict[str, list[Value]], chance: float | None = None
) -> Plot:
    """A group of bars per row, a bar per entry (× where there is no value), whiskers for seeds.

    labels: of the entries. rows: each entry's value by row; long names (families) stand at an angle.
    """
    means = pd.DataFrame([[value.mean for value in values] for values in rows.values()], list(rows), list(labels))
    halves = np.array([[value.half or np.nan for value in values] for values in rows.values()])
    # Percentages end at 0 and 100; an interval of Student's t does not.
    ends = np.stack([np.minimum(halves, means), np.minimum(halves, 100 - means)]).transpose(2, 0, 1)
    n, longest = len(rows), max(map(len, rows))
    figure, axes = _blank(min(12.8, max(4.6, 1.2 + n * (0.16 + 0.1 * len(labels)))), 3.2 + 0.04 * longest)
    whiskers = {"ecolor": _INK, "elinewidth": 0.8, "capsize": 1.5, "zorder": 4}
    colours = _colours(len(labels))
    means.plot.bar(ax=axes, yerr=ends, error_kw=whiskers, color=colours, width=0.84, legend=False, zorder=2)
    angle: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if longest > 5 else {}
    axes.set_xticks(range(n), list(rows), **angle)
    for row, entry in np.argwhere(means.isna()):
        axes.text(row + 0.84 * ((entry + 0.5) / len(labels) - 0.5), 0, "×", ha="center", va="bottom", color=_INK)
    if chance is not None:
        axes.axhline(chance, color=_INK, linewidth=1, linestyle=(0, (4, 3)), zorder=3, label=f"chance ({chance:.1f})")
    top = max(5.0, chance or 0.0, *(means + np.nan_to_num(halves)).fillna(0.0).to_numpy().flat)
    axes.set(xlim=(-0.6, n - 0.4), ylim=(0, min(104.0, top * 1.06)), ylabel="percent")
    axes.grid(axis="y", color=_GRID, zorder=0)
    axes.tick_params(axis="x", length=0)
    _legend(figure, axes)
    return _drawn(name, caption, figure)


@matplotlib.rc_context(_SETTINGS)
def heat(
    name: str,
    caption: str,
    values: pd.DataFrame,
    limits: tuple[float, float],
    form: str,
    low: bool = False,
    marked: np.ndarray | None = None,
) -> Plot:
    """A heat map; NaN is left open and crossed. Values are written in the cells where there is room.

    limits: of the colours; form: of the values, `.0f` say; low: lower is better, and brighter. marked: bool, of the
    values' shape: which cells of differences are coloured, from red below 0 to blue above.
    """
    rows, columns, cells = list(map(str, values.index)), list(map(str, values.columns)), values.to_numpy()
    numbers = cells.size <= _NUMBERS
    longest = max((len(format(v, form)) for v in cells.flat if not np.isnan(v)), default=1) if numbers else 1
    width, height = max(0.25, 0.06 + 0.066 * longest), 0.25 if numbers else 0.16  # of a cell, in inches
    left = 0.25 + 0.075 * max(map(len, rows))
    figure, axes = _blank(left + 0.9 + width * len(columns), 0.8 + height * len(rows))
    scale = "RdBu" if marked is not None else "viridis_r" if low else "viridis"
    colours = matplotlib.colormaps[scale].with_extremes(bad=(0, 0, 0, 0))
    coloured = cells if marked is None else np.where(marked, cells, np.nan)
    image = axes.imshow(coloured, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto", interpolation="nearest")
    for (i, j), one in np.ndenumerate(cells):
        if np.isnan(one):
            axes.text(j, i, "×", ha="center", va="center", color=_INK)
        elif numbers:
            share = (one - limits[0]) / (limits[1] - limits[0] or 1.0)
            ink = "#000000" if (share > 0.55) != low else "#ffffff"
            if marked is not None:
                ink = _INK if not marked[i, j] else "#ffffff" if abs(share - 0.5) > 0.3 else "#000000"
            axes.text(j, i, format(one, form), ha="center", va="center", color=ink, fontsize=7.5)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=12, fraction=0.04)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    return _drawn(name, caption, figure)


@matplotlib.rc_context(_SETTINGS)
def forest(
    name: str, caption: str, rows: dict[str, tuple[float, float, float]], margin: float, unit: str = "points"
) -> Plot:
    """A point and its interval per row, from the top down; shaded: ± margin, within which nothing is claimed.

    rows: (difference, lower end, upper end) by label, which stands above its interval: as narrow as a phone.
    """
    labels = [textwrap.wrap(label, 58) for label in rows]
    at = np.cumsum([0.3 + 0.16 * len(label) for label in labels])  # inches from the top
    figure, axes = _blank(4.35, 0.7 + at[-1])
    axes.axvspan(-margin, margin, color=_GRID, zorder=0)
    axes.axvline(0, color=_INK, linewidth=0.8, zorder=1)
    points = np.array(list(rows.values()))
    ends = [points[:, 0] - points[:, 1], points[:, 2] - points[:, 0]]
    style: dict[str, Any] = {"color": _COLOURS[1], "capsize": 2, "markersize": 4, "linewidth": 1.2, "zorder": 3}
    axes.errorbar(points[:, 0], at, xerr=ends, fmt="o", **style)
    for y, label in zip(at, labels, strict=True):
        place: Any = {"va": "bottom", "transform": axes.get_yaxis_transform(), "zorder": 4}
        axes.text(0.01, y - 0.09, "\n".join(label), bbox={"color": "white", "alpha": 0.7, "pad": 0.5}, **place)
    axes.set(ylim=(at[-1] + 0.2, 0), yticks=[], xlabel=unit)
    return _drawn(name, caption, figure)


@matplotlib.rc_context(_SETTINGS)
def lines(name: str, caption: str, curves: dict[str, dict[float, float]]) -> Plot:
    """A line per label through its points (x -> y)."""
    figure, axes = _blank(6.4, 3.6)
    pd.DataFrame(curves).plot(ax=axes, marker="o", markersize=3, color=_colours(len(curves)), legend=False)
    axes.set_ylabel("percent")
    _legend(figure, axes)
    return _drawn(name, caption, figure)


def _blank(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _colours(entries: int) -> list[Any]:
    """Of the entries' bars; the baseline is grey where there is something to compare."""
    return [_COLOURS[i % len(_COLOURS)] for i in range(entries)] if entries > 1 else [_COLOURS[1]]


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the axes, in as many columns as fit; the figure grows with it."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i].startswith("chance ("))
    handles, labels = [handles[i] for i in order], [labels[i] for i in order]
    columns = max(1, min(len(labels), int(figure.get_figwidth() / (0.5 + 0.075 * max(map(len, labels))))))
    figure.set_figheight(figure.get_figheight() + 0.19 * -(-len(labels) // columns))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5)


def _drawn(name: str, caption: str, figure: Figure) -> Plot:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=192, facecolor="white")  # twice the page's 96, for sharp screens
    return Plot(name, caption, image.getvalue(), round(figure.get_figwidth() * 96))
