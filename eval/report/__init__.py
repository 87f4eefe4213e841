"""The scores of one or more encoders side by side: report.html, report.md, plots, TensorBoard, a table in the terminal.

    write(scores, Path("runs/demo/eval"))                      # at the end of a suite
    python -m eval report RUN [RUN ...]                        # eval/report/program.py

`scores` are objects of scores.json; the first one is the baseline that differences are taken from. One way through:
`inputs` (files, seeds) -> `compare` (figures) -> `tables`, `plots` -> `sections` -> `pages`, `board`.
"""

from collections.abc import Sequence
from pathlib import Path

from eval.report import board, compare, pages, sections
from eval.report.compare import View
from eval.report.inputs import Entry, Run, Scores, names_of
from eval.report.terminal import terminal_table

__all__ = ["terminal_table", "write", "write_entries"]


def write(scores: Sequence[Scores], folder: Path) -> list[Path]:
    """Writes the report of one call of a suite into `folder`; returns the paths of report.md and report.html."""
    runs = [Run(one) for one in scores]
    entries = [Entry(name, (run,)) for name, run in zip(names_of(runs), runs, strict=True)]
    return write_entries(entries, compare.views(entries, everything=False), folder)


def write_entries(entries: Sequence[Entry], views: Sequence[View], folder: Path) -> list[Path]:
    """report.md, report.html, plots/NAME.png and tensorboard/ in `folder`; returns the paths of the first two."""
    title = f"Cross-lingual scores: {', '.join(suite for suite, _ in views)}"
    intro, parts = sections.intro(entries), sections.build(entries, views)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for section in parts:
        for plot in section.plots():
            (folder / "plots" / f"{plot.name}.png").write_bytes(plot.png)
    markdown, page = folder / "report.md", folder / "report.html"
    markdown.write_text(pages.markdown(title, intro, parts, "plots"), encoding="utf-8")
    page.write_text(pages.html(title, intro, parts), encoding="utf-8")
    board.write(folder / "tensorboard", entries, views, parts)
    return [markdown, page]
