"""The plots of a report, by matplotlib: PNG for report.md and TensorBoard, inline SVG for the page.

In the SVG the two colours of text and grid are variables of the page (`--ink`, `--grid`), so that it follows light and
dark; nothing in it points outside. Colours are those of Okabe and Ito (2008), told apart by the colour-blind too; bars
also stand in the order of the legend, and from the ninth on they are hatched.
"""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.report.compare import Lacking, Value
from eval.report.inputs import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GRID = "#1d2531", "#dfe3e9"  # replaced by the page's in the SVG; no other colour may be equal
_COLOURS = ("#8c96a3", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8c6d31")
_NUMBERS = 600  # cells of a heat map up to which their figures are written in them
_HATCHES = ("", "////", "....", "xxxx")
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 9.0,
    "hatch.linewidth": 0.6,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


@dataclass(frozen=True)
class Plot:
    """`name`: file name and id; `caption`: what it shows, in a sentence; `width`: of the SVG in CSS pixels."""

    name: str
    caption: str
    png: bytes
    svg: str
    width: int

    def uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def bars(
    name: str, caption: str, entries: Sequence[Entry], rows: dict[str, list[Value | Lacking]], chance: float | None
) -> Plot:
    """Upright bars: a group per row (language), a bar per entry (× where there is no figure), whiskers for seeds."""
    figure, axes = _blank(min(12.8, max(4.6, 1.2 + len(rows) * (0.16 + 0.1 * len(entries)))), 3.2)
    top = _groups(axes, entries, rows, upright=True)
    if chance is not None:
        axes.axhline(chance, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=3, label=f"chance ({chance:.1f})")
        top = max(top, chance)
    axes.set_xticks(range(len(rows)), list(rows))
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylim(0, min(104.0, top * 1.06))
    axes.set_ylabel("percent")
    axes.grid(axis="y", color=GRID, zorder=0)
    axes.tick_params(axis="x", length=0)
    _legend(figure, axes)
    return _drawn(name, caption, figure)


def lying_bars(name: str, caption: str, entries: Sequence[Entry], rows: dict[str, list[Value | Lacking]]) -> Plot:
    """Bars from the left: a group per row (family, script), whose names are long; narrow enough for a phone."""
    figure, axes = _blank(4.2, 0.7 + len(rows) * (0.14 + 0.13 * len(entries)))
    top = _groups(axes, entries, rows, upright=False)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, min(104.0, top * 1.06))
    axes.set_xlabel("percent")
    axes.grid(axis="x", color=GRID, zorder=0)
    axes.tick_params(axis="y", length=0)
    _legend(figure, axes)
    return _drawn(name, caption, figure)


def heat(
    name: str, caption: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float | None]],
    limits: tuple[float, float], form: str, low: bool = False,
) -> Plot:  # fmt: skip
    """A heat map of rows x columns; None is left open and crossed. Figures stand in the cells where they have room.

    limits: of the colours; form: of the figures, `.0f` say; low: lower is better, and brighter.
    """
    from matplotlib import colormaps

    numbers = len(rows) * len(columns) <= _NUMBERS
    left = 0.25 + 0.075 * max(len(row) for row in rows)
    longest = max((len(format(v, form)) for row in values for v in row if v is not None), default=1) if numbers else 1
    cell = (max(0.25, 0.06 + 0.066 * longest), 0.25 if numbers else 0.16)
    figure, axes = _blank(left + 0.9 + cell[0] * len(columns), 0.8 + cell[1] * len(rows))
    filled = [[float("nan") if v is None else v for v in row] for row in values]
    colours = colormaps["viridis_r" if low else "viridis"].with_extremes(bad=(0, 0, 0, 0))
    image = axes.imshow(filled, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto", interpolation="nearest")
    span = limits[1] - limits[0] or 1.0
    for i, row in enumerate(values):
        for j, one in enumerate(row):
            if one is None:
                axes.text(j, i, "×", ha="center", va="center", color=INK)
            elif numbers:
                ink = "#000000" if ((one - limits[0]) / span > 0.55) != low else "#ffffff"
                axes.text(j, i, format(one, form), ha="center", va="center", color=ink, fontsize=7.5)
    axes.set_xticks(range(len(columns)), list(columns))
    axes.set_yticks(range(len(rows)), list(rows))
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=12, fraction=0.04)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, color=INK, labelcolor=INK)
    return _drawn(name, caption, figure)


