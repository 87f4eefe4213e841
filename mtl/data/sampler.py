"""The examples of step s as a pure function of (sizes, mixture, seed, step).

No I/O, no torch: `Sampler.batch(s)` gives the same examples on every rank, for any number of ranks, and after a resume.
Randomness is counter-based (Philox keyed by the seed, counted by the step), and the order within a task is a keyed
permutation with random access, one per epoch, so nothing has to be stored or replayed.

    sampler = Sampler(
        sizes=(1000, 50), kind="capped", capped=(500, 50), seed=1, batch_examples=32, steps=500, by_task=True
    )
    source, row = sampler.batch(17)    # int64 [32], int64 [32]

A task has one source of examples, or one for each of its languages (`within`); a draw chooses both at once.

Trade-off: the permutation is a Feistel network with cycle walking instead of a stored shuffle: 100 million examples
cost no memory and no start-up time, at about 100 ns an example.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from common.errors import InputError

DEFAULT_CAP = 2**17  # Phang et al. 2020: examples-proportional mixing, capped at 2^17 examples a task
ANNEAL_FLOOR = 0.2  # Stickland & Murray 2019 (PALs): alpha = 1 - 0.8 (e - 1) / (E - 1)

# Limits on the length of a run: every resume recounts all draws, which must take seconds to minutes.
MOST_STEPS = 10**7
MOST_DRAWS = 10**10

_TASKS, _ORDER, _SOURCES = 1, 2, 3  # keys of independent random streams
_ROUNDS = 6
_BLOCK = 1 << 22  # draws times sources recounted at once: 32 MB


def task_probabilities(
    kind: str, sizes: np.ndarray, temperature: float, given: Sequence[float | None], progress: float | np.ndarray = 0.0
) -> np.ndarray:
    """Probability of each task, float64 [tasks] (or [steps, tasks] for an array `progress`), summing to 1.

    `sizes`: int [tasks], already capped: min(n, K). With n these sizes:

    - proportional, capped: p ~ n (Raffel et al. 2020, examples-proportional mixing with K as artificial limit)
    - temperature: p ~ n^(1/T) (same)
    - uniform: p ~ 1
    - fixed: p ~ `given`
    - annealed: p ~ n^alpha, alpha = 1 - 0.8 * progress, progress in [0, 1] (Stickland & Murray 2019, by step)

    A task with a number in `given` has this probability in any other kind than `fixed`, too; the others (None) divide
    what is left as the kind says.
    """
    n = np.asarray(sizes, dtype=np.float64)
    if kind in ("proportional", "capped"):
        weights = n
    elif kind == "temperature":
        weights = (n / n.max()) ** (1.0 / temperature)  # scaled, so that a small T does not overflow
    elif kind == "uniform":
        weights = np.ones_like(n)
    elif kind == "fixed":
        return _normalised(np.asarray(given, dtype=np.float64))
    else:  # annealed
        alpha = 1.0 - (1.0 - ANNEAL_FLOOR) * np.asarray(progress, dtype=np.float64)
        weights = n ** alpha[..., None]
    share = np.array(given or [None] * len(n), dtype=np.float64)  # None becomes NaN
    rest = np.isnan(share)
    if rest.all():
        return _normalised(weights)
    return np.where(rest, (1.0 - np.nansum(share)) * _normalised(np.where(rest, weights, 0.0)), share)


def _normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Sampler:
    """The draws of a whole run.

    sizes: rows per source; kind, temperature, given: the mixture, see `task_probabilities`; capped: min(size, cap) per
    task, which determine the probabilities; batch_examples: examples per step; steps: length of the run; by_task: all
    examples of a step come from one source; within: of each task the shares of its sources, which add up to 1; () where
    every task has one; one_source: tasks whose examples of a step come from one source each, in mixed batches too.
    `InputError` for a run of more than `MOST_STEPS` steps or `MOST_DRAWS` examples.
    """

    sizes: tuple[int, ...]
    kind: str
    capped: tuple[int, ...]
    seed: int
    batch_examples: int
    steps: int
    by_task: bool
    temperature: float = 1.0
    given: tuple[float | None, ...] = ()
    within: tuple[tuple[float, ...], ...] = ()
    one_source: tuple[int, ...] = ()
    # (step, cursors) of the latest recount, so that ascending steps count every draw once.
    _counted: list[tuple[int, np.ndarray]] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._counted.append((0, np.zeros(len(self.sizes), dtype=np.int64)))
        if self.steps > MOST_STEPS or self.steps * self.batch_examples > MOST_DRAWS:
            raise InputError(
                f"{self.steps} steps of {self.batch_examples} examples: more than the {MOST_STEPS:,} steps or"
                f" {MOST_DRAWS:,} examples allowed in a run; lower `epochs`, `steps` or `batch`"
            )

    def probabilities_at(self, steps: np.ndarray | int) -> np.ndarray:
        """Task probabilities, float64 [..., tasks], at the given step numbers."""
        progress = np.clip(np.asarray(steps, dtype=np.float64) / max(1, self.steps - 1), 0.0, 1.0)
        p = task_probabilities(
            self.kind, np.asarray(self.capped), temperature=self.temperature, given=self.given, progress=progress
        )
        return np.broadcast_to(p, (*progress.shape, len(self.capped)))

    def sources(self, first: int, last: int) -> np.ndarray:
        """Source of every draw of steps first <= s < last: int64 [steps, batch_examples] ([steps, 1] for `by_task`)."""
        width = 1 if self.by_task else self.batch_examples
        u = _uniform(self.seed, first, last, width)
        if self.kind == "annealed":
            edges = np.cumsum(self._of_sources(np.arange(first, last)), axis=-1)
            edges[:, -1] = 1.0
            found = (u[:, :, None] >= edges[:, None, :]).sum(axis=-1)
        else:
            found = _drawn(self._of_sources(0), u)
        if self.one_source and not self.by_task:  # one number of its own for each of these tasks and step
            of_step = _uniform(self.seed, first, last, len(self.within), _SOURCES)
            ends = np.cumsum([len(shares) for shares in self.within])
            for task in self.one_source:
                shares = np.array(self.within[task])
                start = ends[task] - len(shares)
                mine = (found >= start) & (found < ends[task])
                found = np.where(mine, start + _drawn(shares, of_step[:, task, None]), found)
        return found

    def _of_sources(self, steps: np.ndarray | int) -> np.ndarray:
        """Source probabilities, float64 [..., sources]."""
        p = self.probabilities_at(steps)
        if not self.within:
            return p
        owner = np.repeat(np.arange(len(self.within)), [len(shares) for shares in self.within])
        return p[..., owner] * np.concatenate(self.within)

    def cursors(self, step: int) -> np.ndarray:
        """Number of examples of each source drawn before `step`: int64 [sources]. Recounted, never stored."""
        start, counts = self._counted[0]
        if start > step:
            start, counts = 0, np.zeros_like(counts)
        width = 1 if self.by_task else self.batch_examples
        per_draw = self.batch_examples if self.by_task else 1
        span = max(1, _BLOCK // (width * len(self.sizes)))
        for first in range(start, step, span):
            drawn = self.sources(first, min(step, first + span))
            counts = counts + np.bincount(drawn.ravel(), minlength=len(self.sizes)) * per_draw
        self._counted[0] = (step, counts)
        return counts.copy()

    def batch(self, step: int, cursors: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Source and row of every example of global step `step`: two int64 [batch_examples], in order of drawing.

        cursors: `self.cursors(step)`, if the caller keeps count.
        """
        if cursors is None:
            cursors = self.cursors(step)
        source = np.broadcast_to(self.sources(step, step + 1)[0], (self.batch_examples,)).astype(np.int64)
        counts = np.bincount(source, minlength=len(self.sizes))
        # The index of each draw among the draws of its source in this step.
        order = np.argsort(source.astype(np.int16), kind="stable")  # int16: radix sort
        drawn = np.empty(self.batch_examples, dtype=np.int64)
        drawn[order] = np.arange(self.batch_examples) - np.repeat(np.cumsum(counts) - counts, counts)
        drawn += np.asarray(cursors)[source]
        size = np.asarray(self.sizes)[source]
        epoch, position = np.divmod(drawn, size)
        first, last = np.divmod(cursors, self.sizes)[0], np.divmod(cursors + counts - 1, self.sizes)[0]
        present = np.flatnonzero(counts).tolist()
        keys = [round_keys((self.seed, s, e)) for s in present for e in range(int(first[s]), int(last[s]) + 1)]
        epochs = np.where(counts > 0, last - first + 1, 0)
        key = (np.cumsum(epochs) - epochs - first)[source] + epoch
        return source, permute(position, size, np.array(keys), key)


