"""Training on GPUs: what each choice costs, how much of the hardware is used, and the Trainer beside it.

    python -m bench.gpu [--shape large] [--ranks 1] [--tokens 65536] [--only NAME ...] [--seconds 560] [--json FILE]

XLM-R of random weights, bf16 and ZeRO-2, the nine tasks' true lengths (bench/workload.py). One choice is changed at a
time (`VARIANTS`; not their product), and each variant races the default in turn (bench/turns.py). What can be switched
in place is switched between turns of one program; another ZeRO stage and the Trainer are programs of their own. All
load their models at once, and take their part of the GPU when their race comes; whoever waits gives its spare memory
back. The first step of a turn is not counted. Before a race both must give the same loss on the same rows. A variant
that runs out of memory, or comes too late for `--seconds`, is a row that says so. Printed for each: real tokens/s, the
default's over its (rounds' median, lowest, highest), MFU by the formula of bench/flops.py over the largest bf16 product
measured at the start, peak memory, and the share of the time in which the GPU has nothing to do (bench/idle.py, over
steps of their own). The Trainer takes the same examples a step, `--rows` of one task at a time, and is autocast to bf16
over float32 weights. Without a GPU the same program runs in float32 on CPU ranks, where MFU and idleness are "-".
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench import flops, workload
from bench.train import WHOLE, agree, command, environment, machine
from bench.turns import Contestant, Ended, Losses, Turn
from mtl.run import memory_estimate, setup

ROOM = 1.07  # micro_tokens over a rank's mean share: steps vary, and what does not fit is a micro-step more
MICRO = 32_768  # tokens that are held at once, about


@dataclass(frozen=True)
class Variant:
    """`tune`: of bench/train_ours.py; `micro`: `tune`'s tokens held at once, about; `stage`: the file of `_stages`;

    `way`: of bench/train_theirs.py, "" for ours; `fast_zero2`: as in the run config; `times`: of the default's
    examples a step; 0: the published 32.
    """

    what: str
    tune: tuple[tuple[str, Any], ...] = ()
    stage: str = "stage2"
    way: str = ""
    fast_zero2: bool = True
    times: int = 1
    micro: int = MICRO

    @property
    def program(self) -> tuple[str, ...]:
        """Variants of which this is equal are run by one program."""
        return (self.way, str(self.times)) if self.way else (self.stage, str(self.fast_zero2))


VARIANTS = {
    "default": Variant("ours as users get it: ZeRO-2, blocks compiled, no checkpointing"),
    "trainer_grouped": Variant("Trainer, rows of like length together", way="trainer_grouped"),
    "whole": Variant("ours, 65,536 tokens at once", micro=65_536),
    "eager": Variant("ours, nothing compiled", (("compile", False),)),
    "varlen": Variant("ours, attention by torch's FlashAttention 2", (("attention", "varlen"),)),
    "padded": Variant("ours, attention by one padded SDPA call", (("attention", "padded"),)),
    "checkpointing": Variant("ours, blocks computed again in the backward pass", (("checkpointing", True),)),
    "32": Variant("ours, 32 examples a step as published", times=0),
    "32_trainer_grouped": Variant("Trainer, rows of like length together, 32 a step", way="trainer_grouped", times=0),
    "trainer_padded": Variant("Trainer, random rows of one task", way="trainer_padded"),
    "stage1": Variant("ours, ZeRO-1", stage="stage1"),
    "stage0": Variant("ours, plain data parallelism", stage="stage0"),
    "twice": Variant("ours, twice the tokens a step", times=2),
    "16k": Variant("ours, 16,384 tokens at once", micro=16_384),
    "32_eager": Variant("ours, 32 examples a step, nothing compiled", (("compile", False),), times=0),
    "deepspeed_zero2": Variant("ours, gradients and step by DeepSpeed's own code", fast_zero2=False),
    "no_overlap": Variant("ours, ZeRO-2 without overlap_comm", stage="no_overlap"),
}
AGAINST = {name: "32" if name.startswith("32") else "default" for name in VARIANTS}  # whom each one races
ONE_RANK = {"no_overlap"}  # of no difference on one rank


class Bench:
    """The workload in `folder`, and how a variant is started on it."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options, ranks = folder, options, options.ranks
        self.stages = _stages(folder)
        self.config = workload.make(
            folder, options.shape, rows=2000, seed=1, vocabulary=options.vocabulary, max_length=512, steps=1_000_000,
            batch={"tokens": options.tokens}, optimizer={"lr": 1e-5}, hidden_dropout_prob=0.1,
            micro_tokens=self.at_once(MICRO), deepspeed=self.stages["stage2"],
        )  # fmt: skip
        self.made = setup.read(str(self.config), options.set)
        # Whole batches of the Trainer's.
        self.accumulate = max(1, round(self.made.plan.batch_examples / (ranks * options.rows)))
        self.programs: dict[tuple[str, ...], Contestant] = {}

    def at_once(self, tokens: int) -> int:
        """`micro_tokens` that divide a step of `--tokens` into micro-steps of about `tokens`."""
        share = self.options.tokens / self.options.ranks
        return max(4096, math.ceil(ROOM * share / math.ceil(share / tokens)))

    def load(self, names: Sequence[str]) -> None:
        """Starts the programs of these variants, as far as they go without the GPU."""
        for name in names:
            if VARIANTS[name].program not in self.programs:
                self.programs[VARIANTS[name].program] = self._start(name)

    def program(self, name: str) -> Contestant:
        """A variant's program, once it is ready for a turn."""
        self.load([name])
        return self.programs[VARIANTS[name].program].ready()

    def stop(self, name: str | None = None) -> None:
        """Ends a variant's program, or all."""
        for key in [VARIANTS[name].program] if name else list(self.programs):
            self.programs.pop(key).stop()

    def _examples(self, variant: Variant) -> int:
        return self.accumulate * variant.times * self.options.ranks * self.options.rows if variant.times else 32

    def _start(self, name: str) -> Contestant:
        variant, ranks = VARIANTS[name], self.options.ranks
        examples = self._examples(variant if variant.way else VARIANTS["default"])
        sets = [f"batch.examples={examples}", f"deepspeed={self.stages[variant.stage]}"]
        sets += [] if variant.fast_zero2 else ["fast_zero2=false"]
        program, more = "bench/train_ours.py", []
        if variant.way:
            accumulate = self.accumulate * variant.times if variant.times else 1
            program, more = "bench/train_theirs.py", ["--way", variant.way, "--accumulate", str(accumulate)]
        sets += WHOLE if variant.way else self.options.set
        line = command(ranks, program, self.config, sets, *more)
        return Contestant(name, line, environment(ranks), self.folder / f"{name}.log")

    def tune(self, name: str) -> dict[str, Any]:
        """What a variant's program switches for it."""
        variant = VARIANTS[name]
        tune = dict(variant.tune)
        if not variant.way and variant.times != 1:
            tune["examples"] = self._examples(variant)
        if variant.micro != MICRO:
            tune["micro_tokens"] = self.at_once(variant.micro)
        return tune

    def losses(self, name: str) -> Losses:
        found: Losses = self.program(name).about["losses"]
        return self.program(name).losses(dict(VARIANTS[name].tune)) if VARIANTS[name].tune else found

    def turn(self, name: str) -> Turn:
        one, tune = self.program(name), self.tune(name)
        one.go(1, tune=tune)  # fetches the memory that it gave back, at the first turn compiles and chooses kernels
        turn = one.go(self.options.steps, tune=tune)
        one.rest()
        return turn

    def idle(self, name: str) -> float | None:
        if not torch.cuda.is_available():
            return None
        one, tune = self.program(name), self.tune(name)
        one.go(1, tune=tune)
        idle = one.go(max(3, self.options.steps), watch=True, tune=tune).idle
        one.rest()
        return idle

    def attention(self, name: str) -> str:
        variant = VARIANTS[name]
        return (
            "sdpa with a mask"
            if variant.way
            else self.tune(name).get("attention", self.program(name).about["attention"])
        )

    def plan(self) -> dict[int, dict[str, float]]:
        """GiB a GPU on 1, 8 and 64 of them, by mtl/run/memory_estimate.py; activations without checkpointing."""
        made, total = self.made, sum(memory_estimate.parameters(self.made))
        return {n: memory_estimate.memory(total, made.ds, made.source, made.run.micro_tokens, n) for n in (1, 8, 64)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--shape", choices=tuple(workload.SHAPES), default="large")
    add("--ranks", type=int, default=torch.cuda.device_count() or 1)
    add("--tokens", type=int, default=65_536, help="of a step, all ranks together")
    add("--rows", type=int, default=32, help="of a batch of the Trainer's on one rank")
    add("--rounds", type=int, default=5)
    add("--steps", type=int, default=2, help="optimizer steps of a turn that count")
    add("--vocabulary", type=int, default=250_002)
    add("--only", action="append", choices=tuple(n for n in VARIANTS if n not in AGAINST.values()), help="race these")
    add("--set", action="append", default=[], help="a config field of all of ours, for example compile=true")
    add("--seconds", type=float, default=560, help="no variant is started that would take longer than what is left")
    add("--json", type=Path)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    peaks = flops.peak() if torch.cuda.is_available() else {}
    result: dict[str, Any] = {
        "machine": machine(), "settings": {k: str(v) for k, v in vars(options).items()}, "formula": flops.FORMULA,
        "products": peaks, "rows": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place), options)
        result["memory_plan"] = bench.plan()
        result["trained"] = bench.made.vocabulary.trained
        for name, row in _rows(bench, began, max(peaks.values(), default=None)):
            result["rows"][name] = row
            print(f"{time.monotonic() - began:4.0f} s: {name}: {row['status']}", file=sys.stderr, flush=True)
            if options.json:  # after each, so that a run that is cut off leaves what it has
                options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


