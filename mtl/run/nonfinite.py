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
IN_A_ROW = 10  # so many steps left out one after another are no accident: the run ends all the same


def explain(
    model: MultiTaskModel, plan: Plan, step: Step, shares: list[list[np.ndarray]], rank: int, special: Special
) -> str:
    """A sentence on step `step.number`: task and rows at fault, or what else is known (a collective call)."""
    broken = next((n for n, p in model.named_parameters() if not torch.isfinite(p).all()), None)
    found = _examples(model, plan, step, shares, rank, special)
    everywhere = [item for part in collectives.gather(found) for item in part]
    where = f"step {step.number + 1}"
    tasks = ", ".join(plan.tasks[t].name for t in np.flatnonzero(step.counts))
    if len(everywhere) == len(step.task):
        what = f"the weights are not finite ({broken})" if broken else "no example's loss is finite"
        return f"{where}: {what}; tasks of the step: {tasks}; first example {everywhere[0]}: lower the learning rate"
    if everywhere:
        more = f"; and {len(everywhere) - SHOWN} more" if len(everywhere) > SHOWN else ""
        weights = f" (and {broken} has weights that are not)" if broken else ""
        return f"{where}: the loss is not finite for {'; '.join(everywhere[:SHOWN])}{more}{weights}"
    some = "; ".join(_name(plan, step, place) for place in range(min(SHOWN, len(step.task))))
    return (
        f"{where}: the gradient is not finite though every example's loss is (tasks {tasks}; {len(step.task)} "
        f"examples: {some}, ...): lower the learning rate"
    )


def _examples(
    model: MultiTaskModel, plan: Plan, step: Step, shares: list[list[np.ndarray]], rank: int, special: Special
) -> list[str]:
    device = next(model.parameters()).device

    def finite(places: np.ndarray) -> bool:
        batch = loader.batch_of(plan, step, places, special).to(device)
        return math.isfinite(float(model(batch)[0]))

    model.eval()
    with torch.no_grad():
        doubtful = [mine[rank] for mine in shares if len(mine[rank]) and not finite(mine[rank])]
        return [
            _name(plan, step, int(place)) for places in doubtful for place in places if not finite(np.array([place]))
        ]


def _name(plan: Plan, step: Step, place: int) -> str:
    task = plan.tasks[step.task[place]]
    return f"{task.name}: {task.train.origin(int(step.row[place]))}"
