"""The sections as report.html (one file, nothing from outside, light and dark, phone and desktop) and as report.md.

The page is `page.html`, a Jinja2 template that escapes every value, with `style.css` in it. Its tables have a caption,
heads with a scope, and scroll by themselves where they are wider than the screen, with the first column in place. A
difference shows its sign as well as its colour.
"""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from eval.report.compare import Comparison
from eval.report.plots import Plot
from eval.report.sections import Block, Section
from eval.report.tables import Table

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def intro(comparison: Comparison, differences: bool) -> str:
    """How the numbers are to be read, in one paragraph. differences: whether there are tables of them."""
    template = _TEMPLATES.overlay(autoescape=False).get_template("intro.txt.jinja")
    return " ".join(template.render(comparison=comparison, differences=differences).split())


def write(folder: Path, title: str, intro: str, sections: Sequence[Section]) -> list[Path]:
    """Writes report.md, report.html and plots/NAME.png into `folder`; returns the paths of the first two."""
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for section in sections:
        for block in section.content():
            if isinstance(block, Plot):
                (folder / "plots" / f"{block.name}.png").write_bytes(block.png)
    paths = [folder / "report.md", folder / "report.html"]
    paths[0].write_text(markdown(title, intro, sections), encoding="utf-8")
    paths[1].write_text(html(title, intro, sections), encoding="utf-8")
    return paths


def html(title: str, intro: str, sections: Sequence[Section]) -> str:
    """The page as one string."""
    return _TEMPLATES.get_template("page.html").render(title=title, intro=intro, sections=sections)


def markdown(title: str, intro: str, sections: Sequence[Section]) -> str:
    """The same as text; pictures are files plots/NAME.png beside it."""
    parts = [f"# {title}", intro]
    for section in sections:
        parts += [f"## {section.title}", *map(_text, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _text(block: Block) -> str:
    if isinstance(block, Section):
        return "\n\n".join([f"### {block.title}", *map(_text, block.blocks)])
    if isinstance(block, Plot):
        return f"![{block.caption}](plots/{block.name}.png)"
    return block if isinstance(block, str) else table_text(block)


def table_text(table: Table) -> str:
    """A table in Markdown, its caption above and its notes below."""
    lines = [_pipes([cell.text(" ") for cell in table.header])]
    left = len(table.header) if table.style == "texts" else 1
    lines.append("|" + "|".join("---" if i < left else "---:" for i in range(len(table.header))) + "|")
    lines += [_pipes([cell.text() for cell in row]) for row in table.rows]
    notes = [f"- [{i}] {note}" for i, note in enumerate(table.notes, start=1)]
    return "\n\n".join(part for part in (f"**{table.caption}**", "\n".join(lines), "\n".join(notes)) if part)


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