def _drawn(p: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Which of the outcomes of probabilities `p` the numbers `u` in [0, 1) stand for."""
    edges = np.cumsum(p)
    edges[np.flatnonzero(p)[-1] :] = 1.0
    # An outcome of probability 0 has an empty interval, which side="right" never lands in.
    return np.searchsorted(edges, u, side="right")


def permute(position: np.ndarray, size: np.ndarray, keys: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Keyed permutations: int64 [k] positions in ranges of `size` [k] -> int64 [k] rows, random access.

    keys: uint64 [permutations, rounds], round keys from `round_keys`; key: int64 [k], which of them. A balanced Feistel
    network over the next even number of bits, applied again to values out of range (cycle walking; Black & Rogaway
    2002, "Ciphers with arbitrary finite domains").
    """
    # Bits of half a word: of size - 1, at least 1, rounded up to an even number, halved; float64 is exact below 2^53.
    bits = np.maximum(1, np.frexp((size - 1).astype(np.float64))[1])
    shift = ((bits + 1) // 2).astype(np.uint64)
    mask = (np.uint64(1) << shift) - np.uint64(1)
    limit = size.astype(np.uint64)
    values = position.astype(np.uint64)
    rows = np.empty(len(position), dtype=np.int64)
    left_over = np.arange(len(position))
    while len(left_over):
        left, right = values >> shift, values & mask
        for number in range(_ROUNDS):
            left, right = right, left ^ (_mix(right ^ keys[key, number]) & mask)
        values = (left << shift) | right
        inside = values < limit
        rows[left_over[inside]] = values[inside]
        out = np.flatnonzero(~inside)
        left_over, values, shift = left_over[out], values[out], shift[out]
        mask, limit, key = mask[out], limit[out], key[out]
    return rows


@lru_cache(maxsize=4096)
def round_keys(key: tuple[int, ...]) -> np.ndarray:
    """uint64 [rounds]: the round keys of one permutation."""
    return np.random.SeedSequence([_ORDER, *key]).generate_state(_ROUNDS, np.uint64)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014): every input bit affects every output bit. In place."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def _uniform(seed: int, first: int, last: int, width: int, stream: int = _TASKS) -> np.ndarray:
    """float64 [last - first, width] in [0, 1): a pure function of (seed, step) for first <= step < last."""
    blocks = -(-width // 4)  # Philox gives four words a count; each step owns whole counts
    generator = np.random.Philox(key=[stream, seed], counter=[first * blocks, 0, 0, 0])
    words = generator.random_raw((last - first) * blocks * 4).reshape(last - first, blocks * 4)
    return (words[:, :width] >> np.uint64(11)) * 2.0**-53
