"""From the plan to this rank's packed micro-batches.

What comes from the disk is checked before it reaches the model, where a wrong id would be an error without a name (or,
on a GPU, the end of the process): whole micro-batches at a time, and row by row only once something is wrong.
"""

from collections.abc import Iterator

import numpy as np

from data_prep.errors import InputError
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
    """This rank's micro-batches of `step`; `shares` as `Step.divide` gave them.

    Raises `InputError` naming the file and row if one is not what was prepared.
    """
    batches = []
    for ranks in shares:
        batch = _packed(plan, step, ranks[rank], special)
        if batch is None:
            bad = next((p for p in ranks[rank] if _packed(plan, step, np.array([p]), special) is None), ranks[rank][0])
            task = plan.tasks[step.task[bad]]
            raise InputError(
                f"{task.name}: {task.train.origin(int(step.row[bad]))}: is not what was prepared (ids, lengths or "
                "labels out of range): has the file changed? delete its folder and prepare again"
            )
        batches.append(batch)
    return batches


def pair_keys(plan: Plan, step: Step) -> dict[str, np.ndarray]:
    """{task: int64 [n]}: the passage key of every pair of `step`, in order of slots, of its tasks of kind `pair`."""
    return {
        plan.tasks[t].name: plan.tasks[t].train.passage_keys[step.row[step.task == t]]
        for t in np.flatnonzero(step.counts)
        if plan.tasks[t].task.kind == "pair"
    }


def rows_at(plan: Plan, step: Step, places: np.ndarray, special: Special) -> list[tuple[int, Row]]:
    """(task index, encoded row) of some places of `step`, masked where the task is mlm."""
    items: list[tuple[int, Row]] = []
    for place in places:
        task = plan.tasks[step.task[place]]
        row: Row = task.train.take(step.row[place : place + 1])[0]
        if task.task.kind == "pair":
            row = {**row, "slot": int(np.searchsorted(np.flatnonzero(step.task == step.task[place]), place))}
        if task.task.kind == "mlm":
            row = mask_tokens(row, special, plan.config.mlm_probability, (plan.config.seed, step.number, int(place)))
        items.append((int(step.task[place]), row))
    return items


def _packed(plan: Plan, step: Step, places: np.ndarray, special: Special) -> PackedBatch | None:
    """These places of `step` in one micro-batch; None if a row cannot be what was prepared."""
    heads = [(task.name, task.task.kind) for task in plan.tasks]
    try:
        batch = pack(rows_at(plan, step, places, special), heads, special, step.weights)
        sound = _sound(batch, plan, special) and (not len(places) or batch.tokens == step.length[places].sum())
    except (ValueError, IndexError, OverflowError):  # lengths that do not add up
        return None
    return batch if sound else None


def _sound(batch: PackedBatch, plan: Plan, special: Special) -> bool:
    ids = batch.input_ids
    if int(ids.min()) < 0 or int(ids.max()) >= special.vocabulary:
        return False
    for task in plan.tasks:
        rows = batch.heads[task.name]
        if len(rows.tokens) and (int(rows.tokens.min()) < 0 or int(rows.tokens.max()) >= batch.tokens):
            return False
        if not len(rows.labels):
            continue
        if task.task.kind == "pair":
            continue  # a slot is ours, a key may be any number
        if task.task.kind == "span" or task.task.kind == "choice":
            room = rows.group.bincount(minlength=len(rows.labels))  # tokens, or choices, of each example
            highest = rows.labels.max(dim=1).values if task.task.kind == "span" else rows.labels
            wrong = bool((highest >= room).any())
        else:
            classes = len(task.labels) if task.labels else special.vocabulary
            wrong = int(rows.labels.max()) >= classes
        if wrong or int(rows.labels.min()) < 0:
            return False
    return True
