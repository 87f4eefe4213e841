"""The sections as report.html (one file, nothing from outside, light and dark, phone and desktop) and as report.md.

Tables have a caption, heads with a scope, and scroll by themselves where they are wider than the screen, with the
first column in place. A difference shows its sign as well as its colour.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from eval.report.plots import Plot
from eval.report.sections import Folded, Pair, Section
from eval.report.tables import Cell, Table

_STYLE = Path(__file__).with_name("style.css")
_NARROW = 420  # CSS pixels: a plot of at most this width is scaled to a phone's, a wider one scrolls


# HTML


def html(title: str, intro: str, sections: Sequence[Section]) -> str:
    """The page as one string."""
    ids = _ids(sections)
    links = "".join(f'<li><a href="#{i}">{escape(s.title)}</a></li>' for i, s in zip(ids, sections, strict=True))
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{escape(intro)}</p>"]
    parts.append(f'<nav aria-label="Sections"><ul>{links}</ul></nav>')
    for name, section in zip(ids, sections, strict=True):
        inner = [_block(block, f"{name}-{i}") for i, block in enumerate(section.blocks)]
        heading = f'<h2 id="{name}">{escape(section.title)}</h2>'
        parts.append("\n".join(["<section>", heading, *inner, "</section>"]))
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{escape(title)}</title><style>{_STYLE.read_text(encoding='utf-8')}</style>"
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{body}\n</main></body></html>\n'


def _ids(sections: Sequence[Section]) -> list[str]:
    """An id for each section, all different: `--suite xnli` has a table and a target of this name."""
    ids: list[str] = []
    for section in sections:
        name = "".join(c if c.isalnum() else "-" for c in section.title.lower())
        ids.append(f"{name}--{len(ids)}" if name in ids else name)
    return ids


def _block(block: "str | Table | Plot | Pair | Folded", name: str) -> str:
    if isinstance(block, str):
        return f"<p>{escape(block)}</p>"
    if isinstance(block, Table):
        return _table(block, name)
    if isinstance(block, Plot):
        return _figure(block)
    if isinstance(block, Pair):
        return f'<div class="pair">{_figure(block.left)}{_figure(block.right)}</div>'
    inner = "".join(_block(one, f"{name}-{i}") for i, one in enumerate(block.blocks))
    return f"<details><summary>{escape(block.title)}</summary>{inner}</details>"


def _figure(plot: Plot) -> str:
    picture = plot.svg
    if plot.width > _NARROW:
        picture = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(plot.caption)}">{picture}</div>'
    else:
        picture = f'<div class="fits">{picture}</div>'
    return f'<figure id="plot-{plot.name}"><figcaption>{escape(plot.caption)}</figcaption>{picture}</figure>'


def _table(table: Table, name: str) -> str:
    lines = []
    if table.spans:
        cells = [
            f'<th scope="colgroup" colspan="{n}">{escape(label)}</th>' if label else f'<td colspan="{n}"></td>'
            for label, n in table.spans
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(f'<th scope="col"{_prose(cell)}>{_head(cell, name)}</th>' for cell in table.header)
    lines.append(f"<tr>{heads}</tr>")
    rows = []
    for row in table.rows:
        first, *others = row
        cells = [
            f'<th scope="row">{_head(first, name)}</th>',
            *(f"<td{_prose(cell)}>{_cell(cell, name, table.low)}</td>" for cell in others),
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body, foot = rows[: len(rows) - table.foot], rows[len(rows) - table.foot :]
    notes = "".join(f'<li id="{name}-note-{i}">{escape(note)}</li>' for i, note in enumerate(table.notes, start=1))
    caption = escape(table.caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        f'<table class="{"texts" if table.texts else "long" if table.long else "figures"}"><caption>{caption}</caption>'
        f"<thead>{''.join(lines)}</thead><tbody>{''.join(body)}</tbody>"
        + (f"<tfoot>{''.join(foot)}</tfoot>" if foot else "")
        + "</table></div>"
        + (f'<ol class="notes">{notes}</ol>' if notes else "")
    )


def _prose(cell: Cell) -> str:
    return ' class="prose"' if cell.prose else ""


def _head(cell: Cell, name: str) -> str:
    first, *others = cell.values
    text = f'<abbr title="{escape(cell.title)}">{escape(first)}</abbr>' if cell.title else escape(first)
    return text + _marks(cell, name) + "".join(f'<small class="second">{escape(one)}</small>' for one in others)


def _cell(cell: Cell, name: str, low: bool) -> str:
    text = escape(" / ".join(cell.values))
    if cell.notes and not cell.halves and not cell.deltas:
        text = f'<span class="why">{text}</span>'
    if cell.halves:
        text += f'<small class="second">± {" / ".join(half or "?" for half in cell.halves)}</small>'
    if cell.deltas:
        signed = [f'<span class="{_direction(one, low)}">{one}</span>' for one in cell.deltas]
        text += f'<span class="second">{" / ".join(signed)}</span>'
    return text + _marks(cell, name)


def _direction(delta: str, low: bool) -> str:
    """Green for the better, whichever way that is."""
    return "same" if float(delta) == 0 else "better" if (delta[0] == "+") != low else "worse"


def _marks(cell: Cell, name: str) -> str:
    return "".join(f'<sup><a href="#{name}-note-{n}" aria-label="note {n}">{n}</a></sup>' for n in cell.notes)


# Markdown


def markdown(title: str, intro: str, sections: Sequence[Section], plots: str) -> str:
    """The same as text; pictures are files `plots`/NAME.png beside it."""
    parts = [f"# {title}", intro]
    for section in sections:
        parts.append(f"## {section.title}")
        for block in section.blocks:
            if isinstance(block, Folded):
                parts += [f"### {block.title}", *(_text(one, plots) for one in block.blocks)]
            else:
                parts.append(_text(block, plots))
    return "\n\n".join(parts) + "\n"


def _text(block: str | Table | Plot | Pair, plots: str) -> str:
    if isinstance(block, str):
        return block
    if isinstance(block, Table):
        return table_text(block)
    some = [block.left, block.right] if isinstance(block, Pair) else [block]
    return "\n".join(f"![{plot.caption}]({plots}/{plot.name}.png)" for plot in some)


def table_text(table: Table) -> str:
    """A table in Markdown, its caption above and its notes below."""
    lines = [_pipes([_plain(cell) for cell in table.header])]
    lines.append("|" + "|".join("---" if i == 0 or table.texts else "---:" for i in range(len(table.header))) + "|")
    lines += [_pipes([cell.text() for cell in row]) for row in table.rows]
    notes = [f"- [{i}] {note}" for i, note in enumerate(table.notes, start=1)]
    return "\n\n".join(part for part in (f"**{table.caption}**", "\n".join(lines), "\n".join(notes)) if part)


def _plain(head: Cell) -> str:
    return " ".join(head.values) + "".join(f" [{number}]" for number in head.notes)


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
