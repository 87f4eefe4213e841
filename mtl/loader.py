"""From the plan to this rank's packed micro-batches."""

from collections.abc import Iterator

import numpy as np

from mtl.batch import PackedBatch, Row, Special, mask_tokens, pack
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
    return [pack(rows_at(plan, step, ranks[rank], special), heads, special, step.weights) for ranks in shares]


def rows_at(plan: Plan, step: Step, places: np.ndarray, special: Special) -> list[tuple[int, Row]]:
    """(task index, encoded row) of some places of `step`, masked where the task is mlm."""
    items: list[tuple[int, Row]] = []
    for place in places:
        task = plan.tasks[step.task[place]]
        row: Row = task.train.take(step.row[place : place + 1])[0]
        if task.task.kind == "mlm":
            row = mask_tokens(row, special, plan.config.mlm_probability, (plan.config.seed, step.number, int(place)))
        items.append((int(step.task[place]), row))
    return items
