"""How long ranks wait for the slowest: the real plan of the nine tasks, simulated for 8, 64 and 512 ranks.

    python -m bench.imbalance [--steps 100] [--micro-tokens 16384]

Per global step: the slowest rank's tokens over the mean (micro-steps added up, as ranks meet after each), and the same
for the arithmetic of XLM-R Large, in which attention grows with the square of a sequence's length. Median and worst
over steps. `one task per rank` is what programs do that give every rank a batch of its own: each rank draws a task by
the same mixture and takes the same number of examples of it. Lengths: bench/lengths.json; sizes as published.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

from bench import virtual
from mtl.data.loader import steps_from
from mtl.data.plan import Plan, Step

# XLM-R Large: parameters outside the embeddings, blocks, width. 6 operations a parameter and token, and 12 L d s for
# attention over a sequence of s tokens, forwards and backwards (Narayanan et al. 2021, section 3, without the logits).
PARAMETERS, BLOCKS, WIDTH = 303e6, 24, 1024


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.imbalance", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--micro-tokens", type=int, default=16384)
    options = parser.parse_args(arguments)
    micro = options.micro_tokens
    print(f"micro_tokens {micro:,}; {options.steps} steps; slowest rank over the mean: median (worst)\n")
    print("| ranks | a step | batches | micro-steps, mean (most) | filled | tokens | arithmetic |")
    print("|---:|---|---|---:|---:|---:|---:|")
    for ranks in (8, 64, 512):
        for share in (1 / 2, 15 / 16, 1):
            batch = {"tokens": round(ranks * micro * share)}
            for batches in ("mixed", "by_task"):
                print(_row(_plan(batch, batches, micro), ranks, micro, options.steps), flush=True)
            print(_alone(_plan(batch, "mixed", micro), ranks, options.steps), flush=True)
    for ranks in (8, 64):
        for batches in ("mixed", "by_task"):
            print(_row(_plan({"examples": 32}, batches, micro), ranks, micro, options.steps), flush=True)


def _plan(batch: dict[str, int], batches: str, micro: int) -> Plan:
    mixture = {"kind": "capped", "batches": batches}
    return Plan(virtual.config(batch=batch, mixture=mixture, micro_tokens=micro), cast(Any, virtual.tasks()))


def work(plan: Plan, step: Step) -> np.ndarray:
    """float64 [N]: operations of XLM-R Large on each example of a step."""
    squares = np.empty(len(step.task))
    for t, task in enumerate(plan.tasks):
        places = np.flatnonzero(step.task == t)
        squares[places] = cast(virtual.Virtual, task).squares(step.row[places])
    return 6 * PARAMETERS * step.length + 12 * BLOCKS * WIDTH * squares


def slowest(loads: np.ndarray) -> float:
    """Loads [micro-steps, ranks]: the sum over micro-steps of the largest, over the mean rank's sum."""
    return float(loads.max(axis=1).sum() / (loads.sum() / loads.shape[1]))


def measure(plan: Plan, ranks: int, micro: int, steps: int) -> Iterator[tuple[int, float, float, float]]:
    """Per step: micro-steps, share of the micro-batches' room that is filled, and `slowest` in tokens and in work."""
    for step, _ in zip(steps_from(plan, 0), range(steps), strict=False):
        shares = step.divide(ranks, micro)
        operations = work(plan, step)
        done = np.array([[operations[places].sum() for places in row] for row in shares])
        filled = step.tokens / (len(shares) * ranks * micro)
        yield len(shares), filled, slowest(step.loads(shares)), slowest(done)


def _row(plan: Plan, ranks: int, micro: int, steps: int) -> str:
    micro_steps, filled, tokens, operations = np.array(list(measure(plan, ranks, micro, steps))).T
    several = f"{micro_steps.mean():.2f} ({micro_steps.max():.0f})"
    shown = [plan.config.mixture.batches, several, f"{filled.mean():.0%}", _two(tokens), _two(operations)]
    return f"| {ranks} | {_size(plan)} | {' | '.join(shown)} |"


def _alone(plan: Plan, ranks: int, steps: int) -> str:
    """One task per rank: the same number of examples on each, of a task of its own."""
    generator = np.random.default_rng(0)
    shares = plan.sampler.shares_at(0)
    each = max(1, plan.batch_examples // ranks)
    found = []
    for _ in range(steps):
        loads = []
        for t in generator.choice(len(plan.tasks), size=ranks, p=shares):
            task = cast(virtual.Virtual, plan.tasks[t])
            rows = generator.integers(0, len(task.train), size=each)
            length = task.sizes(rows, 0.15)[0]
            loads.append((length.sum(), (6 * PARAMETERS * length + 12 * BLOCKS * WIDTH * task.squares(rows)).sum()))
        found.append([slowest(np.array(loads)[None, :, column]) for column in (0, 1)])
    tokens, operations = np.array(found).T
    return f"| {ranks} | {_size(plan)} | one task per rank | - | - | {_two(tokens)} | {_two(operations)} |"


def _size(plan: Plan) -> str:
    batch = plan.config.batch
    return f"{batch.tokens:,} tokens" if batch.tokens else f"{batch.examples} examples"


def _two(values: np.ndarray) -> str:
    return f"{np.median(values):.4f} ({values.max():.4f})"


if __name__ == "__main__":
    main()
