"""What planning, loading and starting cost, and whether that grows with the data.

    python -m bench.loader [--rows 10000 1000000 10000000] [--rounds 5] [--folder DIR]

1. The planner alone on lengths without files, 10 thousand to 100 million rows, for 8 and 512 ranks.
2. Prepared stand-ins of the nine tasks (bench/standin.py; ten million rows: 2.8 GB, in a temporary folder), each read
   by a process of its own: start to the first packed step, memory, tokens packed a second by one core.
3. What of that the step sees, with the batches packed ahead as in training: how long it waits for one, and how much
   longer the host takes to issue the same operations beside the packing thread.

Times of 1. and of packing are processor time of the thread. A step of the GPU is reckoned, not measured: see RATE.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

BEGAN = time.perf_counter()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from bench import standin, virtual  # noqa: E402
from mtl.data import loader  # noqa: E402
from mtl.data.plan import Plan  # noqa: E402
from mtl.run import setup  # noqa: E402

PER_RANK, MICRO = 15_360, 16_384
# Tokens a second of XLM-R Large on an H200: 55 % of a dense bf16 peak of 800 TFLOP/s, 6 operations a token for each of
# 303 million parameters in the blocks and 12 L d s for attention with s = 110, the mean length of the mixture.
RATE = 0.55 * 800e12 / (6 * 303e6 + 12 * 24 * 1024 * 110)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.loader", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the stand-ins here")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.child:
        print(json.dumps(child(options.child, options.rounds)))
        return
    step = PER_RANK / RATE
    print(f"numpy {np.__version__}, torch {torch.__version__}; {PER_RANK:,} tokens a rank and step")
    print(
        f"an H200 is taken to train {RATE:,.0f} tokens/s: {step * 1e3:.0f} ms a step, 2 % of it is {step * 20:.2f} ms\n"
    )
    print("| rows | ranks | examples a step | draw and look up, ms | divide, ms | rows looked at | memory, MiB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for ranks in (8, 512):
        for rows in (10_000, 1_000_000, 100_000_000):
            print(planner(rows, ranks), flush=True)
    print("\n| rows | start | first step after, s | own memory, MiB | of files | million tokens/s packed | of a step |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        last = None
        for rows in options.rows:
            home = folder / str(rows)
            config = home / "run.json"
            if not config.exists():
                standin.make(home, rows, batch={"tokens": 8 * PER_RANK})
            for start in ("first", "later"):
                command = [
                    sys.executable,
                    "-m",
                    "bench.loader",
                    "--child",
                    str(config),
                    "--rounds",
                    str(options.rounds),
                ]
                done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
                last = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"| {rows:,} | {start} | {last['first']:.2f} | {last['own']:.0f} | {last['files']:.0f} | "
                    f"{last['packed'] / 1e6:.1f} | {last['seconds'] / step:.1%} |",
                    flush=True,
                )
        assert last is not None
    print(f"\nimports before that: {last['imports']:.1f} s, the same for all")
    print(f"the step waits for its batch: {last['wait'] * 1e3:.2f} ms, {last['wait'] / step:.2%} of it")
    print(
        f"the host issues operations beside the thread in {last['slower']:.3f} of the time it takes alone "
        f"({last['slower_low']:.3f} to {last['slower_high']:.3f})"
    )


def planner(rows: int, ranks: int) -> str:
    """One line of the first table."""
    tasks = virtual.tasks(rows)
    for task, true in zip(tasks, virtual.tasks(), strict=True):
        task.share = float(min(len(true.train), 2**17))
    mixture = {"kind": "fixed", "batches": "mixed"}
    entries = [{"task": task.name, "share": task.share} for task in tasks]
    config = virtual.config(tasks=entries, mixture=mixture, batch={"tokens": ranks * PER_RANK}, micro_tokens=MICRO)
    plan = Plan(config, cast(Any, tasks))
    steps = loader.steps_from(plan, 0)
    next(steps)
    asked, drawn, divided = sum(task.asked for task in tasks), [], []
    for _ in range(20):
        began = time.thread_time()
        step = next(steps)
        drawn.append(time.thread_time() - began)
        step.divide(ranks, MICRO)
        divided.append(time.thread_time() - began - drawn[-1])
    asked = (sum(task.asked for task in tasks) - asked) // 20
    times = f"{statistics.median(drawn) * 1e3:.2f} | {statistics.median(divided) * 1e3:.2f}"
    return f"| {rows:,} | {ranks} | {plan.batch_examples:,} | {times} | {asked:,} | {memory()[0]:.0f} |"


def child(config: Path, rounds: int) -> dict[str, float]:
    """Reads one stand-in as a training process does; seconds, MiB, and the ratios of part 3."""
    imports = time.perf_counter() - BEGAN
    began = time.perf_counter()
    made = setup.read(str(config), [])
    made.verify()
    ahead = {"rank": 1, "world": 8, "special": made.special, "pin": False}
    with loader.PrefetchLoader(made.plan, first=0, **ahead) as works:
        next(iter(works))
        first = time.perf_counter() - began
    steps = loader.steps_from(made.plan, 0)
    tokens, packing, whole = 0, 0.0, []
    for _ in range(100):
        start = time.thread_time()
        step = next(steps)
        shares = step.divide(8, MICRO)
        planned = time.thread_time()
        tokens += sum(batch.tokens for batch in loader.micro_batches(made.plan, step, shares, 1, made.special))
        packing += time.thread_time() - planned
        whole.append(time.thread_time() - start)
    own, files = memory()
    wait = []
    with loader.PrefetchLoader(made.plan, first=0, **ahead) as works:
        came = iter(works)
        next(came)
        for _ in range(20):
            time.sleep(PER_RANK / RATE)
            start = time.perf_counter()
            next(came)
            wait.append(time.perf_counter() - start)
    ratios = []
    for _ in range(rounds):
        alone = issue(None)
        with loader.PrefetchLoader(made.plan, first=0, **ahead) as works:
            ratios.append(issue(works) / alone)
    return {
        "imports": imports, "first": first, "own": own, "files": files, "packed": tokens / packing,
        "seconds": statistics.median(whole), "wait": statistics.median(wait), "slower": statistics.median(ratios),
        "slower_low": min(ratios), "slower_high": max(ratios),
    }  # fmt: skip


def issue(works: loader.PrefetchLoader | None) -> float:
    """Seconds that the host takes for ten steps' worth of small operations, as it issues kernels to a GPU.

    Between steps it sleeps as long as it would wait for the GPU, and takes a batch from `works`.
    """
    came, total = None if works is None else iter(works), 0.0
    small = torch.zeros(16)
    for _ in range(10):
        if came is not None:
            next(came)
        began = time.perf_counter()
        for _ in range(4_000):
            small.add_(1.0)
        total += time.perf_counter() - began
        time.sleep(max(0.0, PER_RANK / RATE - (time.perf_counter() - began)))
    return total


def memory() -> tuple[float, float]:
    """MiB of this process: its own, and pages of mapped files, which all ranks of a host share."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
    return found["RssAnon"], found["RssFile"]


if __name__ == "__main__":
    main()
