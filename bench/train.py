"""Training speed against what users would otherwise run: real tokens per second, side by side.

    python -m bench.train [--shape small|base|large | --encoder FOLDER] [--max-length 512|256] [--ranks 2] [--rounds 5]
                          [--steps 12] [--accumulate 1] [--deepspeed zero2_cpu.json] [--set trim_word_embeddings=false]
                          [--json FILE]

Same model, data, optimizer, precision, ranks and examples a step for all; padding does not count as work. Ours runs
with its defaults, so it trains only the word embeddings that occur in the data (`--set trim_word_embeddings=false`: all
of them, as the baselines do). Lengths are those of the nine tasks, truncated at 512 tokens (next to nothing is) or 256.
Contestants (bench/contestants) are programs of their own that take turns of the same number of steps, in alternating
order, and ratios are taken within a round. Before that, both must give the same loss on the same rows. `bound`: padded
over real tokens, the speed-up from leaving out padding alone. On CPU the ranks share the cores and compute in float32,
and ours uses the baseline's parallelism: plain data parallelism against the Trainer and DistributedDataParallel, ZeRO-2
against ZeRO-2. On GPUs all run in bf16 and ours with ds_configs/zero2.json. `--deepspeed` names another file for ours
and the ZeRO-2 baseline; its bf16 setting holds for all.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.contestants.turns import Contestant, Losses, Turn
from bench.interleaved import ratios, spread
from bench.launch import command, environment, machine
from bench.workload import training
from bench.workload.row_lengths import FILES

BASELINES = {
    "trainer_padded": "Trainer, batches of one task, padded to their longest row",
    "trainer_grouped": "the same, rows of similar length together (50 batches at a time)",
    "task_max_padded": "DistributedDataParallel loop, padded to the task's maximum (jiant's scheme)",
    "zero2_padded": "DeepSpeed ZeRO-2 loop, batches of one task, padded to their longest row",
}
ON_CPU = {"zero2_padded": "zero2_cpu.json"}  # our DeepSpeed file against a baseline, where not zero0.json
ALL_EMBEDDINGS = ["trim_word_embeddings=false"]  # what the baselines train
TOLERANCE = {False: 1e-3, True: 2e-2}  # relative difference of a task's loss; True: in bf16, on a GPU

Round = dict[str, Turn]  # "ours" and "theirs"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--shape", choices=tuple(training.SHAPES), default="small")
    add("--encoder", type=Path, help="train from the weights in this folder, of whatever family, instead of a shape")
    add("--ranks", type=int, default=min(2, torch.cuda.device_count()) or 2)
    add("--rounds", type=int, default=5)
    add("--steps", type=int, default=12, help="optimizer steps of a turn")
    add("--examples", type=int, default=32, help="examples a step, over all ranks")
    add("--vocabulary", type=int, default=250_002)
    add("--max-length", type=int, choices=tuple(FILES), default=512)
    add("--accumulate", type=int, default=1, help="gradient accumulation steps of the Trainer, to save memory")
    add("--only", action="append", choices=tuple(BASELINES), help="only against this baseline (repeatable)")
    add("--deepspeed", help="a DeepSpeed file of ds_configs for all")
    add("--set", action="append", default=[], help="a config field of our run, for example attention=padded")
    add("--json", type=Path)
    options = parser.parse_args(arguments)
    if options.examples % (options.ranks * options.accumulate):
        parser.error("--examples must be divisible by --ranks times --accumulate")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config = training.write(
            folder, options.shape, rows=2000, seed=1, vocabulary=options.vocabulary,
            max_length=options.max_length, encoder=options.encoder, steps=1_000_000,
            batch={"examples": options.examples}, micro_tokens=1_000_000, optimizer={"lr": 1e-5},
            hidden_dropout_prob=None if options.encoder else 0.1,  # None: as in its config
        )  # fmt: skip
        # One baseline at a time, because more than two models may not fit into memory.
        rounds = {name: _compare(folder, config, name, options) for name in options.only or BASELINES}
    print(_table(rounds, options))
    if options.json:
        result = {
            "ratios": {name: statistics.median(_speed_ratios(found)) for name, found in rounds.items()},
            "rounds": {name: [_speeds(one) for one in found] for name, found in rounds.items()},
            "machine": machine(), "settings": {k: str(v) for k, v in vars(options).items()},
        }  # fmt: skip
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _compare(folder: Path, config: Path, name: str, options: argparse.Namespace) -> list[Round]:
    """The rounds of ours and one baseline, without the first, which is a warm-up."""
    cuda = torch.cuda.is_available()
    deepspeed = f"deepspeed={options.deepspeed or ('zero2.json' if cuda else ON_CPU.get(name, 'zero0.json'))}"
    env = environment(options.ranks)
    line = command(options.ranks, "bench.contestants.intermezzo", config, [deepspeed, *options.set])
    ours = Contestant("ours", line, env, folder / "ours.log")
    accumulate = options.accumulate if name.startswith("trainer") else 1
    more = ["--baseline", name, "--accumulate", str(accumulate)]
    line = command(options.ranks, "bench.contestants.baselines", config, [deepspeed, *ALL_EMBEDDINGS], *more)
    theirs = Contestant(name, line, env, folder / f"{name}.log")
    rounds = []
    try:
        check_losses(ours.ready().about["losses"], theirs.ready().about["losses"], name)
        for number in range(options.rounds + 1):
            order = (ours, theirs) if number % 2 else (theirs, ours)
            turns = {one.name: one.train(options.steps) for one in order}
            if number:
                rounds.append({"ours": turns["ours"], "theirs": turns[name]})
                print(f"{name} round {number}: {_speed_ratios(rounds)[-1]:.2f}", file=sys.stderr)
    finally:
        ours.stop()
        theirs.stop()
    return rounds


def check_losses(ours: Losses, theirs: Losses, name: str) -> None:
    """Ends the benchmark if the losses differ from those of contestant `name`."""
    tolerance = TOLERANCE[torch.cuda.is_available()]
    for task, loss in ours.items():
        if not abs(loss - theirs[task]) <= tolerance * abs(loss):
            raise SystemExit(f"error: {task}: loss {loss:.6f}, but {theirs[task]:.6f} in {name}: not the same model")


def _speeds(one: Round) -> dict[str, Any]:
    return {
        who: {"tokens_per_second": turn.tokens_per_second, "padding": turn.padding, "peak": turn.peak}
        for who, turn in one.items()
    }


def _speed_ratios(rounds: list[Round]) -> list[float]:
    ours, theirs = ([one[who].tokens_per_second for one in rounds] for who in ("ours", "theirs"))
    return ratios(ours, theirs)


def _table(rounds: dict[str, list[Round]], options: argparse.Namespace) -> str:
    model = options.encoder or f"{options.shape} XLM-R, {options.vocabulary:,} tokens"
    batches = f" (the Trainer: in {options.accumulate} batches)" if options.accumulate > 1 else ""
    lines = [
        machine(),
        f"{model}, rows up to {options.max_length}, "
        f"{options.ranks} ranks, {options.examples} examples a step{batches}, {options.rounds} rounds of "
        f"{options.steps} steps; real tokens per second, median; ours with {', '.join(options.set) or 'its defaults'}",
        "",
        "| baseline | ours | theirs | ours / theirs (lowest to highest) | bound | peak GiB a rank, ours / theirs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, some in rounds.items():
        ours, theirs = (statistics.median(one[who].tokens_per_second for one in some) for who in ("ours", "theirs"))
        bound = statistics.median(one["theirs"].padding for one in some)
        peaks = f"{some[-1]['ours'].peak:.2f} / {some[-1]['theirs'].peak:.2f}"
        lines.append(
            f"| {name} | {ours:,.0f} | {theirs:,.0f} | {spread(_speed_ratios(some))} | {bound:.2f} | {peaks} |"
        )
    lines += ["", *(f"{name}: {BASELINES[name]}." for name in rounds)]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
