"""Memory and step time of XLM-R Large on 1 to 512 GPUs, by the model of docs/scaling.md; and the memory model measured.

    python -m bench.scaling                  the table, for the GPU and network described below
    python -m bench.scaling --measure        tensors that the engine holds on 1 and 2 CPU ranks, against the model

A GPU's speed is what one H100 reached (bench/README.md); the network is reckoned from published figures.
"""

import argparse
import gc
import json
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import XLMRobertaConfig

from bench import imbalance
from common.run_config import HOUSE
from mtl.run.memory_estimate import GIB, memory

LARGE = XLMRobertaConfig(
    vocab_size=250_002, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
    max_position_embeddings=514, type_vocab_size=1,
)  # fmt: skip
TRAINABLE = 562_000_000  # XLM-R Large with the nine heads
MEAN_LENGTH = 110  # tokens of a sequence's row, mean of the mixture


@dataclass(frozen=True)
class Hardware:
    """Operations a second, measured; bytes a second and rank in each direction, and seconds: published."""

    peak: float = 793e12  # dense bf16 that a large product reached on an H100 (989 on paper); an H200's is the same
    reached: float = 0.53  # of it, in training on that H100 (bench/README.md)
    inside: float = 0.8 * 450e9  # NVLink 4 inside a host of 8
    between: float = 0.8 * 50e9  # a 400 Gb/s adapter for each GPU
    latency: float = 10e-6  # of one hop
    host: int = 8


@dataclass(frozen=True)
class Step:
    """Seconds of one step on one rank."""

    compute: float
    wait: float
    reduce: float
    gather: float
    messages: float
    overlapped: bool

    @property
    def total(self) -> float:
        # Stage 2 reduces beside the backward passes, two thirds of the arithmetic; the others when these are done.
        shown = max(0.0, self.reduce - 2 / 3 * self.compute) if self.overlapped else self.reduce
        return self.compute + self.wait + shown + self.gather + self.messages


