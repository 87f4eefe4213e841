"""Memory and step time of XLM-R Large on 1 to 512 GPUs, by the model of docs/scaling.md; and the memory model measured.

    python -m bench.scaling                  the table, for the GPU and network described below
    python -m bench.scaling --measure        tensors that the engine holds on 1 and 2 CPU ranks, against the model

The speed of a GPU was measured on one H100 (bench/README.md); the network's is from published bandwidths.
"""

import argparse
import gc
import json
import math
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import XLMRobertaConfig

from bench.launch import REPOSITORY, command, environment
from bench.workload import training
from mtl.data import loader
from mtl.distributed import collectives, engine
from mtl.run.memory_estimate import GIB, memory
from mtl.run.setup import read

LARGE = XLMRobertaConfig(
    **training.SHAPES["large"], vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1
)  # fmt: skip
TRAINABLE = 562_000_000  # XLM-R Large with the nine heads
IN_BLOCKS = 303_000_000  # of them outside the embeddings and heads
MEAN_LENGTH = 110  # tokens of a sequence, mean of the mixture
# FLOPs of the slowest rank over the mean: the real plan simulated on 8 to 512 ranks, the largest of the medians over
# 60 steps (bench.imbalance at commit c17a3ef).
IMBALANCE = 1.0025


@dataclass(frozen=True)
class Hardware:
    """FLOP/s, measured; bytes per second of a rank in each direction, and seconds, published."""

    peak: float = 793e12  # dense bf16 of a large matrix product on an H100 (989 on paper); an H200 has the same
    utilisation: float = 0.53  # of it, in training on that H100 (bench/README.md)
    within_host: float = 0.8 * 450e9  # NVLink 4 in a host of 8
    between_hosts: float = 0.8 * 50e9  # a 400 Gb/s adapter for each GPU
    latency: float = 10e-6  # of one hop
    gpus_per_host: int = 8


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step on one rank."""

    compute: float
    wait: float
    reduce: float
    gather: float
    messages: float
    overlapped: bool

    @property
    def total(self) -> float:
        # Stage 2 reduces during the backward passes, two thirds of the FLOPs; stages 0 and 1 after them.
        exposed = max(0.0, self.reduce - 2 / 3 * self.compute) if self.overlapped else self.reduce
        return self.compute + self.wait + exposed + self.gather + self.messages


def step_time(ranks: int, tokens: int, micro_steps: int, stage: int, hardware: Hardware) -> StepTime:
    """The model of docs/scaling.md, with `tokens` of a rank in `micro_steps`."""
    flops = 6 * IN_BLOCKS + 12 * LARGE.num_hidden_layers * LARGE.hidden_size * MEAN_LENGTH  # of a token
    compute = tokens * flops / (hardware.utilisation * hardware.peak)
    if ranks == 1:
        return StepTime(compute, 0.0, 0.0, 0.0, 0.0, True)
    bandwidth = hardware.within_host if ranks <= hardware.gpus_per_host else hardware.between_hosts
    others = (ranks - 1) / ranks
    # Gradients are reduced after every micro-step in stage 2, once in stages 0 and 1, and by default to all ranks.
    times = micro_steps if stage == 2 else 1
    reduce = times * 2 * others * 2 * TRAINABLE / bandwidth
    gather = others * 2 * TRAINABLE / bandwidth if stage else 0.0
    messages = (25 if stage else 2) * 2 * math.log2(ranks) * hardware.latency
    return StepTime(compute, (IMBALANCE - 1) * compute, reduce, gather, messages, stage == 2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=15_360, help="of a rank and step")
    parser.add_argument("--micro-steps", type=int, default=1)
    parser.add_argument("--stage", type=int, default=2, choices=(0, 1, 2))
    parser.add_argument("--measure", action="store_true", help="measure the tensors that the engine holds")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="of --measure")
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)  # of a rank started by `measure`
    options = parser.parse_args(arguments)
    if options.config:
        measure_rank(options.config)
    elif options.measure:
        measure(options.ranks)
    else:
        print(table(options.tokens, options.micro_steps, options.stage))


def table(tokens: int, micro_steps: int, stage: int) -> str:
    ds = json.loads((REPOSITORY / "ds_configs" / "zero2.json").read_text(encoding="utf-8"))
    ds["zero_optimization"]["stage"] = stage
    lines = [
        f"XLM-R Large, bf16, stage {stage}, {tokens:,} tokens a rank in {micro_steps} micro-step(s)",
        "",
        "| GPUs | GiB | compute, ms | wait | reduce | gather | messages | step, ms | million tokens/s | of ideal |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for ranks in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        gib = sum(memory(TRAINABLE, ds, LARGE, tokens // micro_steps, ranks).values())
        time = step_time(ranks, tokens, micro_steps, stage, Hardware())
        parts = (time.compute, time.wait, time.reduce, time.gather, time.messages, time.total)
        shown = " | ".join(f"{part * 1e3:.1f}" for part in parts)
        rate = ranks * tokens / time.total
        lines.append(f"| {ranks} | {gib:.1f} | {shown} | {rate / 1e6:.2f} | {time.compute / time.total:.0%} |")
    return "\n".join(lines)


# Measuring the memory model.

BUCKET = 1_000_000  # numbers in a bucket
MICRO_TOKENS = 8_192
PARTS = ("weights", "gradients", "optimizer")


def measure(numbers_of_ranks: Sequence[int]) -> None:
    """Prints bytes held per trainable number, with those of `memory` in brackets."""
    with tempfile.TemporaryDirectory() as temporary:
        config = training.write(
            Path(temporary), "small", rows=200, seed=1, vocabulary=4_000, max_length=256, steps=1000,
            batch={"tokens": 1_000}, micro_tokens=MICRO_TOKENS, deepspeed="zero2_cpu.json",
        )  # fmt: skip
        print("Bytes held (by the model) per trainable number; for buckets, per number in one bucket.\n")
        print("| ranks | stage | weights | gradients | optimizer | buckets |\n|---:|---|---|---|---|---|")
        for ranks in numbers_of_ranks:
            env = {**environment(ranks), "DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
            line = command(ranks, "bench.scaling", config)
            done = subprocess.run(line, env=env, cwd=REPOSITORY, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"error: a rank failed\n{done.stderr[-3000:]}")
            for name, row in json.loads(done.stdout.splitlines()[-1]).items():
                parts = " | ".join(f"{row['held'][part]:.2f} ({row['model'][part]:.2f})" for part in PARTS)
                print(f"| {ranks} | {name} | {parts} | {row['buckets'][0]:g} ({row['buckets'][1]:g}) |", flush=True)


def measure_rank(config: Path) -> None:
    """One rank: what the engine holds when gradients are complete. Rank 0 prints JSON."""
    rank, world, _ = engine.connect()
    rows: dict[str, Any] = {}
    for stage in (0, 1, 2):
        for bf16 in (False, True) if stage else (False,):
            rows[f"{stage}{', bf16' if bf16 else ''}"] = measure_engine(config, stage, bf16, rank, world)
            gc.collect()
    if rank == 0:
        print(json.dumps(rows))
    collectives.close()


def measure_engine(config: Path, stage: int, bf16: bool, rank: int, world: int) -> dict[str, Any]:
    """One step under a ZeRO stage: bytes held and by the model, and those of buckets per number in one."""
    setup = read(str(config), [])
    zero = {"stage": stage, "overlap_comm": False, "reduce_bucket_size": BUCKET}
    ds = {**setup.ds, "zero_optimization": zero}
    ds |= {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}} if bf16 else {}
    model = setup.model()
    total = sum(p.numel() for p in model.parameters() if p.requires_grad)
    before = reachable_storages()  # alive until the end, so that no address is used twice
    runner = engine.Engine(model, setup.run, ds, setup.plan.steps)
    held: dict[int, torch.UntypedStorage] = {}
    optimizer_step = runner.ds.step

    def look() -> None:
        gc.collect()  # unreachable cycles of the backward pass are not held
        held.update(reachable_storages([p.grad for p in model.parameters() if p.grad is not None]))
        optimizer_step()

    runner.ds.step = look
    buckets = watch_buckets(runner, world)
    first = next(loader.steps_from(setup.plan, 0))
    batches = loader.micro_batches(setup.plan, first, first.divide(world, MICRO_TOKENS), rank, setup.special)
    runner.step(0, batches, {setup.names[t] for t in first.counts.nonzero()[0]}, {})
    inner = runner._inner
    states = storages(t for state in inner.state.values() for t in state.values() if torch.is_tensor(t))
    masters = storages(p for group in inner.param_groups for p in group["params"]) if stage else {}
    weights = storages(p.data for p in model.parameters())
    optimizer = {at: storage for at, storage in {**states, **masters}.items() if at not in weights}
    others = before.keys() | weights.keys() | optimizer.keys()
    gradients = {at: storage for at, storage in held.items() if at not in others}
    plan = memory(total, ds, LARGE, 0, world)
    sizes = (total_bytes(part) / total for part in (weights, gradients, optimizer))
    return {
        "held": dict(zip(PARTS, sizes, strict=True)),
        "model": {name: plan[name] * GIB / total for name in PARTS},
        "buckets": (max(buckets), plan["buckets"] * GIB / BUCKET),
    }


def watch_buckets(runner: engine.Engine, world: int) -> list[float]:
    """A list that grows during a step: bytes through which gradients are reduced, per number in a bucket; 0 first."""
    sizes, optimizer, reduction = [0.0], runner.ds.optimizer, runner.reducer
    if reduction is not None and world == 1:  # all at once, cut into buckets afterwards
        finish = reduction.finish

        def watched_finish() -> None:
            grads = [p.grad for p in runner.model.parameters() if p.grad is not None]
            sizes.append(sum(grad.nbytes for grad in grads) / BUCKET)
            finish()

        optimizer.independent_gradient_partition_epilogue = watched_finish
    elif reduction is not None:
        reduced = reduction._reduced

        def watched_reduced(grads: list[torch.Tensor]) -> list[torch.Tensor]:
            pieces = reduced(grads)
            if len(grads) > 1:  # a gradient larger than a bucket is by itself, and no bucket
                sizes.append(total_bytes(storages([*grads, *pieces])) / BUCKET)
            return pieces

        reduction._reduced = watched_reduced  # type: ignore[method-assign]
    elif hasattr(optimizer, "setup_buckets"):
        setup_buckets = optimizer.setup_buckets

        def watched_setup() -> None:
            setup_buckets()
            sizes.append(sum(b.nbytes for bucket in optimizer.ipg_buckets.values() for b in bucket.buffer) / BUCKET)

        optimizer.setup_buckets = watched_setup
    return sizes


def reachable_storages(more: Sequence[torch.Tensor] = ()) -> dict[int, torch.UntypedStorage]:
    """`storages`, of 1,000 bytes or more, of every tensor that Python can reach and of `more`."""
    reachable = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor)]
    return {at: storage for at, storage in storages([*reachable, *more]).items() if storage.nbytes() >= 1000}


def storages(tensors: Iterable[torch.Tensor]) -> dict[int, torch.UntypedStorage]:
    """Address -> storage of these tensors."""
    on_cpu = (t.untyped_storage() for t in tensors if t.device.type == "cpu" and t.layout == torch.strided)
    return {storage.data_ptr(): storage for storage in on_cpu}


def total_bytes(some: dict[int, torch.UntypedStorage]) -> int:
    return sum(storage.nbytes() for storage in some.values())


if __name__ == "__main__":
    main()
