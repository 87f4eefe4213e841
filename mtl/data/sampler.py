"""Which examples make up step s: a pure function of (sizes, mixture, seed, step).

No state, no I/O, no torch: `Sampler.batch(s)` gives the same examples on every rank, after every resume, and for any
number of ranks. Randomness is counter-based (Philox keyed by the seed, counted by the step) and the order within a
task is a keyed permutation with random access, one per epoch, so nothing has to be stored or replayed.

    sampler = Sampler(sizes=(1000, 50), shares=(0.9, 0.1), seed=1, batch=32, steps=500, by_task=True)
    task, row = sampler.batch(17)

Trade-off: the permutation is a Feistel network with cycle walking instead of a stored shuffle: 100 million examples
cost no memory and no start-up time, at about 100 ns an example.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from common.errors import InputError

DEFAULT_CAP = 2**17  # Phang et al. 2020: examples-proportional mixing, capped at 2^17 examples a task
ANNEAL_FLOOR = 0.2  # Stickland & Murray 2019 (PALs): alpha = 1 - 0.8 (e - 1) / (E - 1)

# Limits on the length of a run: a recount of all its draws (at every resume) stays a matter of seconds to minutes.
MOST_STEPS = 10**7
MOST_DRAWS = 10**10

_TASKS, _ORDER = 1, 2  # purposes that keep the random streams apart
_ROUNDS = 6
_BLOCK = 1 << 22  # draws recounted at once: 32 MB


def shares(
    kind: str,
    sizes: np.ndarray,
    *,
    temperature: float = 1.0,
    given: np.ndarray | None = None,
    progress: float | np.ndarray = 0.0,
) -> np.ndarray:
    """Probability of each task, float64 [tasks] (or [steps, tasks] for an array `progress`), summing to 1.

    `sizes`: int [tasks], already capped: min(n, K). With n these sizes:

    - proportional, capped: p ~ n (Raffel et al. 2020, examples-proportional mixing with K as artificial limit)
    - temperature: p ~ n^(1/T) (same)
    - uniform: p ~ 1
    - fixed: p ~ `given`
    - annealed: p ~ n^alpha, alpha = 1 - 0.8 * progress, progress in [0, 1] (Stickland & Murray 2019, by step)
    """
    n = np.asarray(sizes, dtype=np.float64)
    if kind in ("proportional", "capped"):
        weights = n
    elif kind == "temperature":
        weights = (n / n.max()) ** (1.0 / temperature)  # scaled, so that a small T does not overflow
    elif kind == "uniform":
        weights = np.ones_like(n)
    elif kind == "fixed":
        assert given is not None
        weights = np.asarray(given, dtype=np.float64)
    else:
        assert kind == "annealed", kind
        alpha = 1.0 - (1.0 - ANNEAL_FLOOR) * np.asarray(progress, dtype=np.float64)
        weights = n ** alpha[..., None]
    return weights / weights.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Sampler:
    """Draws of a whole run. `sizes`: examples per task; `batch`: examples per step; `steps`: length of the run."""

    sizes: tuple[int, ...]
    kind: str
    capped: tuple[int, ...]  # min(n, cap) per task, what the shares are computed from
    seed: int
    batch_examples: int
    steps: int
    by_task: bool
    temperature: float = 1.0
    given: tuple[float, ...] | None = None
    # (step, cursors) of the latest recount, so that asking for rising steps counts every draw once.
    _counted: list[tuple[int, np.ndarray]] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.steps > MOST_STEPS or self.steps * self.batch_examples > MOST_DRAWS:
            raise InputError(
                f"{self.steps} steps of {self.batch_examples} examples: more than the {MOST_STEPS:,} steps or"
                f" {MOST_DRAWS:,} examples that a run may have; lower `epochs`, `steps` or `batch`"
            )

    def shares_at(self, steps: np.ndarray | int) -> np.ndarray:
        """Task probabilities, float64 [..., tasks], at the given step numbers."""
        progress = np.clip(np.asarray(steps, dtype=np.float64) / max(1, self.steps - 1), 0.0, 1.0)
        given = None if self.given is None else np.asarray(self.given)
        p = shares(self.kind, np.asarray(self.capped), temperature=self.temperature, given=given, progress=progress)
        return np.broadcast_to(p, (*progress.shape, len(self.sizes)))

    def tasks(self, first: int, last: int) -> np.ndarray:
        """Task of every draw of the steps first <= s < last: int64 [last - first, batch] ([..., 1] for `by_task`)."""
        width = 1 if self.by_task else self.batch_examples
        u = _uniform(self.seed, first, last, width)
        if self.kind == "annealed":
            edges = np.cumsum(self.shares_at(np.arange(first, last)), axis=-1)
            edges[:, -1] = 1.0
            return (u[:, :, None] >= edges[:, None, :]).sum(axis=-1)
        edges = np.cumsum(self.shares_at(0))
        edges[-1] = 1.0
        # A task of share 0 has an empty interval, which side="right" never lands in.
        return np.searchsorted(edges, u, side="right")

    def cursors(self, step: int) -> np.ndarray:
        """How many examples of each task were drawn before `step`: int64 [tasks]. Recounted, never stored."""
        start, counts = 0, np.zeros(len(self.sizes), dtype=np.int64)
        if self._counted and self._counted[0][0] <= step:
            start, counts = self._counted[0][0], self._counted[0][1].copy()
        width = 1 if self.by_task else self.batch_examples
        per_draw = self.batch_examples if self.by_task else 1
        span = max(1, _BLOCK // width)
        for first in range(start, step, span):
            drawn = self.tasks(first, min(step, first + span))
            counts += np.bincount(drawn.ravel(), minlength=len(self.sizes)) * per_draw
        self._counted[:] = [(step, counts.copy())]
        return counts

    def batch(self, step: int, cursors: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Task and row of every example of global step `step`: two int64 [batch], grouped by nothing.

        `cursors` are `self.cursors(step)`, given by a caller that walks the steps in order and keeps count.
        """
        if cursors is None:
            cursors = self.cursors(step)
        task = np.broadcast_to(self.tasks(step, step + 1)[0], (self.batch_examples,)).astype(np.int64)
        counts = np.bincount(task, minlength=len(self.sizes))
        # The examples of a task are drawn one after another: how many of it came before each in this step.
        order = np.argsort(task.astype(np.int16), kind="stable")  # of 16 bits: sorted by radix
        drawn = np.empty(self.batch_examples, dtype=np.int64)
        drawn[order] = np.arange(self.batch_examples) - np.repeat(np.cumsum(counts) - counts, counts)
        drawn += np.asarray(cursors)[task]
        size = np.asarray(self.sizes)[task]
        epoch, place = np.divmod(drawn, size)
        first, last = np.divmod(cursors, self.sizes)[0], np.divmod(cursors + counts - 1, self.sizes)[0]
        here = np.flatnonzero(counts)
        keys = [_keys((self.seed, t, e)) for t in here.tolist() for e in range(int(first[t]), int(last[t]) + 1)]
        epochs = np.where(counts > 0, last - first + 1, 0)
        key = (np.cumsum(epochs) - epochs - first)[task] + epoch
        return task, _permute(place, size, np.array(keys), key)


