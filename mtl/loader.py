"""From the plan to this rank's packed micro-batches."""

from collections.abc import Iterator

import numpy as np

from mtl.batch import PackedBatch, Special, mask_tokens, pack
from mtl.plan import Plan, Step


def steps_from(plan: Plan, first: int) -> Iterator[Step]:
    """The global steps from number `first` on; seeking costs a recount of the draws before, not a replay."""
    cursors = plan.sampler.cursors(first)
    for number in range(first, plan.steps):
        step = plan.step(number, cursors)
        cursors = cursors + step.counts
        yield step


def micro_batches(
    plan: Plan, step: Step, shares: list[list[np.ndarray]], rank: int, special: Special
) -> list[PackedBatch]:
    """This rank's micro-batches of `step`; `shares` as `Step.divide` gave them."""
    heads = [(task.name, task.task.kind) for task in plan.tasks]
    batches = []
    for ranks in shares:
        items = []
        for place in ranks[rank]:
            task = plan.tasks[step.task[place]]
            row = task.train.take(step.row[place : place + 1])[0]
            if task.task.kind == "mlm":
                row = mask_tokens(
                    row, special, plan.config.mlm_probability, (plan.config.seed, step.number, int(place))
                )
            items.append((int(step.task[place]), row))
        batches.append(pack(items, heads, special, step.weights))
    return batches
