"""Intermezzo as a contestant of bench/train.py and bench/gpu.py: `train.py`'s own loop, without checkpoints and dev

evaluation. Between turns it can be tuned, so that choices are compared in one program: `attention`, `compile`,
`checkpointing` (as the config's `attention`, `compile`, `gradient_checkpointing`), `examples` of a step and
`micro_tokens`; what is not named is as the config has it.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from bench.flops import of_batch, shape_of
from bench.probe import probe
from bench.turns import Losses, Turns, arguments, pass_gate
from mtl.data import loader
from mtl.distributed import collectives, engine
from mtl.model.compiled import Compiled
from mtl.run import setup


class Ours:
    """The engine, its switches, and the steps of every size asked for so far."""

    def __init__(self, made: setup.Setup, model: Any, options: Any, stack: ExitStack) -> None:
        self.made, self.options, self._stack = made, options, stack
        self.runner = engine.Engine(model, made.run, made.ds, made.plan.steps)
        self._works: dict[tuple[int | None, int | None], Iterator[loader.StepBatches]] = {}
        self._compiled: Compiled | None = model.encoder.compiled

    def switch(self, tune: dict[str, Any]) -> None:
        run, encoder = self.made.run, self.runner.model.encoder
        encoder.packed_backend = tune.get("attention", run.attention)
        if tune.get("compile", self.made.compiled):
            self._compiled = self._compiled or Compiled()  # code once made is kept
            encoder.compiled = self._compiled
        else:
            encoder.compiled = None
        if tune.get("checkpointing", run.gradient_checkpointing):
            encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        else:
            encoder.gradient_checkpointing_disable()

    def probe(self, tune: dict[str, Any]) -> Losses:
        self.switch(tune)
        return probe(self.made, self.runner.model, self.runner.device)

    def works(self, tune: dict[str, Any]) -> Iterator[loader.StepBatches]:
        """Packed steps of this size, going on where the last turn with it ended."""
        size = (tune.get("examples"), tune.get("micro_tokens"))
        if size not in self._works:
            fields = {"batch.examples": size[0], "micro_tokens": size[1]}
            more = [f"{name}={value}" for name, value in fields.items() if value is not None]
            plan = setup.read(self.options.config, [*self.options.set, *more]).plan if more else self.made.plan
            pin = self.runner.device.type == "cuda"
            ahead = loader.PrefetchLoader(
                plan, first=0, rank=self.runner.rank, world=self.runner.world, special=self.made.special, pin=pin
            )
            self._works[size] = iter(self._stack.enter_context(ahead))
        return self._works[size]


def main() -> None:
    options = arguments().parse_args()
    made = setup.read(options.config, options.set)
    model = made.model()
    pass_gate()
    engine.connect()
    vote = collectives.Vote()
    with ExitStack() as stack:
        ours = Ours(made, model, options, stack)
        turns = Turns({"losses": ours.probe({}), "attention": ours.runner.backend}, ours.probe)
        for count in turns:
            ours.switch(turns.tune)
            works = ours.works(turns.tune)
            for _ in range(count):
                work = next(works)
                vote.result([0, 0])  # the agreement on stopping, as in train.py
                vote.cast([0, 0])
                present = {made.names[t] for t in np.flatnonzero(work.step.counts)}
                ours.runner.step(work.step.number, work.batches, present, work.keys)
                tokens = sum(batch.tokens for batch in work.batches)
                turns.add(tokens, tokens, sum(of_batch(shape_of(made.source), batch) for batch in work.batches))
    collectives.close()


if __name__ == "__main__":
    main()
