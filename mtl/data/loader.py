"""Prefetching loader: from the plan to this rank's packed micro-batches, a few steps before they are needed.

    with PrefetchLoader(plan, first=state.step, rank=rank, world=world, special=special, pin=False) as steps:
        for batches in steps:
            ...

Nothing here holds state: which rows a step has follows from its number alone, so a resumed run begins with the step
that its checkpoint names, whatever had been packed before it stopped.

Data read from disk is checked before it reaches the model, where a wrong id would be an error without a name (or, on a
GPU, the end of the process): whole micro-batches at a time, and row by row only once something is wrong.
"""

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.errors import InputError
from mtl.data.packing import PackedBatch, pack
from mtl.data.plan import Plan, Step
from tasks.base import Draw
from tasks.encoding import Special
from tasks.pair.data import KEYS, keys_of

PREFETCH = 3  # packed steps in the queue, the next one among them
DELAY = 0.4  # packing starts after this part of a step
MAX_DELAY = 0.2  # seconds


@dataclass(frozen=True)
class StepBatches:
    """What a rank computes in one global step. `assignment`: from `Step.divide`; `keys`: from `pair_keys`.

    `error`: why it cannot be computed (a row is not what was prepared); `batches` are then empty, `step` is not valid.
    """

    step: Step
    assignment: list[list[np.ndarray]]
    batches: list[PackedBatch]
    keys: dict[str, np.ndarray]
    error: str | None = None


class PrefetchLoader:
    """Iterates over the `StepBatches` of `rank` from step `first` on, packed by a thread, at most `PREFETCH` waiting.

    An exception of the thread is raised at its step. `pin`: batches in page-locked memory. Leaving the `with` ends the
    thread; its exceptions are then ignored.
    """

    def __init__(self, plan: Plan, *, first: int, rank: int, world: int, special: Special, pin: bool) -> None:
        self._plan, self._first, self._rank, self._world = plan, first, rank, world
        self._special, self._pin = special, pin
        self._queue: queue.SimpleQueue[StepBatches | BaseException | None] = queue.SimpleQueue()
        self._peeked: list[StepBatches | BaseException | None] = []
        self._slots = threading.Semaphore(PREFETCH)
        self._closed = threading.Event()
        self._last = (time.monotonic(), 0.0)  # when a step was last requested, and how long after the one before
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)

    def __enter__(self) -> "PrefetchLoader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._slots.release()
        self._thread.join()

    def next_has_error(self) -> bool:
        """Whether the next step has an `error`; waits until it is packed."""
        if not self._peeked:
            self._peeked.append(self._queue.get())
        return isinstance(self._peeked[0], StepBatches) and self._peeked[0].error is not None

    def __iter__(self) -> Iterator[StepBatches]:
        while (item := self._peeked.pop() if self._peeked else self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            now = time.monotonic()
            self._last = (now, now - self._last[0])
            self._slots.release()
            yield item

    def _run(self) -> None:
        try:
            for step in steps_from(self._plan, self._first):
                self._slots.acquire()
                if self._queue.qsize() + len(self._peeked) > 1:
                    # The main thread is now launching the kernels of the current step from Python, and this thread
                    # would take the interpreter from it. Later it waits for the GPU.
                    self._closed.wait(min(DELAY * self._last[1], MAX_DELAY))
                if self._closed.is_set():
                    return
                self._queue.put(self._load(step))
        except InputError as error:  # while planning
            self._queue.put(StepBatches(Step(-1, *[np.zeros(0, np.int64)] * 7), [], [], {}, str(error)))
        except BaseException as error:  # the main thread must not wait for ever, whatever it is
            self._queue.put(error)
        self._queue.put(None)

    def _load(self, step: Step) -> StepBatches:
        assignment = step.divide(self._world, self._plan.config.micro_tokens)
        try:
            batches = micro_batches(self._plan, step, assignment, self._rank, self._special)
            keys = pair_keys(self._plan, step)
        except InputError as error:
            return StepBatches(step, assignment, [], {}, str(error))
        return StepBatches(step, assignment, [batch.pinned() for batch in batches] if self._pin else batches, keys)


def steps_from(plan: Plan, first: int) -> Iterator[Step]:
    """The global steps from number `first` on; seeking recounts the earlier draws and replays nothing."""
    cursors = plan.sampler.cursors(first)
    for number in range(first, plan.steps):
        step = plan.step(number, cursors)
        cursors = cursors + step.drawn
        yield step


def micro_batches(
    plan: Plan, step: Step, assignment: list[list[np.ndarray]], rank: int, special: Special
) -> list[PackedBatch]:
    """This rank's micro-batches of `step`; `assignment` as `Step.divide` gave them.

    Raises `InputError` naming the file and row if one is not what was prepared.
    """
    return [_checked_batch(plan, step, ranks[rank], special) for ranks in assignment]


def _checked_batch(plan: Plan, step: Step, indices: np.ndarray, special: Special) -> PackedBatch:
    """`batch_of`, with `InputError` for the first row that cannot be what was prepared."""
    try:
        batch = batch_of(plan, step, indices, special, step.weights)
        ids = batch.input_ids
        if int(ids.min()) < 0 or int(ids.max()) >= special.vocabulary:
            raise ValueError("ids outside the vocabulary")
        if len(indices) and batch.tokens != step.length[indices].sum():
            raise ValueError("other lengths than the step was planned with")
        return batch
    except (ValueError, IndexError, OverflowError):  # lengths that do not add up, a token never seen
        for index in indices if len(indices) > 1 else ():
            _checked_batch(plan, step, np.array([index]), special)
        raise plan.tasks[step.task[indices[0]]].row_changed(int(step.row[indices[0]])) from None


def pair_keys(plan: Plan, step: Step) -> dict[str, np.ndarray]:
    """{task of contrastive pairs: int64 [n, 3], the keys of each of its pairs in the batch, in order}."""
    keys = {}
    for t in np.flatnonzero(step.counts):
        task = plan.tasks[t]
        if set(KEYS).issubset(task.type.stored):
            keys[task.name] = keys_of(task.train.gather(step.row[step.task == t], KEYS))
    return keys


def batch_of(
    plan: Plan, step: Step, indices: np.ndarray, special: Special, weights: np.ndarray | None = None
) -> PackedBatch:
    """The examples of `step` at `indices` as one micro-batch; `weights` of the heads, by default 1.

    `ValueError` or `IndexError` where the rows are not what was prepared.
    """
    groups = []
    owner, config = step.task[indices], plan.config
    for t in np.unique(owner).tolist():
        task, rows = plan.tasks[t], np.flatnonzero(owner == t)
        slots = indices[rows]
        columns = task.train.gather(step.row[slots], [*special.columns, *task.type.stored])
        numbers = np.searchsorted(np.flatnonzero(step.task == t), slots)
        draw = Draw(config.seed, step.number, slots, numbers, special, config.mlm_probability, task.entry.pooling)
        groups.append((t, rows, task.type.complete(columns, draw)))
    return pack(groups, [(task.name, task.task.kind) for task in plan.tasks], special, weights)
