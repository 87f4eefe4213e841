"""From the plan to this rank's packed micro-batches, ahead of the step that needs them.

    with Ahead(plan, first=state.step, rank=rank, world=world, special=special, pin=False) as works:
        for work in works:
            ...

Nothing here holds state: which rows a step has follows from its number alone, so a resumed run begins with the step
that its checkpoint names, whatever had been packed ahead of it.

What comes from the disk is checked before it reaches the model, where a wrong id would be an error without a name (or,
on a GPU, the end of the process): whole micro-batches at a time, and row by row only once something is wrong.
"""

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.columns import Columns, plain
from common.errors import InputError
from mtl.data.packing import PackedBatch, pack
from mtl.data.plan import Plan, Step
from tasks.base import Draw
from tasks.encoding import Special

AHEAD = 3  # steps that are packed and wait, the next one among them
LATER = 0.4  # of a step: packing begins so long after it
LONGEST = 0.2  # seconds, at most


@dataclass(frozen=True)
class Work:
    """What a rank does in one global step. `shares` as `Step.divide` gave them, `keys` as `pair_keys`.

    `problem`: why it cannot (a row is not what was prepared); then there are no batches, and `step` is not to be used.
    """

    step: Step
    shares: list[list[np.ndarray]]
    batches: list[PackedBatch]
    keys: dict[str, np.ndarray]
    problem: str | None = None


class Ahead:
    """The works of `rank` for the steps from `first` on, made in a thread of their own, at most `AHEAD` waiting.

    Iterating gives them in order. An exception of the thread is raised where its step would have come. `pin`: batches
    lie in page-locked memory. Leaving the `with` ends the thread; its exceptions no longer matter then.
    """

    def __init__(self, plan: Plan, *, first: int, rank: int, world: int, special: Special, pin: bool) -> None:
        self._plan, self._first, self._rank, self._world = plan, first, rank, world
        self._special, self._pin = special, pin
        self._made: queue.SimpleQueue[Work | BaseException | None] = queue.SimpleQueue()
        self._next: list[Work | BaseException | None] = []  # looked at, not yet taken
        self._room = threading.Semaphore(AHEAD)
        self._closed = threading.Event()
        self._took = (time.monotonic(), 0.0)  # when a work was last asked for, and how long after the one before
        self._thread = threading.Thread(target=self._make, name="loader", daemon=True)

    def __enter__(self) -> "Ahead":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._room.release()
        self._thread.join()

    def broken(self) -> bool:
        """Whether the next work has a problem; waits until it is made."""
        if not self._next:
            self._next.append(self._made.get())
        return isinstance(self._next[0], Work) and self._next[0].problem is not None

    def __iter__(self) -> Iterator[Work]:
        while (work := self._next.pop() if self._next else self._made.get()) is not None:
            if isinstance(work, BaseException):
                raise work
            now = time.monotonic()
            self._took = (now, now - self._took[0])
            self._room.release()
            yield work

    def _make(self) -> None:
        try:
            for step in steps_from(self._plan, self._first):
                self._room.acquire()
                if self._made.qsize() + len(self._next) > 1:
                    # The step that has just begun issues its kernels from Python, and this thread would hold it up.
                    # Later it waits for the GPU. As long as a work is ready there is time.
                    self._closed.wait(min(LATER * self._took[1], LONGEST))
                if self._closed.is_set():
                    return
                self._made.put(self._work(step))
            self._made.put(None)
        except InputError as error:  # while planning
            nothing = np.zeros(0, np.int64)
            step = Step(-1, nothing, nothing, nothing, nothing, nothing, np.zeros(0))
            self._made.put(Work(step, [], [], {}, str(error)))
            self._made.put(None)
        except BaseException as error:  # whatever it is, the step that waits for it must not wait for ever
            self._made.put(error)

    def _work(self, step: Step) -> Work:
        shares = step.divide(self._world, self._plan.config.micro_tokens)
        try:
            batches = micro_batches(self._plan, step, shares, self._rank, self._special)
            keys = pair_keys(self._plan, step)
        except InputError as error:
            return Work(step, shares, [], {}, str(error))
        return Work(step, shares, [batch.pinned() for batch in batches] if self._pin else batches, keys)


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
    return [_checked(plan, step, ranks[rank], special) for ranks in shares]


def _checked(plan: Plan, step: Step, places: np.ndarray, special: Special) -> PackedBatch:
    """These positions of `step` in one micro-batch; `InputError` for the first row that cannot be what was prepared."""
    try:
        batch = batch_of(plan, step, places, special, step.weights)
        ids = batch.input_ids
        if int(ids.min()) < 0 or int(ids.max()) >= special.vocabulary:
            raise ValueError("ids outside the vocabulary")
        if len(places) and batch.tokens != step.length[places].sum():
            raise ValueError("other lengths than the step was planned with")
        return batch
    except (ValueError, IndexError, OverflowError):  # lengths that do not add up, a token never seen
        for place in places if len(places) > 1 else ():
            _checked(plan, step, np.array([place]), special)
        raise InputError(plan.tasks[step.task[places[0]]].altered(int(step.row[places[0]]))) from None


def pair_keys(plan: Plan, step: Step) -> dict[str, np.ndarray]:
    """{task: int64 [n]}: the passage key of every pair of `step` in order of slots, by task of contrastive pairs."""
    found = {}
    for t in np.flatnonzero(step.counts):
        task = plan.tasks[t]
        if "passage_key" in task.type.stored:
            found[task.name] = plain(task.train.gather(step.row[step.task == t], ["passage_key"])["passage_key"])
    return found


def batch_of(
    plan: Plan, step: Step, places: np.ndarray, special: Special, weights: np.ndarray | None = None
) -> PackedBatch:
    """Some positions of `step` in one micro-batch, as the heads read them; `weights` of the heads, by default 1.

    `ValueError` or `IndexError` where the rows are not what was prepared.
    """
    groups = []
    owner = step.task[places]
    for t in np.unique(owner).tolist():
        at = np.flatnonzero(owner == t)
        groups.append((t, at, _columns(plan, step, t, places[at], special)))
    return pack(groups, [(task.name, task.task.kind) for task in plan.tasks], special, weights)


def _columns(plan: Plan, step: Step, t: int, slots: np.ndarray, special: Special) -> Columns:
    """What the head of task `t` reads of these slots of `step`, all of that task."""
    task = plan.tasks[t]
    columns = task.train.gather(step.row[slots], ["input_ids", "lengths", *task.type.stored])
    numbers = np.searchsorted(np.flatnonzero(step.task == t), slots)
    config = plan.config
    return task.type.complete(columns, Draw(config.seed, step.number, slots, numbers, special, config.mlm_probability))
