"""The baselines of bench.train and bench.gpu: the Trainer in three ways, and two plain loops.

--baseline trainer_padded   Trainer, random batches of one task, padded to the longest row of the batch
--baseline trainer_grouped  the same, rows of similar length together
--baseline trainer_flat     random batches of one task without padding, attention by FlashAttention 2
--baseline task_max_padded  a DistributedDataParallel loop, every batch padded to the task's maximum length
--baseline zero2_padded     a DeepSpeed ZeRO-2 loop, batches as in trainer_padded
--accumulate K              the Trainer accumulates gradients over K batches a step
"""

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from bench.contestants.padded_model import IGNORED, Batch, Batches, Flat, Padded, collate, padded_losses
from bench.contestants.turns import Turns, contestant_arguments, wait_for_start
from bench.flops import Shape, shape_of, training_flops
from mtl.distributed import collectives, engine
from mtl.run.setup import Setup, read

COUNTS = "counts"  # key of `count`'s result in a batch, removed before the model sees it
BASELINES = ("trainer_padded", "trainer_grouped", "trainer_flat", "task_max_padded", "zero2_padded")


class Stream(IterableDataset[Batch]):
    """This rank's batches. Every rank draws the same stream, so that all train the same task at a time."""

    def __init__(self, setup: Setup, size: int, rank: int, world: int, baseline: str) -> None:
        self._setup, self._size, self._rank, self._world, self._baseline = setup, size, rank, world, baseline

    def __iter__(self) -> Iterator[Batch]:
        setup = self._setup
        grouped = self._baseline == "trainer_grouped"
        for task, rows in Batches(setup, self._size * self._world, setup.run.seed, grouped):
            data = setup.tasks[task]
            # Strided, because `rows` may be sorted by length: each rank gets its share of the long ones.
            mine = data.train.take(rows[self._rank :: self._world])
            width = data.max_length if self._baseline == "task_max_padded" else None
            batch = collate(data.name, data.task.kind, mine, setup.special.pad, width)
            # Counted on the host, before the batch goes to a device that would have to be waited for.
            tokens, padded, flops = count(batch, data.task.kind, shape_of(setup.source))
            yield {**batch, COUNTS: (tokens, tokens if self._baseline == "trainer_flat" else padded, flops)}


def count(batch: Batch, kind: str, shape: Shape) -> tuple[int, int, int]:
    """(real tokens, tokens with padding, FLOPs on real tokens)."""
    lengths = batch["lengths"]
    read_positions = {"span": sum(lengths), "tag": int((batch["labels"] != IGNORED).sum())}.get(kind, len(lengths))
    return sum(lengths), batch["input_ids"].numel(), training_flops(shape, lengths, read_positions)


def main() -> None:
    parser = contestant_arguments()
    parser.add_argument("--baseline", choices=BASELINES, required=True)
    parser.add_argument("--accumulate", type=int, default=1)
    options = parser.parse_args()
    assert options.accumulate == 1 or options.baseline.startswith("trainer")
    setup = read(options.config, options.set)
    model = (Flat if options.baseline == "trainer_flat" else Padded)(setup, setup.model())
    wait_for_start()
    rank, world, device = engine.connect()
    model = model.to(device)
    turns = Turns({"losses": padded_losses(setup, model, device, _bf16(setup))})
    size, rest = divmod(setup.plan.sampler.batch_examples, world * options.accumulate)
    assert not rest, "the examples of a step must divide by the ranks"
    stream = Stream(setup, size, rank, world, options.baseline)
    if options.baseline.startswith("trainer"):
        _trainer(setup, model, stream, turns, device, options.accumulate)
    else:
        (_zero2 if options.baseline == "zero2_padded" else _ddp)(setup, model, stream, turns, device)
    collectives.close()


def _trainer(setup: Setup, model: Padded, stream: Stream, turns: Turns, device: torch.device, accumulate: int) -> None:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class TakeTurns(TrainerCallback):
        left = 0

        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if self.left == 0:
                if state.global_step:
                    turns.end()
                self.left = turns.begin()
                if self.left == 0:
                    os._exit(0)  # the Trainer cannot be stopped in the middle of a step

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.left -= 1

    class OneTaskTrainer(Trainer):
        def get_train_dataloader(self) -> Any:
            # Batches are this rank's own already. With a GPU a worker process makes them.
            return stream if device.type == "cpu" else DataLoader(stream, None, num_workers=1, pin_memory=True)

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **more: Any) -> Any:
            turns.add(*inputs.pop(COUNTS))
            return model(**inputs)

    optimizer = setup.run.optimizer
    arguments = TrainingArguments(
        output_dir=setup.run.output, max_steps=setup.plan.steps, per_device_train_batch_size=1, save_strategy="no",
        report_to=[], learning_rate=optimizer.lr, weight_decay=optimizer.weight_decay, adam_epsilon=optimizer.eps,
        max_grad_norm=optimizer.clip or 0.0, warmup_steps=round(optimizer.warmup * setup.plan.steps), disable_tqdm=True,
        ddp_find_unused_parameters=True, logging_strategy="no", use_cpu=device.type == "cpu", bf16=_bf16(setup),
        optim="adamw_torch_fused", gradient_accumulation_steps=accumulate,
    )  # fmt: skip
    OneTaskTrainer(model=model, args=arguments, callbacks=[TakeTurns()]).train()


def _bf16(setup: Setup) -> bool:
    return bool(setup.ds.get("bf16", {}).get("enabled", False))


def _zero2(setup: Setup, model: Padded, stream: Stream, turns: Turns, device: torch.device) -> None:
    import deepspeed

    optimizer = torch.optim.AdamW(model.parameters(), lr=setup.run.optimizer.lr, fused=True)
    engine_, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=setup.ds)
    data = iter(stream)
    for count in turns:
        for _ in range(count):
            batch = next(data)
            counts = batch.pop(COUNTS)
            loss = engine_(**{key: v.to(device) if isinstance(v, torch.Tensor) else v for key, v in batch.items()})
            engine_.backward(loss)
            engine_.step()
            turns.add(*counts)


def _ddp(setup: Setup, model: Padded, stream: Stream, turns: Turns, device: torch.device) -> None:
    from torch.nn.parallel import DistributedDataParallel

    parallel = DistributedDataParallel(model, find_unused_parameters=True)
    settings = setup.run.optimizer
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    data = iter(stream)
    for count in turns:
        for _ in range(count):
            batch = next(data)
            counts = batch.pop(COUNTS)
            moved = {key: v.to(device) if isinstance(v, torch.Tensor) else v for key, v in batch.items()}
            with torch.autocast(device.type, torch.bfloat16, enabled=_bf16(setup)):
                loss = parallel(**moved)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip or float("inf"))
            optimizer.step()
            optimizer.zero_grad()
            turns.add(*counts)


if __name__ == "__main__":
    main()
