"""The loss of every task on its first rows with dropout off: what all contestants must agree on before the race."""

import numpy as np
import torch

from data_prep.encoding.encode import Row
from mtl.data.packing import pack
from mtl.model.encoder import MultiTaskModel
from mtl.run.setup import Setup

ROWS = 4


def rows(made: Setup, task: int) -> list[Row]:
    """The first rows of a task."""
    found: list[Row] = made.tasks[task].train.take(np.arange(ROWS))
    return found


def probe(made: Setup, model: MultiTaskModel, device: torch.device) -> dict[str, float]:
    """{task: mean loss of its first rows} by the packed model, where it lies and in its own precision."""
    heads = [(task.name, task.task.kind) for task in made.tasks]
    found = {}
    model.eval()
    for index, task in enumerate(made.tasks):
        some = rows(made, index)
        batch = pack([(index, row) for row in some], heads, made.special, np.ones(len(heads))).to(device)
        with torch.no_grad():
            _, stats = model(batch)
        found[task.name] = float(stats[index, 0]) / sum(int(row["units"]) for row in some)
    return found