def _rows(bench: Bench, began: float, peak: float | None) -> Any:
    """(name, row) of every variant asked for, one after the other; their opponents as rows before them."""
    options = bench.options
    chosen = options.only or [name for name in VARIANTS if name not in AGAINST.values()]
    chosen = [n for n in sorted(chosen, key=list(VARIANTS).index) if options.ranks > 1 or n not in ONE_RANK]
    alone: set[str] = set()
    longest = 0.0
    try:
        if options.seconds > 0:
            bench.load([name for one in chosen for name in (AGAINST[one], one)])
        for number, name in enumerate(chosen):
            started = time.monotonic()
            if started - began + longest > options.seconds:
                yield name, {"status": "not run: the time was up"}
                continue
            try:
                if AGAINST[name] not in alone:
                    alone.add(AGAINST[name])
                    turns = [bench.turn(AGAINST[name]) for _ in range(options.rounds)]
                    yield AGAINST[name], _row(bench, AGAINST[name], turns, peak)
                row = _raced(bench, AGAINST[name], name, peak)
            except Ended as error:
                row = {"status": f"{error.name}: {_reason(error)}" if error.name != name else _reason(error)}
                ended = [
                    n
                    for n in VARIANTS
                    if VARIANTS[n].program in bench.programs and bench.programs[VARIANTS[n].program].name == error.name
                ]
                bench.stop(ended[0])
            except SystemExit as error:  # not the same losses
                row = {"status": str(error).removeprefix("error: ")}
            yield name, row
            program = VARIANTS[name].program
            if program in bench.programs and not any(
                program in (VARIANTS[later].program, VARIANTS[AGAINST[later]].program) for later in chosen[number + 1 :]
            ):
                bench.stop(name)
            longest = max(longest, time.monotonic() - started)
    finally:
        bench.stop()


