"""The contestants of bench/train.py and bench/gpu.py that pad: the Trainer, by length or not, and two loops.

--way trainer_padded   Trainer, random batches of one task, padded to the longest row of the batch
--way trainer_grouped  the same, rows of like length together
--way task_max_padded  a loop with DistributedDataParallel; every batch is padded to the task's maximum length
--way zero2_padded     a loop with DeepSpeed ZeRO-2; batches as trainer_padded
--accumulate K         the Trainer takes a step's examples in K batches one after another
"""

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from bench.flops import operations, shape_of
from bench.padded import IGNORED, Batch, Padded, batches, collate, probe
from bench.turns import Turns, arguments, pass_gate
from mtl.distributed import collectives, engine
from mtl.run import setup
from mtl.run.setup import Setup

COUNTED = "counted"  # what a batch holds besides the model's inputs
WAYS = ("trainer_padded", "trainer_grouped", "task_max_padded", "zero2_padded")


class Stream(IterableDataset[Batch]):
    """This rank's batches: ranks take every so manieth of one stream, so that all have the same task at a time.

    Every rank draws the whole stream: each item of it is one rank's batch of the same task.
    """

    def __init__(self, made: Setup, size: int, rank: int, world: int, way: str) -> None:
        self._made, self._rank, self._world, self._way = made, rank, world, way
        self._size = size

    def __iter__(self) -> Iterator[Batch]:
        made = self._made
        for task, chosen in batches(made, self._size * self._world, made.run.seed, self._way == "trainer_grouped"):
            data = made.tasks[task]
            # Neighbours in length go to different ranks: each gets its share of the long ones.
            mine = data.train.take(chosen[self._rank :: self._world])
            to = data.max_length if self._way == "task_max_padded" else None
            batch = collate(data.name, data.task.kind, mine, made.special.pad, to)
            # On the host, before the batch goes to a device, which would have to be waited for.
            yield {**batch, COUNTED: counts(batch, data.task.kind, shape_of(made.source))}


def counts(batch: Batch, kind: str, shape: dict[str, int]) -> tuple[int, int, int]:
    """(real tokens, tokens with padding, operations on real tokens)."""
    lengths = batch["attention_mask"].sum(1)
    tokens = int(lengths.sum())
    read = {"span": tokens, "tag": int((batch["labels"] != IGNORED).sum())}.get(kind, len(lengths))
    return tokens, batch["input_ids"].numel(), operations(shape, tokens, int(lengths.square().sum()), read)


def main() -> None:
    parser = arguments()
    parser.add_argument("--way", choices=WAYS, required=True)
    parser.add_argument("--accumulate", type=int, default=1)
    options = parser.parse_args()
    assert options.accumulate == 1 or options.way.startswith("trainer")
    made = setup.read(options.config, options.set)
    model = Padded(made, made.model())
    pass_gate()
    rank, world, device = engine.connect()
    model = model.to(device)
    about = {"losses": probe(made, model, device, _half(made))}
    size, rest = divmod(made.plan.sampler.batch_examples, world * options.accumulate)
    assert not rest, "the examples of a step must divide by the ranks"
    stream = Stream(made, size, rank, world, options.way)
    turns = Turns(about)
    if options.way.startswith("trainer"):
        _trainer(made, model, stream, turns, device, options.accumulate)
    else:
        (_zero2 if options.way == "zero2_padded" else _plain)(made, model, stream, turns, device)
    collectives.close()


def _trainer(made: Setup, model: Padded, stream: Stream, turns: Turns, device: torch.device, accumulate: int) -> None:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Turn(TrainerCallback):
        left = 0

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if self.left == 0:
                if state.global_step:
                    turns.end()
                self.left = turns.begin()
                if self.left == 0:
                    os._exit(0)  # the Trainer has no way out in the middle of a step

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.left -= 1

    class Ours(Trainer):
        def get_train_dataloader(self) -> Any:
            # Each rank's own batches; nothing to divide. Beside a GPU a process of its own makes them.
            return stream if device.type == "cpu" else DataLoader(stream, None, num_workers=1, pin_memory=True)

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **more: Any) -> Any:
            turns.add(*inputs.pop(COUNTED))
            return model(**inputs)

    optimizer = made.run.optimizer
    arguments = TrainingArguments(
        output_dir=made.run.output, max_steps=made.plan.steps, per_device_train_batch_size=1, save_strategy="no",
        report_to=[], learning_rate=optimizer.lr, weight_decay=optimizer.weight_decay, adam_epsilon=optimizer.eps,
        max_grad_norm=optimizer.clip or 0.0, warmup_steps=round(optimizer.warmup * made.plan.steps), disable_tqdm=True,
        ddp_find_unused_parameters=True, logging_strategy="no", use_cpu=device.type == "cpu", bf16=_half(made),
        optim="adamw_torch_fused", gradient_accumulation_steps=accumulate,
    )  # fmt: skip
    Ours(model=model, args=arguments, callbacks=[Turn()]).train()


def _half(made: Setup) -> bool:
    return bool(made.ds.get("bf16", {}).get("enabled", False))


def _zero2(made: Setup, model: Padded, stream: Stream, turns: Turns, device: torch.device) -> None:
    import deepspeed

    optimizer = torch.optim.AdamW(model.parameters(), lr=made.run.optimizer.lr, fused=True)
    engine_, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=made.ds)
    data = iter(stream)
    for count in turns:
        for _ in range(count):
            batch = next(data)
            counted = batch.pop(COUNTED)
            loss = engine_(**{key: v.to(device) if isinstance(v, torch.Tensor) else v for key, v in batch.items()})
            engine_.backward(loss)
            engine_.step()
            turns.add(*counted)


def _plain(made: Setup, model: Padded, stream: Stream, turns: Turns, device: torch.device) -> None:
    from torch.nn.parallel import DistributedDataParallel

    parallel = DistributedDataParallel(model, find_unused_parameters=True)
    settings = made.run.optimizer
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    data = iter(stream)
    for count in turns:
        for _ in range(count):
            batch = next(data)
            counted = batch.pop(COUNTED)
            moved = {key: v.to(device) if isinstance(v, torch.Tensor) else v for key, v in batch.items()}
            with torch.autocast(device.type, torch.bfloat16, enabled=_half(made)):
                loss = parallel(**moved)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip or float("inf"))
            optimizer.step()
            optimizer.zero_grad()
            turns.add(*counted)


if __name__ == "__main__":
    main()
