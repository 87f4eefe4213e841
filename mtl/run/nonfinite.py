"""Finds out why a step's loss or gradient is not finite: which tasks, which examples.

Nothing was updated by such a step (`Engine.step`), so the losses can be computed again, example by example where a
micro-batch's is not finite. Costs forward passes, and only when something is wrong.
"""

import math

import numpy as np
import torch

from mtl.data import loader
from mtl.data.plan import Plan, Step
from mtl.distributed import collectives
from mtl.model.encoder import MultiTaskModel
from tasks.encoding import Special

SHOWN = 5
MAX_CONSECUTIVE = 10  # skipped steps in a row that end the run whatever the config says


def explain(
    model: MultiTaskModel, plan: Plan, step: Step, assignment: list[list[np.ndarray]], rank: int, special: Special
) -> str:
    """A message about this step: the tasks and rows at fault, or what else is known (a collective call)."""
    device = next(model.parameters()).device

    def finite(indices: np.ndarray) -> bool:
        batch = loader.batch_of(plan, step, indices, special).to(device)
        return math.isfinite(float(model(batch)[0]))

    model.eval()
    with torch.no_grad():
        suspects = [ranks[rank] for ranks in assignment if len(ranks[rank]) and not finite(ranks[rank])]
        mine = [_name(plan, step, int(i)) for indices in suspects for i in indices if not finite(np.array([i]))]
    nonfinite = [item for part in collectives.gather(mine) for item in part]
    where = f"step {step.number + 1}"
    if nonfinite:
        broken = next((n for n, p in model.named_parameters() if not torch.isfinite(p).all()), None)
        more = f"; and {len(nonfinite) - SHOWN} more" if len(nonfinite) > SHOWN else ""
        weights = f"; nor is {broken}: lower the learning rate" if broken else ""
        return f"{where}: the loss is not finite for {'; '.join(nonfinite[:SHOWN])}{more}{weights}"
    tasks = ", ".join(plan.tasks[t].name for t in np.flatnonzero(step.counts))
    some = "; ".join(_name(plan, step, i) for i in range(min(SHOWN, len(step.task))))
    return (
        f"{where}: the gradient is not finite though every example's loss is (tasks {tasks}; {len(step.task)} "
        f"examples: {some}, ...): lower the learning rate"
    )


def _name(plan: Plan, step: Step, index: int) -> str:
    task = plan.tasks[step.task[index]]
    return f"{task.name}: {task.train.origin(int(step.row[index]))}"