def permute(place: np.ndarray, size: int, key: tuple[int, ...]) -> np.ndarray:
    """Keyed permutation of range(size): int64 [k] places -> int64 [k] rows, random access.

    A balanced Feistel network over the next even number of bits, applied again to whatever falls outside
    (cycle walking; Black & Rogaway 2002, "Ciphers with arbitrary finite domains").
    """
    alike = np.zeros(len(place), dtype=np.int64)
    return _permute(place, alike + size, _keys(key)[None], alike)


def _permute(place: np.ndarray, size: np.ndarray, keys: np.ndarray, key: np.ndarray) -> np.ndarray:
    """`permute` of many at once: int64 [k] places in ranges of `size` [k], under the round keys `keys[key]` [k]."""
    # Bits of half a word: of size - 1, at least 1, rounded up to an even number, halved; float64 is exact below 2^53.
    bits = np.maximum(1, np.frexp((size - 1).astype(np.float64))[1])
    shift = ((bits + 1) // 2).astype(np.uint64)
    mask = (np.uint64(1) << shift) - np.uint64(1)
    limit = size.astype(np.uint64)
    values = place.astype(np.uint64)
    found = np.empty(len(place), dtype=np.int64)
    at = np.arange(len(place))
    while len(at):
        left, right = values >> shift, values & mask
        for turn in range(_ROUNDS):
            mixed = _mix(right ^ keys[key, turn])
            mixed &= mask
            mixed ^= left
            left, right = right, mixed
        values = (left << shift) | right
        inside = values < limit
        found[at[inside]] = values[inside]
        out = np.flatnonzero(~inside)
        at, values, shift, mask, limit, key = at[out], values[out], shift[out], mask[out], limit[out], key[out]
    return found


@lru_cache(maxsize=4096)
def _keys(key: tuple[int, ...]) -> np.ndarray:
    """uint64 [rounds]: the round keys of one permutation."""
    return np.random.SeedSequence([_ORDER, *key]).generate_state(_ROUNDS, np.uint64)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014): every input bit reaches every output bit. Changes `x`."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def _uniform(seed: int, first: int, last: int, width: int) -> np.ndarray:
    """float64 [last - first, width] in [0, 1): numbers of the steps first <= s < last, whichever range is asked for."""
    blocks = -(-width // 4)  # Philox gives four words a count; each step owns whole counts
    generator = np.random.Philox(key=[_TASKS, seed], counter=[first * blocks, 0, 0, 0])
    words = generator.random_raw((last - first) * blocks * 4).reshape(last - first, blocks * 4)
    return (words[:, :width] >> np.uint64(11)) * 2.0**-53