def step(ranks: int, tokens: int, micro_steps: int, slowest: float, stage: int, hardware: Hardware) -> Step:
    """The model of docs/scaling.md: `tokens` of a rank in `micro_steps`, `slowest` rank over the mean."""
    operations = 6 * imbalance.PARAMETERS + 12 * imbalance.BLOCKS * imbalance.WIDTH * MEAN_LENGTH
    compute = tokens * operations / (hardware.reached * hardware.peak)
    if ranks == 1:
        return Step(compute, 0.0, 0.0, 0.0, 0.0, True)
    speed = hardware.inside if ranks <= hardware.host else hardware.between
    others = (ranks - 1) / ranks
    # DeepSpeed reduces the gradients of stage 2 after every micro-step, those of stages 0 and 1 once, and always to all
    # ranks unless told otherwise (bench/communication.py).
    times = micro_steps if stage == 2 else 1
    reduce = times * 2 * others * 2 * TRAINABLE / speed
    gather = others * 2 * TRAINABLE / speed if stage else 0.0
    messages = (25 if stage else 2) * 2 * math.log2(ranks) * hardware.latency
    return Step(compute, (slowest - 1) * compute, reduce, gather, messages, stage == 2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=15_360, help="of a rank and step")
    parser.add_argument("--micro-steps", type=int, default=1)
    parser.add_argument("--stage", type=int, default=2, choices=(0, 1, 2))
    parser.add_argument("--measure", action="store_true", help="the memory model against the engine")
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.config:
        held(options.config)
        return
    if options.measure:
        measure()
        return
    ds = json.loads((HOUSE / "ds_configs" / "zero2.json").read_text())
    ds["zero_optimization"]["stage"] = options.stage
    several = f"{options.tokens:,} tokens a rank in {options.micro_steps} micro-step(s)"
    print(f"XLM-R Large, bf16, stage {options.stage}, {several}\n")
    print(
        "| GPUs | GiB | arithmetic, ms | wait | reduce | gather | messages | step, ms | million tokens/s | of ideal |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for ranks in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        size = sum(memory(TRAINABLE, ds, LARGE, options.tokens // options.micro_steps, ranks).values())
        found = step(ranks, options.tokens, options.micro_steps, 1.0025, options.stage, Hardware())
        parts = (found.compute, found.wait, found.reduce, found.gather, found.messages, found.total)
        shown = " | ".join(f"{part * 1e3:.1f}" for part in parts)
        rate = ranks * options.tokens / found.total
        print(f"| {ranks} | {size:.1f} | {shown} | {rate / 1e6:.2f} | {found.compute / found.total:.0%} |")


# Measured.

SHAPE = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
BUCKET = 1_000_000


def measure() -> None:
    """Launches 1 and 2 ranks; a table of bytes held a trainable number, against `mtl.memory.memory`."""
    from bench import standin
    from bench.communication import launch

    print("Bytes held (by the model) a trainable number; of buckets, a number of one.\n")
    print("| ranks | stage | weights | gradients | optimizer | buckets |\n|---:|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        encoder = {"config": {**SHAPE, "max_position_embeddings": 514}, "tokenizer": f"{temporary}/tokenizer"}
        config = standin.make(Path(temporary), 10_000, batch={"tokens": 4_000}, micro_tokens=8_192, encoder=encoder)
        for ranks in (1, 2):
            for name, line in launch(config, ranks, 1, "bench.scaling").items():
                told = [f"{line['held'][part]:.2f} ({line['model'][part]:.2f})" for part in line["model"]]
                print(
                    f"| {ranks} | {name} | {' | '.join(told)} | {line['buckets'][0]:g} ({line['buckets'][1]:g}) |",
                    flush=True,
                )


def held(config: Path) -> None:
    """One rank: what the engine holds when gradients are complete, in bytes a trainable number. Rank 0 prints JSON."""
    from mtl.data import loader
    from mtl.distributed import collectives, engine
    from mtl.run import setup

    number, world, _ = engine.connect()
    found: dict[str, Any] = {}
    for stage in (0, 1, 2):
        for bf16 in (False, True) if stage else (False,):
            made = setup.read(str(config), [])
            zero = {"stage": stage, "overlap_comm": False, "reduce_bucket_size": BUCKET}
            ds = {key: value for key, value in made.ds.items() if key != "zero_optimization"}
            ds |= {"zero_optimization": zero}
            ds |= {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}} if bf16 else {}
            model = made.model()
            total = sum(p.numel() for p in model.parameters() if p.requires_grad)
            before = storages()
            weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
            runner = engine.Engine(model, made.run, ds, made.plan.steps)
            seen: dict[str, dict[int, int]] = {}
            real = runner.ds.step

            def look(seen: dict[str, dict[int, int]] = seen, runner: Any = runner, real: Any = real) -> None:
                seen["now"] = storages([p.grad for p in runner.model.parameters() if p.grad is not None])
                real()

            runner.ds.step = look
            buckets = watched(runner, world)
            first = next(loader.steps_from(made.plan, 0))
            batches = loader.micro_batches(made.plan, first, first.divide(world, 8_192), number, made.special)
            runner.step(0, batches, {made.names[t] for t in first.counts.nonzero()[0]}, {})
            now = {at: size for at, size in seen["now"].items() if at not in before or at in weights}
            inner = runner._inner
            states = storages_of(t for state in inner.state.values() for t in state.values() if torch.is_tensor(t))
            masters = storages_of(p for group in inner.param_groups for p in group["params"])
            mine = storages_of(p.data for p in runner.model.parameters())
            optimizer = {**states, **({} if stage == 0 else masters)}
            optimizer = {at: size for at, size in optimizer.items() if at not in mine}
            rest = {at: size for at, size in now.items() if at not in mine and at not in optimizer}
            parts = (sum(mine.values()), sum(rest.values()), sum(optimizer.values()))
            plan = memory(total, ds, LARGE, 0, world)
            names = ("weights", "gradients", "optimizer")
            found[f"{stage}{', bf16' if bf16 else ''}"] = {
                "held": {name: size / total for name, size in zip(names, parts, strict=True)},
                "model": {name: plan[name] * GIB / total for name in names},
                "buckets": (max(buckets), plan["buckets"] * GIB / BUCKET),
            }
            del runner, model, inner, real, look, now, rest
            gc.collect()
    if number == 0:
        print(json.dumps(found))
    collectives.close()


def watched(runner: Any, world: int) -> list[float]:
    """Bytes that gradients are reduced through, in numbers of a bucket, as they come to be held (0 first)."""
    found, optimizer, reduction = [0.0], runner.ds.optimizer, runner.reducer
    if reduction is not None and world == 1:  # all at once, and cut into buckets afterwards
        finish = reduction.finish

        def whole() -> None:
            grads = [p.grad for p in runner.model.parameters() if p.grad is not None]
            found.append(sum(grad.nbytes for grad in grads) / BUCKET)
            finish()

        optimizer.independent_gradient_partition_epilogue = whole
    elif reduction is not None:
        reduced = reduction._reduced

        def joined(grads: list[torch.Tensor]) -> Sequence[torch.Tensor]:
            pieces: Sequence[torch.Tensor] = reduced(grads)
            if len(grads) > 1:  # one larger than a bucket is by itself, and no bucket
                found.append(sum(storages_of([*grads, *pieces]).values()) / BUCKET)
            return pieces

        reduction._reduced = joined
    elif hasattr(optimizer, "setup_buckets"):
        make = optimizer.setup_buckets

        def measured() -> None:
            make()
            found.append(sum(b.nbytes for bucket in optimizer.ipg_buckets.values() for b in bucket.buffer) / BUCKET)

        optimizer.setup_buckets = measured
    return found


def storages(more: Sequence[torch.Tensor] = ()) -> dict[int, int]:
    """Address -> bytes of the storage of every tensor that Python can reach, of 1,000 bytes or more."""
    there = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor)]
    return {at: size for at, size in storages_of([*there, *more]).items() if size >= 1000}


def storages_of(tensors: Any) -> dict[int, int]:
    """Address -> bytes of the storages of these tensors."""
    found = {}
    for tensor in tensors:
        if tensor.device.type == "cpu" and tensor.layout == torch.strided:
            storage = tensor.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return found


if __name__ == "__main__":
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    main()
