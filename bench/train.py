"""Training speed against what users would otherwise run: real tokens a second, side by side.

    python -m bench.train [--shape small|base|large] [--max-length 512|256] [--ranks 2] [--rounds 5] [--steps 12]
                          [--accumulate 1] [--deepspeed zero2_cpu.json] [--set trim_word_embeddings=false] [--json FILE]

The same model, data, optimizer, precision, ranks and examples a step for all; padding does not count as work. Ours runs
as users get it, so it trains only the word embeddings that the data need (`--set trim_word_embeddings=false`: all, as
the others do). Lengths are those of the nine tasks, cut at 512 tokens (next to nothing is) or at 256. Each
contestant (bench/train_ours.py, bench/train_theirs.py) is a program of its own that stays alive; every round gives each
a turn of the same number of steps, in turning order, and ratios are taken within a round. Before the race all must give
the same loss on the same rows. `bound`: padded over real tokens, what leaving out padding alone would give. On CPU the
ranks share the cores, compute in float32, and ours divides the work as the other does: plain data parallelism against
the Trainer and DistributedDataParallel, ZeRO-2 against ZeRO-2. On GPUs all run in bf16 and ours under
ds_configs/zero2.json. `--deepspeed` names another file for ours and for their ZeRO-2; its bf16 holds for everyone.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bench import workload
from bench.lengths import FILES
from bench.turns import Contestant, Losses, Turn

THEIRS = {
    "trainer_padded": "Trainer, batches of one task, padded to their longest row",
    "trainer_grouped": "the same, rows of like length together (50 batches at a time)",
    "task_max_padded": "DistributedDataParallel loop, padded to the task's maximum (jiant's scheme)",
    "zero2_padded": "DeepSpeed ZeRO-2 loop, batches of one task, padded to their longest row",
}
ON_CPU = {"zero2_padded": "zero2_cpu.json"}  # our DeepSpeed file against a contestant, where not zero0.json
WHOLE = ["trim_word_embeddings=false"]
AGREE = {False: 1e-3, True: 2e-2}  # largest relative difference of a task's loss before the race; True: in bf16


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--shape", choices=tuple(workload.SHAPES), default="small")
    add("--ranks", type=int, default=min(2, torch.cuda.device_count()) or 2)
    add("--rounds", type=int, default=5)
    add("--steps", type=int, default=12, help="optimizer steps of a turn")
    add("--examples", type=int, default=32, help="examples of a step, all ranks together")
    add("--vocabulary", type=int, default=250_002)
    add("--max-length", type=int, choices=tuple(FILES), default=512)
    add("--accumulate", type=int, default=1, help="the Trainer takes a step's examples in so many batches, for memory")
    add("--only", action="append", choices=tuple(THEIRS), help="race against these only")
    add("--deepspeed", help="a DeepSpeed file of ds_configs for all")
    add("--set", action="append", default=[], help="a config field of our run, for example attention=padded")
    add("--json", type=Path)
    options = parser.parse_args()
    chosen = options.only or list(THEIRS)
    if options.examples % (options.ranks * options.accumulate):
        parser.error("--examples must divide by --ranks times --accumulate")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        config = workload.make(
            folder, options.shape, rows=2000, seed=1, vocabulary=options.vocabulary,
            max_length=options.max_length, steps=1_000_000,
            batch={"examples": options.examples}, micro_tokens=1_000_000, optimizer={"lr": 1e-5},
            hidden_dropout_prob=0.1,
        )  # fmt: skip
        rounds: dict[str, list[dict[str, Turn]]] = {}
        for name in chosen:
            # Two at a time: more models than that need not fit.
            rounds[name] = _race(folder, config, name, options)
        result = {
            "ratios": {name: statistics.median(_ratios(found)) for name, found in rounds.items()},
            "rounds": {name: [_speeds(one) for one in found] for name, found in rounds.items()},
            "machine": machine(), "settings": {k: str(v) for k, v in vars(options).items()},
        }  # fmt: skip
    print(_table(rounds, options))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _race(folder: Path, config: Path, name: str, options: argparse.Namespace) -> list[dict[str, Turn]]:
    cuda = torch.cuda.is_available()
    ds = f"deepspeed={options.deepspeed or ('zero2.json' if cuda else ON_CPU.get(name, 'zero0.json'))}"
    around = environment(options.ranks)
    line = command(options.ranks, "bench/train_ours.py", config, [ds, *options.set])
    ours = Contestant("ours", line, around, folder / "o")
    accumulate = options.accumulate if name.startswith("trainer") else 1
    more = ["--way", name, "--accumulate", str(accumulate)]
    line = command(options.ranks, "bench/train_theirs.py", config, [ds, *WHOLE], *more)
    theirs = Contestant(name, line, around, folder / "t")
    try:
        agree(ours.ready().about["losses"], theirs.ready().about["losses"], name)
        rounds = []
        for number in range(options.rounds + 1):
            pair = (ours, theirs) if number % 2 else (theirs, ours)
            found = {one.name: one.go(options.steps) for one in pair}
            if number:  # the first warms up
                rounds.append({"ours": found["ours"], "theirs": found[name]})
                print(f"{name} round {number}: {_ratios(rounds)[-1]:.2f}", file=sys.stderr)
    finally:
        ours.stop()
        theirs.stop()
    return rounds


def command(ranks: int, program: str, config: Path, sets: Sequence[str], *more: str) -> list[str]:
    """`program` on so many ranks, with `--config`, `--set` for each of `sets`, and `more`."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return [*launcher, program, "--config", str(config), *(word for s in sets for word in ("--set", s)), *more]