def _reason(error: Ended) -> str:
    if "out of memory" in error.log.lower():
        return "out of memory"
    lines = [line for line in error.log.splitlines() if "Error" in line]
    return f"failed: {lines[-1].strip()[:200] if lines else 'see its log above'}"


def _raced(bench: Bench, reference: str, name: str, peak: float | None) -> dict[str, Any]:
    """The row of a variant, and its ratios: the opponent's real tokens a second over its own, round by round."""
    agree(bench.losses(reference), bench.losses(name), name)
    turns: dict[str, list[Turn]] = {reference: [], name: []}
    for number in range(bench.options.rounds):
        for one in (reference, name) if number % 2 else (name, reference):
            turns[one].append(bench.turn(one))
    mine, theirs = ([turn.tokens / turn.seconds for turn in turns[who]] for who in (reference, name))
    row = _row(bench, name, turns[name], peak)
    return {**row, "against": reference, "ratios": [a / b for a, b in zip(mine, theirs, strict=True)]}


def _row(bench: Bench, name: str, turns: list[Turn], peak: float | None) -> dict[str, Any]:
    options = bench.options
    speeds = [turn.tokens / turn.seconds for turn in turns]
    done = statistics.median(turn.work / turn.seconds for turn in turns) / options.ranks
    return {
        "status": "ok",
        "attention": bench.attention(name),
        "tokens_per_second": statistics.median(speeds),
        "rounds": speeds,
        "tokens_per_step": statistics.mean(turn.tokens for turn in turns) / options.steps,
        "mfu": done / peak if peak else None,
        "peak_gib": turns[-1].peak,
        "idle": bench.idle(name),
        "padding": statistics.median(turn.computed / turn.tokens for turn in turns),
        "losses": bench.losses(name),
    }


