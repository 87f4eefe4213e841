"""Intermezzo as a contestant: the loop of train.py without checkpoints and dev evaluation.

`tune` of a turn, so that variants can be compared in one program: `attention`, `compile`, `checkpointing` (the config's
`attention`, `compile`, `gradient_checkpointing`), `examples` of a step, `micro_tokens`; the rest is as configured.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from bench.contestants.reference_losses import packed_losses
from bench.contestants.turns import Losses, Turns, contestant_arguments, wait_for_start
from bench.flops import of_batch, shape_of
from mtl.data import loader
from mtl.distributed import collectives, engine
from mtl.model.compiled import Compiled
from mtl.run.setup import Setup, read


class Intermezzo:
    """The engine, its switches, and one stream of packed steps for each size of step."""

    def __init__(self, setup: Setup, model: Any, options: Any, stack: ExitStack) -> None:
        self.setup, self.options, self._stack = setup, options, stack
        self.engine = engine.Engine(model, setup.run, setup.ds, setup.plan.steps)
        self._steps: dict[tuple[int | None, int | None], Iterator[loader.StepBatches]] = {}
        self._compiled: Compiled | None = model.encoder.compiled

    def apply(self, tune: dict[str, Any]) -> None:
        run, encoder = self.setup.run, self.engine.model.encoder
        encoder.packed_backend = tune.get("attention", run.attention)
        if tune.get("compile", self.setup.compiled):
            self._compiled = self._compiled or Compiled(encoder.family.after_attention)  # keeps its code between turns
            encoder.compiled = self._compiled
        else:
            encoder.compiled = None
        if tune.get("checkpointing", run.gradient_checkpointing):
            encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        else:
            encoder.gradient_checkpointing_disable()

    def losses(self, tune: dict[str, Any]) -> Losses:
        self.apply(tune)
        return packed_losses(self.setup, self.engine.model, self.engine.device)

    def steps(self, tune: dict[str, Any]) -> Iterator[loader.StepBatches]:
        """Packed steps of the size in `tune`, continuing after the last turn of that size."""
        size = (tune.get("examples"), tune.get("micro_tokens"))
        if size not in self._steps:
            fields = {"batch.examples": size[0], "micro_tokens": size[1]}
            more = [f"{name}={value}" for name, value in fields.items() if value is not None]
            plan = read(self.options.config, [*self.options.set, *more]).plan if more else self.setup.plan
            rank, world, pin = self.engine.rank, self.engine.world, self.engine.device.type == "cuda"
            special = self.setup.special
            prefetched = loader.PrefetchLoader(plan, first=0, rank=rank, world=world, special=special, pin=pin)
            self._steps[size] = iter(self._stack.enter_context(prefetched))
        return self._steps[size]


def main() -> None:
    options = contestant_arguments().parse_args()
    setup = read(options.config, options.set)
    model = setup.model()
    shape = shape_of(setup.source)
    wait_for_start()
    engine.connect()
    vote = collectives.Vote()
    with ExitStack() as stack:
        ours = Intermezzo(setup, model, options, stack)
        turns = Turns({"losses": ours.losses({}), "attention": ours.engine.backend}, ours.losses)
        for count in turns:
            ours.apply(turns.tune)
            steps = ours.steps(turns.tune)
            for _ in range(count):
                work = next(steps)
                vote.result([0, 0])  # the agreement on stopping, as in train.py
                vote.cast([0, 0])
                present = {setup.names[t] for t in np.flatnonzero(work.step.counts)}
                ours.engine.step(work.step.number, work.batches, present, work.keys)
                tokens = sum(batch.tokens for batch in work.batches)
                turns.add(tokens, tokens, sum(of_batch(shape, batch) for batch in work.batches))
    collectives.close()


if __name__ == "__main__":
    main()
