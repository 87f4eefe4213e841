"""Bytes that a step sends, counted at the collectives of the real engine on gloo ranks, against its stage's bound.

    python -m bench.communication [--ranks 2] [--steps 3]

Calls are counted by `bench/traffic.py`. Sent per rank, by the algorithm with the least traffic (a ring,
Patarasuk & Yuan 2009): all-reduce 2 (N-1)/N of the tensor, reduce, broadcast and all-gather (N-1)/N of it.

The bound: every rank must get the sum of the gradients of those of P parameters that it updates, and the new values of
the others: 2 (N-1)/N P numbers a step, as one all-reduce (stage 0) or as reduce-scatter and all-gather (stages 1 and 2;
Rajbhandari et al. 2020, section 7).
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench import traffic

SMALL = 64  # bytes: below this a message costs its latency, not its bytes
ZERO: dict[str, Any] = {"overlap_comm": False, "contiguous_gradients": True, "reduce_scatter": True}
BUCKETS = {"reduce_bucket_size": 500_000_000, "allgather_bucket_size": 500_000_000}
BF16 = {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}}
# Name: DeepSpeed's keys, micro-steps.
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "stage 0": ({}, 1),
    "stage 0, two micro-steps": ({}, 2),
    **{
        f"stage {stage}{words}": ({"zero_optimization": {"stage": stage, **ZERO, **BUCKETS, **more}, **other}, micro)
        for stage in (1, 2)
        for words, more, other, micro in (
            ("", {}, {}, 1),
            (", two micro-steps", {}, {}, 2),
            (", reduced to owners", {"use_multi_rank_bucket_allreduce": False}, {}, 1),
            (", bf16", {}, BF16, 1),
            (", bf16, reduced to owners", {"use_multi_rank_bucket_allreduce": False}, BF16, 1),
        )
    },
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.communication", description="Bytes that a step sends.")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.config:
        rank(options.config, options.steps)
        return
    from bench import standin

    with tempfile.TemporaryDirectory() as temporary:
        shape = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
        tokenizer = str(Path(temporary) / "tokenizer")
        encoder = {"config": {**shape, "max_position_embeddings": 514}, "tokenizer": tokenizer}
        batch = {"tokens": 2_000 * options.ranks}
        config = standin.make(Path(temporary), 10_000, batch=batch, micro_tokens=8_192, encoder=encoder)
        found = launch(config, options.ranks, options.steps)
    print(
        f"{options.ranks} ranks over gloo, torch {torch.__version__}; P = {found['parameters']:,} trainable numbers\n"
    )
    print("| case | sent a step, bytes/P | bound | ratio | calls over 64 bytes | small calls | weights |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for name, line in found["cases"].items():
        print(
            f"| {name} | {line['sent']:.2f} | {line['bound']:.2f} | {line['sent'] / line['bound']:.2f} | "
            f"{line['large']:g} | {line['small']:g} | {line['same']} |"
        )
    low, middle, high = found["control"]
    print(f"\nour own agreement on stopping: one small call a step, {middle:.0f} us ({low:.0f} to {high:.0f})")


def launch(config: Path, ranks: int, steps: int, program: str = "bench.communication") -> dict[str, Any]:
    """Runs `program --config CONFIG` in `ranks` processes; what rank 0 found."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", program, "--config", str(config)]
    command += ["--steps", str(steps)] if program == "bench.communication" else []
    shared = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "DS_ACCELERATOR": "cpu"}
    shared |= {"LOCAL_SIZE": str(ranks), "OMP_NUM_THREADS": "1"}
    started = []
    for number in range(ranks):
        environment = {**os.environ, **shared, "RANK": str(number), "LOCAL_RANK": str(number)}
        out = subprocess.PIPE if number == 0 else subprocess.DEVNULL
        started.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out, text=True))
    try:
        printed, errors = started[0].communicate(timeout=540)
        for process in started[1:]:
            process.wait(timeout=60)
    finally:
        for process in started:
            process.kill()
    if started[0].returncode:
        raise SystemExit(f"error: rank 0 failed\n{errors[-3000:]}")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


# One rank.


def sent(name: str, size: int, world: int) -> int:
    """Bytes that a rank sends for a tensor of `size` bytes."""
    return round((2 if name == "all_reduce" else 1) * (world - 1) / world * size)


def rank(config: Path, steps: int) -> None:
    """One rank: every case, then the control message. Rank 0 prints JSON."""
    counted = traffic.watch()
    from mtl.data import loader
    from mtl.distributed import collectives, engine
    from mtl.run import setup

    number, world, _ = engine.connect()
    found: dict[str, Any] = {"cases": {}}
    plain: dict[str, torch.Tensor] = {}
    for name, (keys, micro) in CASES.items():
        made = setup.read(str(config), [])
        model = made.model()
        found["parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
        ds = {key: value for key, value in made.ds.items() if key not in ("zero_optimization", "bf16", "data_types")}
        runner = engine.Engine(model, made.run, {**ds, **keys}, made.plan.steps)
        for step, _ in zip(loader.steps_from(made.plan, 0), range(steps + 1), strict=False):
            if step.number == 1:
                counted.clear()
            shares = divided(step, world, micro)
            batches = loader.micro_batches(made.plan, step, shares, number, made.special)
            runner.step(step.number, batches, {made.names[t] for t in step.counts.nonzero()[0]}, {})
        calls: Counter[int] = Counter()
        for (operation, size), times in counted.calls.items():
            calls[sent(operation, size, world)] += times
        width = 2 if "bf16" in keys else 4
        weights = runner.full_weights()
        kind = "bf16" if width == 2 else "float32"
        plain = plain if kind in plain else {**plain, kind: weights}
        found["cases"][name] = {
            "sent": sum(size * n for size, n in calls.items()) / steps / found["parameters"],
            "bound": 2 * (world - 1) / world * width,
            "large": sum(n for size, n in calls.items() if size > SMALL) / steps,
            "small": sum(n for size, n in calls.items() if size <= SMALL) / steps,
            "same": same(plain[kind], weights, kind) if number == 0 else "",
        }
    microseconds = []
    for _ in range(200):
        began = time.perf_counter()
        collectives.largest([0, 0])
        microseconds.append((time.perf_counter() - began) * 1e6)
    microseconds.sort()
    found["control"] = [microseconds[20], statistics.median(microseconds), microseconds[-20]]
    if number == 0:
        print(json.dumps(found))
    collectives.close()


def divided(step: Any, world: int, micro: int) -> Any:
    """`Step.divide` into `micro` micro-steps."""
    tokens = int(step.tokens / world / micro)
    while len(shares := step.divide(world, tokens)) != micro:
        tokens += tokens // 50
    return shares


def same(one: Any, other: Any, kind: str) -> str:
    """How far the weights of two engines lie apart after the same steps."""
    most = max(float((one[name] - other[name]).abs().max()) for name in one)
    return f"within {most:.0e} of the first {kind} case"


if __name__ == "__main__":
    main()