def _stages(folder: Path) -> dict[str, str]:
    """DeepSpeed files by name; in bf16 where there is a GPU."""
    if not torch.cuda.is_available():
        one = folder / "stage1.json"
        one.write_text('{"zero_optimization": {"stage": 1}}', encoding="utf-8")
        return {"stage0": "zero0.json", "stage1": str(one), "stage2": "zero2_cpu.json", "no_overlap": "zero2_cpu.json"}
    # zero0.json is float32: stage 0 in bf16 accumulates in bf16, which is all right for a comparison of speed.
    plain, sequential = folder / "stage0.json", folder / "no_overlap.json"
    plain.write_text('{"zero_optimization": {"stage": 0}, "bf16": {"enabled": true}}', encoding="utf-8")
    two = json.loads((setup.HOUSE / "ds_configs" / "zero2.json").read_text(encoding="utf-8"))
    two["zero_optimization"]["overlap_comm"] = False
    sequential.write_text(json.dumps(two), encoding="utf-8")
    return {"stage0": str(plain), "stage1": "zero1.json", "stage2": "zero2.json", "no_overlap": str(sequential)}


def table(result: dict[str, Any]) -> str:
    """The whole text for people."""
    settings, peak = result["settings"], max(result["products"].values(), default=None)
    lines = [
        result["machine"],
        f"{settings['shape']} XLM-R, {result['trained']:,} word embeddings trained by ours, about {settings['tokens']} "
        f"tokens a step on {settings['ranks']} rank(s), {settings['rounds']} rounds of {settings['steps']} steps",
        f"peak: {peak / 1e12:,.0f} TFLOP/s, the largest dense bf16 product measured" if peak else "peak: - (no GPU)",
        f"MFU = operations a second on real tokens / peak; {result['formula']}",
        "",
        "| variant | real tokens/s | opponent / it (lowest, highest) | MFU | peak GiB | GPU idle | padding | a step |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in result["rows"].items():
        if row["status"] != "ok":
            lines.append(f"| {name} | {row['status']} | | | | | | |")
            continue
        ratio, found = "", row.get("ratios")
        if found:
            ratio = f"{row['against']} / it: {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
        mfu, idle = ("-" if value is None else f"{value:.1%}" for value in (row["mfu"], row["idle"]))
        lines.append(
            f"| {name} | {row['tokens_per_second']:,.0f} | {ratio} | {mfu} | {row['peak_gib']:.1f} | {idle} | "
            f"{row['padding']:.2f} | {row['tokens_per_step']:,.0f} |"
        )
    lines += ["", *(f"{name}: {VARIANTS[name].what}." for name in result["rows"])]
    lines += ["", "GiB a GPU by mtl/run/memory_estimate.py, ZeRO-2, activations without checkpointing:"]
    for count, parts in result["memory_plan"].items():
        shown = ", ".join(f"{name} {size:.1f}" for name, size in parts.items())
        lines.append(f"{count:>3} GPUs: {sum(parts.values()):.1f} ({shown})")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
