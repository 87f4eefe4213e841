"""The report in TensorBoard: scalars of every entry, the tables as text, the plots as images.

    tensorboard --logdir OUT

Each entry is a run of its own there (OUT/tensorboard/NUMBER_NAME), with the same tags, so that it lays them side by
side: `target/score`, `target/LANGUAGE`, `average/SUITE`. There is no time here; all is at step 0.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.image import imread
from torch.utils.tensorboard import SummaryWriter

from eval.report.compare import Comparison
from eval.report.plots import Plot
from eval.report.render import table_text
from eval.report.sections import Section
from eval.report.tables import Table


def write(folder: Path, comparison: Comparison, sections: Sequence[Section]) -> None:
    """Writes `folder`, in place of what an earlier report left there."""
    for old in folder.glob("*/events.out.tfevents.*"):
        old.unlink()
    scalars = comparison.results()
    for i, entry in enumerate(comparison.entries):
        name = re.sub(r"[^\w.+-]+", "_", entry.name).strip("_.")
        with SummaryWriter(str(folder / f"{i + 1}_{name}")) as board:
            for tag, values in scalars.items():
                if not values[i].missing:
                    board.add_scalar(tag, values[i].mean, 0)
    with SummaryWriter(str(folder / "report")) as board:
        for section in sections:
            for block in section.content():
                if isinstance(block, Table):
                    board.add_text(f"{section.title}/{block.caption}", table_text(block), 0)
                elif isinstance(block, Plot):
                    board.add_image(block.name, imread(io.BytesIO(block.png))[..., :3], 0, dataformats="HWC")
