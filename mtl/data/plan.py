"""The plan of a run: what every global step computes, and how ranks share it.

    plan = Plan(config, tasks)
    step = plan.step(17, cursors)         # the same on every rank
    mine = step.divide(ranks=8, micro_tokens=16384)[micro][rank]

Every rank computes the whole plan (ids, lengths, unit counts: cheap) and takes its share, so nobody has to communicate
to agree on tasks or counts. The loss of a step is

    L = sum_t lambda_t (n_t / N) (1 / U_t) sum of t's unit losses

with n_t examples of task t among N and U_t loss units of t in the *global* batch (a unit is an example, a labelled
word of a tag task, a masked token); `Step.weights` holds lambda_t n_t / (N U_t). It depends on neither ranks nor
micro-batches.
"""

import hashlib
import heapq
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import InputError
from common.run_config import RunConfig
from mtl.data import sampler
from mtl.data.task_data import TaskData


@dataclass(frozen=True)
class Step:
    """One global step: arrays over its N examples, and over the tasks."""

    number: int
    task: np.ndarray  # int64 [N]
    row: np.ndarray  # int64 [N], row of the task's training data
    length: np.ndarray  # int64 [N], tokens
    counts: np.ndarray  # int64 [tasks], n_t
    units: np.ndarray  # int64 [tasks], U_t
    weights: np.ndarray  # float64 [tasks]

    @property
    def tokens(self) -> int:
        return int(self.length.sum())

    def divide(self, ranks: int, micro_tokens: int) -> list[list[np.ndarray]]:
        """[micro-step][rank] -> places in this step's arrays; every example exactly once.

        As few micro-steps as fit `micro_tokens` a rank (beyond 127 within 2 % of it); the longest examples are
        placed first, each into the emptiest bin (longest processing time first, Graham 1969). A bin may be empty.
        """
        order = _falling(self.length)
        micro_steps = max(1, math.ceil(self.tokens / (ranks * micro_tokens)))
        while True:
            found = _fill(self.length[order], ranks * micro_steps, micro_tokens)
            if found is not None:
                break
            micro_steps += max(1, micro_steps // 64)  # thousands are not tried one by one
        owner, loads = found
        # Bins of like size run at the same time, so that ranks wait little for each other.
        rank_of = np.empty(len(loads), dtype=np.int64)
        rank_of[_falling(loads)] = np.arange(len(loads))
        owner = rank_of[owner]
        ends = np.cumsum(np.bincount(owner, minlength=len(loads)))
        places = order[_falling(-owner)]
        bins = [places[first:last] for first, last in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]
        return [bins[first : first + ranks] for first in range(0, len(bins), ranks)]

    def loads(self, shares: list[list[np.ndarray]]) -> np.ndarray:
        """int64 [micro-steps, ranks]: the tokens of each bin of `divide`."""
        places = [np.zeros(0, np.int64), *(bin for ranks in shares for bin in ranks)]
        total = np.concatenate([[0], np.cumsum(self.length[np.concatenate(places)])])
        ends = np.cumsum([len(bin) for bin in places])
        return np.diff(total[ends]).reshape(len(shares), -1)


def _falling(values: np.ndarray) -> np.ndarray:
    """The places of int64 `values` from the largest to the smallest, equal ones in their order."""
    keys = -values
    if len(keys) and int(keys.min()) >= -(2**15) and int(keys.max()) < 2**15:
        keys = keys.astype(np.int16)  # numpy sorts 16 bits by radix, five times as fast
    return np.argsort(keys, kind="stable")


# Below so many bins a round of arrays costs more than the items of it one by one.
_FEW = 24


def _fill(lengths: np.ndarray, count: int, capacity: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Each of `lengths` (falling) into the emptiest of `count` bins: (bin of each, loads), None if one overflows.

    As long as the loads differ by less than the next `count` items are long, each bin gets one of these: the whole
    round is then one sort of the loads instead of `count` turns of a heap, with the same result.
    """
    loads = np.zeros(count, dtype=np.int64)
    owner = np.empty(len(lengths), dtype=np.int64)
    size = count if count >= _FEW else max(1, len(lengths))
    for first in range(0, len(lengths), size):
        block = lengths[first : first + size]
        if count >= _FEW and int(loads.max() - loads.min()) < int(block[-1]):
            lightest = np.argsort(loads, kind="stable")[: len(block)]
            owner[first : first + size] = lightest
            loads[lightest] += block
        else:
            _one_by_one(block, loads, owner[first : first + size])
        if int(loads.max()) > capacity:
            several = (
                np.bincount(owner[: first + size], minlength=count) > 1
            )  # a bin may hold one that is too long alone
            if np.any(loads[several] > capacity):
                return None
    return owner, loads


def _one_by_one(block: np.ndarray, loads: np.ndarray, owner: np.ndarray) -> None:
    """Puts the items of `block` into the emptiest bin in turn; changes `loads`, writes `owner`."""
    count = len(loads)
    heap = [load * count + index for index, load in enumerate(loads.tolist())]  # one number sorts by load, then index
    heapq.heapify(heap)
    chosen = []
    for length in block.tolist():
        index = heap[0] % count
        chosen.append(index)
        heapq.heapreplace(heap, heap[0] + length * count)
    owner[:] = chosen
    np.add.at(loads, owner, block)


class Plan:
    """All steps of a run; a pure function of the config and the prepared data."""

    def __init__(self, config: RunConfig, tasks: list[TaskData]) -> None:
        self.config = config
        self.tasks = tasks
        sizes = np.array([len(task.train) for task in tasks])
        caps = np.array([self._cap(task) for task in tasks])
        capped = np.minimum(sizes, caps)
        self.epoch_examples = int(capped.sum())
        self.mean_length = np.array([task.mean_length for task in tasks])
        given = tuple(task.share or 0.0 for task in tasks) if config.mixture.kind == "fixed" else None
        start = sampler.shares(
            config.mixture.kind,
            capped,
            temperature=config.mixture.temperature,
            given=None if given is None else np.array(given),
        )
        if config.batch.examples is not None:
            batch = config.batch.examples
        else:
            assert config.batch.tokens is not None
            batch = max(1, round(config.batch.tokens / float(start @ self.mean_length)))
        if config.steps is not None:
            steps = config.steps
        else:
            assert config.epochs is not None
            steps = max(1, math.ceil(config.epochs * self.epoch_examples / batch))
        self.sampler = sampler.Sampler(
            sizes=tuple(int(n) for n in sizes),
            kind=config.mixture.kind,
            capped=tuple(int(n) for n in capped),
            seed=config.seed,
            batch_examples=batch,
            steps=steps,
            by_task=config.mixture.batches == "by_task",
            temperature=config.mixture.temperature,
            given=given,
        )
        self._lambda = np.array([task.loss_weight for task in tasks])
        for task in tasks:
            # Only where the manifest's bound does not settle it are the lengths read.
            if task.longest > config.micro_tokens and int(task.train.length.max()) > config.micro_tokens:
                raise InputError(
                    f"micro_tokens {config.micro_tokens} is less than the longest example of {task.name} "
                    f"({int(task.train.length.max())} tokens): raise micro_tokens or lower its max_length"
                )

    def _cap(self, task: TaskData) -> float:
        caps = [task.cap or math.inf]
        if self.config.mixture.kind == "capped":
            caps.append(self.config.mixture.cap or sampler.DEFAULT_CAP)
        elif self.config.mixture.cap is not None:
            caps.append(self.config.mixture.cap)
        return min(caps)

    @property
    def steps(self) -> int:
        return self.sampler.steps

    @property
    def batch_examples(self) -> int:
        return self.sampler.batch_examples

    def step(self, number: int, cursors: np.ndarray | None = None) -> Step:
        """Global step `number`, counted from 0. `cursors`: see `Sampler.batch`; advance them by `Step.counts`."""
        task, row = self.sampler.batch(number, cursors)
        length = np.empty(len(task), dtype=np.int64)
        counts = np.bincount(task, minlength=len(self.tasks))
        units = np.zeros(len(self.tasks), dtype=np.int64)
        for t in np.flatnonzero(counts):
            places = np.flatnonzero(task == t)
            length[places], found = self.tasks[t].sizes(row[places], self.config.mlm_probability)
            units[t] = found.sum()
        weights = self._lambda * counts / (len(task) * np.maximum(units, 1))
        return Step(number, task, row, length, counts, units, weights)

    def parts(self) -> dict[str, Any]:
        """What the plan depends on, by name: two plans are the same exactly when these are."""
        return {
            "seed": self.config.seed,
            "mixture": self.config.mixture.model_dump(),
            "batch examples": self.batch_examples,
            "steps": self.steps,
            "mlm_probability": self.config.mlm_probability,
            "tasks": {
                task.name: {
                    "rows": len(task.train),
                    "cap": task.cap,
                    "share": task.share,
                    "loss_weight": task.loss_weight,
                    "data": [p.manifest["files"]["train.arrow"]["sha256"][:12] for p in task.prepared],
                }
                for task in self.tasks
            },
        }

    def fingerprint(self) -> str:
        """sha256 of `parts()`."""
        return hashlib.sha256(json.dumps(self.parts(), sort_keys=True).encode()).hexdigest()

    def expected(self) -> list[dict[str, Any]]:
        """The mixture table: per task its size, probability at the start, expected examples and epochs of the run."""
        probability = self.sampler.shares_at(0)
        if self.config.mixture.kind == "annealed":
            mean = self.sampler.shares_at(np.arange(self.steps)).mean(axis=0)
        else:
            mean = probability
        draws = mean * self.steps * self.batch_examples
        return [
            {
                "task": task.name,
                "rows": len(task.train),
                "capped": self.sampler.capped[t],
                "probability": float(probability[t]),
                "examples": float(draws[t]),
                "epochs": float(draws[t] / len(task.train)),
                "mean_length": float(self.mean_length[t]),
            }
            for t, task in enumerate(self.tasks)
        ]