def _blank(width: float, height: float) -> "tuple[Figure, Axes]":
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _groups(axes: "Axes", entries: Sequence[Entry], rows: dict[str, list[Value | Lacking]], upright: bool) -> float:
    """Draws a group of bars per row, a bar per entry; returns how far the longest reaches, its whisker counted."""
    breadth, top = 0.84 / len(entries), 5.0
    draw = axes.bar if upright else axes.barh
    for number, entry in enumerate(entries):
        at = [i - 0.42 + breadth * (number + 0.5) for i in range(len(rows))]
        values = [row[number] for row in rows.values()]
        top = max([top, *(v.mean + (v.half or 0.0) for v in values if isinstance(v, Value))])
        draw(at, [_mean(v) for v in values], breadth * 0.94, label=entry.name, zorder=2, **_look(number, entries))
        _whiskers(axes, at, values, upright)
        for place, one in zip(at, values, strict=True):
            if isinstance(one, Value):
                continue
            if upright:
                axes.text(place, 0, "×", ha="center", va="bottom", color=INK)
            else:
                axes.text(0.5, place, "×", ha="left", va="center", color=INK)
    return top


def _look(number: int, entries: Sequence[Entry]) -> dict[str, Any]:
    """Colour and hatch of an entry's bars; the baseline is grey where there is something to compare."""
    place = number if len(entries) > 1 else 1
    colour, hatch = _COLOURS[place % len(_COLOURS)], _HATCHES[place // len(_COLOURS) % len(_HATCHES)]
    return {"color": colour, "hatch": hatch, "edgecolor": INK} if hatch else {"color": colour}


def _mean(value: Value | Lacking) -> float:
    return value.mean if isinstance(value, Value) else float("nan")


def _whiskers(axes: "Axes", at: Sequence[float], values: Sequence[Value | Lacking], upright: bool) -> None:
    there = [(place, v.mean, v.half) for place, v in zip(at, values, strict=True) if isinstance(v, Value) and v.half]
    if there:
        places, means, halves = (list(column) for column in zip(*there, strict=True))
        # Percentages end at 0 and 100; an interval of Student's t knows nothing of that.
        ends = [[min(h, m) for m, h in zip(means, halves, strict=True)],
                [min(h, 100 - m) for m, h in zip(means, halves, strict=True)]]  # fmt: skip
        style: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 0.8, "capsize": 1.5, "zorder": 4}
        if upright:
            axes.errorbar(places, means, yerr=ends, **style)
        else:
            axes.errorbar(means, places, xerr=ends, **style)


def _legend(figure: "Figure", axes: "Axes") -> None:
    """Below the axes, in as many columns as fit; the figure grows with it."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i].startswith("chance ("))
    handles, labels = [handles[i] for i in order], [labels[i] for i in order]
    columns = max(1, min(len(labels), int(figure.get_figwidth() / (0.5 + 0.075 * max(map(len, labels))))))
    figure.set_figheight(figure.get_figheight() + 0.19 * -(-len(labels) // columns))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5, labelcolor=INK
    )


def _drawn(name: str, caption: str, figure: "Figure") -> Plot:
    import matplotlib

    image, text = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once for both
        figure.savefig(image, format="png", dpi=120, facecolor="white")
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    width = round(figure.get_figwidth() * 96)
    return Plot(name, caption, image.getvalue(), _inline(text.getvalue().decode(), name, caption, width), width)


def _inline(svg: str, name: str, caption: str, width: int) -> str:
    """A stand-alone SVG as an element of the page: no declarations, no outside names, ids of its own, page colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r'\sid="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(INK, "var(--ink)").replace(GRID, "var(--grid)")
    label = caption.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    height = float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', svg)[1]) * 96 / 72  # type: ignore[index]
    head = f'<svg role="img" aria-label="{label}" width="{width}" height="{height:.0f}"'
    return re.sub(r'<svg width="[^"]*" height="[^"]*"', head, svg, count=1).strip()