def environment(ranks: int) -> dict[str, str]:
    """What a contestant finds around it."""
    threads = max(1, (os.cpu_count() or 1) // ranks)
    cpu = {} if torch.cuda.is_available() else {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    # Threads that wait for their turn must not spin.
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false", **cpu}


def agree(ours: Losses, theirs: Losses, name: str) -> None:
    """Ends the benchmark if the two (the second is called `name`) do not compute the same."""
    most = AGREE[torch.cuda.is_available()]
    for task, mine in ours.items():
        if not abs(mine - theirs[task]) <= most * abs(mine):
            raise SystemExit(f"error: {task}: loss {mine:.6f} here, {theirs[task]:.6f} in {name}: not the same model")


def _speeds(one: dict[str, Turn]) -> dict[str, Any]:
    return {
        who: {
            "tokens_per_second": turn.tokens / turn.seconds,
            "padding": turn.computed / turn.tokens,
            "peak": turn.peak,
        }
        for who, turn in one.items()
    }


def _ratios(rounds: list[dict[str, Turn]]) -> list[float]:
    return [
        (one["ours"].tokens / one["ours"].seconds) / (one["theirs"].tokens / one["theirs"].seconds) for one in rounds
    ]


def _table(rounds: dict[str, list[dict[str, Turn]]], options: argparse.Namespace) -> str:
    batches = f" (the Trainer: in {options.accumulate} batches)" if options.accumulate > 1 else ""
    lines = [
        machine(),
        f"{options.shape} XLM-R, {options.vocabulary:,} tokens, rows up to {options.max_length}, "
        f"{options.ranks} ranks, {options.examples} examples a step{batches}, {options.rounds} rounds of "
        f"{options.steps} steps; real tokens a second, median; ours with {', '.join(options.set) or 'its defaults'}",
        "",
        "| against | ours | theirs | ratio (lowest to highest) | bound | peak GiB a rank, ours / theirs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, found in rounds.items():
        speeds = [_speeds(one) for one in found]
        mine, other = (statistics.median(s[who]["tokens_per_second"] for s in speeds) for who in ("ours", "theirs"))
        ratios = _ratios(found)
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        bound = statistics.median(s["theirs"]["padding"] for s in speeds)
        peaks = f"{speeds[-1]['ours']['peak']:.2f} / {speeds[-1]['theirs']['peak']:.2f}"
        lines.append(f"| {name} | {mine:,.0f} | {other:,.0f} | {spread} | {bound:.2f} | {peaks} |")
    lines += ["", *(f"{name}: {THEIRS[name]}." for name in rounds)]
    return "\n".join(lines)


def machine() -> str:
    names = ("torch", "transformers", "deepspeed", "accelerate")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores, {platform.machine()}"
    )
    return f"{device}; Python {platform.python_version()}, {packages}"


if __name__ == "__main__":
    main()
