"""The loss of every task on its first rows with dropout off: contestants must agree on it before they are compared."""

import numpy as np
import torch

from mtl.data.packing import columns_of, pack
from mtl.model.encoder import MultiTaskModel
from mtl.run.setup import Setup
from tasks.base import Draw
from tasks.encoding import Row

ROWS = 4


def first_rows(setup: Setup, task: int) -> list[Row]:
    """The first rows of a task."""
    rows: list[Row] = setup.tasks[task].train.take(np.arange(ROWS))
    return rows


def packed_losses(setup: Setup, model: MultiTaskModel, device: torch.device) -> dict[str, float]:
    """{task: mean loss of its first rows} of the packed model, in its own precision."""
    heads = [(task.name, task.task.kind) for task in setup.tasks]
    losses = {}
    model.eval()
    for index, task in enumerate(setup.tasks):
        rows = first_rows(setup, index)
        numbers = np.arange(len(rows))
        draw = Draw(setup.run.seed, 0, numbers, numbers, setup.special, setup.run.mlm_probability)
        columns = task.type.complete(columns_of(rows, [*setup.special.columns[2:], *task.type.stored]), draw)
        batch = pack([(index, numbers, columns)], heads, setup.special).to(device)
        with torch.no_grad():
            _, stats = model(batch)
        losses[task.name] = float(stats[index, 0]) / sum(int(row["units"]) for row in rows)
    return losses
