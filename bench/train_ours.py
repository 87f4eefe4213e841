"""Intermezzo as a contestant of bench/train.py and bench/gpu.py: `train.py`'s own loop, without checkpoints and dev

evaluation.
"""

import numpy as np

from bench.flops import of_batch, shape_of
from bench.probe import probe
from bench.turns import Turns, arguments
from mtl import engine, loader, ranks, setup


def main() -> None:
    options = arguments().parse_args()
    rank, world, device = engine.connect()
    made = setup.read(options.config, options.set)
    runner = engine.Engine(made.model(), made.run, made.ds, made.plan.steps)
    turns = Turns({"losses": probe(made, runner.model, runner.device), "attention": runner.backend})
    vote = ranks.Vote()
    with loader.Ahead(
        made.plan, first=0, rank=rank, world=world, special=made.special, pin=device.type == "cuda"
    ) as works:
        each = iter(works)
        for count in turns:
            for _ in range(count):
                work = next(each)
                vote.result([0, 0])  # the agreement on stopping, as in train.py
                vote.cast([0, 0])
                present = {made.names[t] for t in np.flatnonzero(work.step.counts)}
                runner.step(work.step.number, work.batches, present, work.keys)
                tokens = sum(batch.tokens for batch in work.batches)
                turns.add(tokens, tokens, sum(of_batch(shape_of(made.source), batch) for batch in work.batches))
    ranks.close()


if __name__ == "__main__":
    main()
