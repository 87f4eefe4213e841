"""The loss of every task on its first rows with dropout off: what all contestants must agree on before the race."""

import numpy as np
import torch

from mtl.data.packing import columns_of, pack
from mtl.model.encoder import MultiTaskModel
from mtl.run.setup import Setup
from tasks.base import Draw
from tasks.encoding import Row

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
        numbers = np.arange(len(some))
        draw = Draw(made.run.seed, 0, numbers, numbers, made.special, made.run.mlm_probability)
        columns = task.type.complete(columns_of(some, task.type.stored), draw)
        batch = pack([(index, numbers, columns)], heads, made.special).to(device)
        with torch.no_grad():
            _, stats = model(batch)
        found[task.name] = float(stats[index, 0]) / sum(int(row["units"]) for row in some)
    return found
