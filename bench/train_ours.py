"""Intermezzo as a contestant of bench/train.py: `train.py`'s own loop, without checkpoints and dev evaluation."""

import argparse

import numpy as np

from bench.probe import probe
from bench.turns import Turns
from mtl import engine, loader, ranks, setup


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--local_rank", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rank, world, _ = engine.connect()
    made = setup.read(options.config, options.set)
    model = made.model()
    about = {"losses": probe(made, model)}
    runner = engine.Engine(model, made.run, made.ds, made.plan.steps)
    turns = Turns(about)
    steps = loader.steps_from(made.plan, 0)
    for count in turns:
        for _ in range(count):
            now = next(steps)
            shares = now.divide(world, made.run.micro_tokens)
            batches = loader.micro_batches(made.plan, now, shares, rank, made.special)
            ranks.largest([0, 0])  # the agreement on stopping, as in train.py
            present = {made.names[t] for t in np.flatnonzero(now.counts)}
            runner.step(now.number, batches, present, {})
            tokens = sum(batch.tokens for batch in batches)
            turns.add(tokens, tokens)
    ranks.close()


if __name__ == "__main__":
    main()
