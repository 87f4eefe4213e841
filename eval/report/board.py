"""The report in TensorBoard: scalars of every entry, the tables as text, the plots as images.

    tensorboard --logdir OUT

Each entry is a run of its own there (OUT/tensorboard/NAME), with the same tags, so that it lays them side by side:
`target/score`, `target/LANGUAGE`, `average/SUITE`. There is no time here; all is at step 0.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path

from eval.report import compare
from eval.report.compare import Value, View
from eval.report.inputs import Entry
from eval.report.pages import table_text
from eval.report.sections import Section
from eval.suites import OFFICIAL

REPORT = "report"  # the run of texts and images


def write(folder: Path, entries: Sequence[Entry], views: Sequence[View], sections: Sequence[Section]) -> None:
    """Writes `folder`, in place of what an earlier report left there."""
    from matplotlib.image import imread
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("*/events.out.tfevents.*"):
        old.unlink()
    names = _names(entries)
    for name, entry in zip(names, entries, strict=True):
        with SummaryWriter(str(folder / name)) as board:
            for tag, value in scalars(entry, entries, views).items():
                board.add_scalar(tag, value, 0)
    with SummaryWriter(str(folder / REPORT)) as board:
        for section in sections:
            for table in section.tables():
                board.add_text(f"{section.title}/{table.caption}", table_text(table), 0)
            for plot in section.plots():
                board.add_image(plot.name, imread(io.BytesIO(plot.png))[..., :3], 0, dataformats="HWC")


def scalars(entry: Entry, entries: Sequence[Entry], views: Sequence[View]) -> dict[str, float]:
    """Means over seeds by tag: the figures of the tables, over the languages that all entries have."""
    found: dict[str, float] = {}
    for suite, targets in views:
        if suite in OFFICIAL:
            found |= _there(f"average/{suite}", compare.average(entry, (suite, targets)))
    for target in compare.everywhere(views):
        every = compare.records(entries, target.name)
        if compare.not_run(entry, target.name) is None:
            codes = sorted({code for record in every for code in record["languages"]})
            figure = compare.headline(every[0])
            common = compare.shared(every, codes)
            found |= _there(f"{target.name}/score", compare.value(entry, target.name, common, figure))
            for code in codes:
                found |= _there(f"{target.name}/{code}", compare.of_language(entry, target.name, code, figure))
    return found


def _there(tag: str, value: Value | str) -> dict[str, float]:
    return {tag: value.mean} if isinstance(value, Value) else {}


def _names(entries: Sequence[Entry]) -> list[str]:
    """Folder names, all different; the report's own is kept free."""
    names: list[str] = []
    for entry in entries:
        name = re.sub(r"[^\w.+-]+", "_", entry.name).strip("_.") or "run"
        names.append(f"{name}_{len(names) + 1}" if name in (REPORT, *names) else name)
    return names
