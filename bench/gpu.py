"""Training on GPUs: what each setting costs, utilisation of the hardware, and the Trainer for comparison.

    python -m bench.gpu [--shape large] [--ranks 1] [--tokens 65536] [--only NAME ...] [--seconds 560] [--json FILE]

An encoder with random weights (`--shape`: XLM-R's, or mmBERT's), bf16 and ZeRO-2, the real lengths of the nine tasks
(bench/workload). One setting is changed at a time (`VARIANTS`), and each variant is interleaved with its reference, the
default. What can be switched in place is switched between turns of one program; another ZeRO stage and the Trainer are
programs of their own. All load their models at the start, use the GPU from their first turn on and release cached
memory after each. The first step of a turn is not counted. Before that, both must give the same loss on the same rows.
A variant that runs out of memory, or for which `--seconds` are too short, is a row that says so. For each: real
tokens/s, the ratio of the reference to it (median, lowest, highest of the rounds), MFU (bench/flops.py) over the
fastest bf16 matrix product measured at the start, peak memory, and GPU idle time (bench/gpu_idle.py, in steps of their
own). The Trainer takes the same examples a step, `--rows` of one task at a time, with bf16 autocast over float32
weights. Without a GPU the program runs in float32 on CPU ranks, and MFU and idle time are "-".
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench import flops
from bench.contestants.turns import Contestant, ContestantFailed, Losses, Turn
from bench.interleaved import ratios, spread
from bench.launch import REPOSITORY, command, environment, machine
from bench.train import ALL_EMBEDDINGS, check_losses
from bench.workload import training
from mtl.run import memory_estimate, setup

HEADROOM = 1.07  # micro_tokens over a rank's mean share: steps vary, and what does not fit is one more micro-step
MICRO = 32_768  # tokens of a micro-batch, about


@dataclass(frozen=True)
class Variant:
    """One setting that differs from the default.

    tune: of bench/contestants/intermezzo.py, switched in place; stage: key of `_deepspeed_files`; baseline: of
    bench/contestants/baselines.py, "" for ours; fast_zero2: as in the run config; scale: times the default's examples
    a step, 0 for the published 32; micro: tokens of a micro-batch, about.
    """

    description: str
    tune: tuple[tuple[str, Any], ...] = ()
    stage: str = "stage2"
    baseline: str = ""
    fast_zero2: bool = True
    scale: int = 1
    micro: int = MICRO

    @property
    def program(self) -> tuple[str, ...]:
        """Variants for which this is equal share one program."""
        return (self.baseline, str(self.scale)) if self.baseline else (self.stage, str(self.fast_zero2))


VARIANTS = {
    "default": Variant("ours with its defaults: ZeRO-2, blocks compiled, no checkpointing"),
    "trainer_grouped": Variant("Trainer, rows of similar length together", baseline="trainer_grouped"),
    "trainer_flat": Variant("Trainer without padding, attention by FlashAttention 2", baseline="trainer_flat"),
    "whole": Variant("ours, micro-batches of 65,536 tokens", micro=65_536),
    "eager": Variant("ours, nothing compiled", (("compile", False),)),
    "varlen": Variant("ours, attention by torch's FlashAttention 2", (("attention", "varlen"),)),
    "padded": Variant("ours, attention by one padded SDPA call", (("attention", "padded"),)),
    "checkpointing": Variant("ours, gradient checkpointing", (("checkpointing", True),)),
    "32": Variant("ours, 32 examples a step as published", scale=0),
    "32_trainer_grouped": Variant("Trainer as above, 32 examples a step", baseline="trainer_grouped", scale=0),
    "trainer_padded": Variant("Trainer, random rows of one task", baseline="trainer_padded"),
    "stage1": Variant("ours, ZeRO-1", stage="stage1"),
    "stage0": Variant("ours, plain data parallelism", stage="stage0"),
    "twice": Variant("ours, twice the tokens a step", scale=2),
    "16k": Variant("ours, micro-batches of 16,384 tokens", micro=16_384),
    "32_eager": Variant("ours, 32 examples a step, nothing compiled", (("compile", False),), scale=0),
    "deepspeed_zero2": Variant("ours, gradients and step by DeepSpeed's own code", fast_zero2=False),
    "no_overlap": Variant("ours, ZeRO-2 without overlap_comm", stage="no_overlap"),
}
REFERENCE = {name: "32" if name.startswith("32") else "default" for name in VARIANTS}
COMPARED = tuple(name for name in VARIANTS if name not in REFERENCE.values())
SEVERAL_RANKS = {"no_overlap"}  # makes no difference on one rank


class Bench:
    """The workload in `folder`, and the programs of the variants on it."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options, ranks = folder, options, options.ranks
        self.deepspeed = _deepspeed_files(folder)
        self.config = training.write(
            folder, options.shape, rows=2000, seed=1, vocabulary=options.vocabulary, max_length=512, steps=1_000_000,
            batch={"tokens": options.tokens}, optimizer={"lr": 1e-5}, hidden_dropout_prob=0.1,
            micro_tokens=self.micro_tokens(MICRO), deepspeed=self.deepspeed["stage2"],
        )  # fmt: skip
        self.setup = setup.read(str(self.config), options.set)
        # So that a step is a whole number of the Trainer's batches.
        self.accumulate = max(1, round(self.setup.plan.batch_examples / (ranks * options.rows)))
        self.programs: dict[tuple[str, ...], Contestant] = {}

    def micro_tokens(self, tokens: int) -> int:
        """`micro_tokens` that divide a step of `--tokens` into micro-steps of about `tokens`."""
        share = self.options.tokens / self.options.ranks
        return max(4096, math.ceil(HEADROOM * share / math.ceil(share / tokens)))

    def load(self, names: Sequence[str]) -> None:
        """Starts the programs of these variants, up to where they need the GPU."""
        for name in names:
            if VARIANTS[name].program not in self.programs:
                self.programs[VARIANTS[name].program] = self._start(name)

    def program(self, name: str) -> Contestant:
        """A variant's program, once it is ready for a turn."""
        self.load([name])
        return self.programs[VARIANTS[name].program].ready()

    def stop(self, name: str | None = None) -> None:
        """Ends a variant's program if it runs, or all."""
        for key in [VARIANTS[name].program] if name else list(self.programs):
            if key in self.programs:
                self.programs.pop(key).stop()

    def _examples(self, variant: Variant) -> int:
        return self.accumulate * variant.scale * self.options.ranks * self.options.rows if variant.scale else 32

    def _start(self, name: str) -> Contestant:
        variant, ranks = VARIANTS[name], self.options.ranks
        examples = self._examples(variant if variant.baseline else VARIANTS["default"])
        sets = [f"batch.examples={examples}", f"deepspeed={self.deepspeed[variant.stage]}"]
        sets += [] if variant.fast_zero2 else ["fast_zero2=false"]
        module, more = "bench.contestants.intermezzo", []
        if variant.baseline:
            accumulate = self.accumulate * variant.scale if variant.scale else 1
            module = "bench.contestants.baselines"
            more = ["--baseline", variant.baseline, "--accumulate", str(accumulate)]
        sets += ALL_EMBEDDINGS if variant.baseline else self.options.set
        line = command(ranks, module, self.config, sets, *more)
        return Contestant(name, line, environment(ranks), self.folder / f"{name}.log")

    def tune(self, name: str) -> dict[str, Any]:
        """The settings of a variant that its program switches in place."""
        variant = VARIANTS[name]
        tune = dict(variant.tune)
        if not variant.baseline and variant.scale != 1:
            tune["examples"] = self._examples(variant)
        if variant.micro != MICRO:
            tune["micro_tokens"] = self.micro_tokens(variant.micro)
        return tune

    def losses(self, name: str) -> Losses:
        program, tune = self.program(name), dict(VARIANTS[name].tune)
        losses: Losses = program.losses(tune) if tune else program.about["losses"]
        return losses

    def turn(self, name: str) -> Turn:
        program, tune = self.program(name), self.tune(name)
        program.train(1, tune=tune)  # allocates the memory it released; in the first turn compiles and tunes kernels
        turn = program.train(self.options.steps, tune=tune)
        program.release_memory()
        return turn

    def idle(self, name: str) -> float | None:
        if not torch.cuda.is_available():
            return None
        program, tune = self.program(name), self.tune(name)
        program.train(1, tune=tune)
        idle = program.train(max(3, self.options.steps), profile=True, tune=tune).idle
        program.release_memory()
        return idle

    def attention(self, name: str) -> str:
        if VARIANTS[name].baseline:
            flat = VARIANTS[name].baseline == "trainer_flat"
            return "sdpa with a mask" if not flat else "varlen" if torch.cuda.is_available() else "sdpa"
        return self.tune(name).get("attention", self.program(name).about["attention"])

    def memory_plan(self) -> dict[int, dict[str, float]]:
        """{GPUs: GiB of each} by mtl/run/memory_estimate.py; activations without checkpointing."""
        total = sum(memory_estimate.parameters(self.setup))
        ds, config, micro_tokens = self.setup.ds, self.setup.source, self.setup.run.micro_tokens
        return {n: memory_estimate.memory(total, ds, config, micro_tokens, n) for n in (1, 8, 64)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--shape", choices=tuple(training.SHAPES), default="large")
    add("--ranks", type=int, default=torch.cuda.device_count() or 1)
    add("--tokens", type=int, default=65_536, help="of a step, over all ranks")
    add("--rows", type=int, default=32, help="rows of a Trainer batch on one rank")
    add("--rounds", type=int, default=5)
    add("--steps", type=int, default=2, help="optimizer steps of a turn, without the first")
    add("--vocabulary", type=int, default=250_002)
    add("--only", action="append", choices=COMPARED, help="only this variant (repeatable; measured in this order)")
    add("--set", action="append", default=[], help="a config field of all variants of ours")
    add("--seconds", type=float, default=560, help="start no variant that would take longer than what is left")
    add("--json", type=Path)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    peaks = flops.peak() if torch.cuda.is_available() else {}
    result: dict[str, Any] = {
        "machine": machine(), "settings": {k: str(v) for k, v in vars(options).items()}, "formula": flops.FORMULA,
        "peak_flops": peaks, "rows": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(temporary), options)
        result["memory_plan"] = bench.memory_plan()
        result["trained"] = bench.setup.vocabulary.trained
        for name, row in _rows(bench, began, max(peaks.values(), default=None)):
            result["rows"][name] = row
            print(f"{time.monotonic() - began:4.0f} s: {name}: {row['status']}", file=sys.stderr, flush=True)
            if options.json:  # after each, so that an interrupted run leaves its results
                options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))


def _rows(bench: Bench, began: float, peak: float | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, row) of every requested variant, each reference before the first variant that needs it."""
    options = bench.options
    chosen = [n for n in options.only or COMPARED if options.ranks > 1 or n not in SEVERAL_RANKS]
    measured: set[str] = set()
    longest = 0.0
    try:
        if options.seconds > 0:
            bench.load([name for one in chosen for name in (REFERENCE[one], one)])
        for number, name in enumerate(chosen):
            started = time.monotonic()
            if started - began + longest > options.seconds:
                yield name, {"status": "not run: no time left"}
                continue
            reference = REFERENCE[name]
            try:
                if reference not in measured:
                    measured.add(reference)
                    turns = [bench.turn(reference) for _ in range(options.rounds)]
                    yield reference, _row(bench, reference, turns, peak)
                row = _compared(bench, reference, name, peak)
            except ContestantFailed as error:
                row = {"status": f"{error.name}: {_reason(error)}" if error.name != name else _reason(error)}
                bench.stop(error.name)
            except SystemExit as error:  # the losses differ
                row = {"status": str(error).removeprefix("error: ")}
            yield name, row
            needed = {VARIANTS[n].program for later in chosen[number + 1 :] for n in (later, REFERENCE[later])}
            if VARIANTS[name].program not in needed:
                bench.stop(name)
            longest = max(longest, time.monotonic() - started)
    finally:
        bench.stop()


def _reason(error: ContestantFailed) -> str:
    if "out of memory" in error.log.lower():
        return "out of memory"
    lines = [line for line in error.log.splitlines() if "Error" in line]
    return f"failed: {lines[-1].strip()[:200] if lines else 'see its log above'}"


def _compared(bench: Bench, reference: str, name: str, peak: float | None) -> dict[str, Any]:
    """The row of a variant, with the reference's real tokens per second over its own, round by round."""
    check_losses(bench.losses(reference), bench.losses(name), name)
    turns: dict[str, list[Turn]] = {reference: [], name: []}
    for number in range(bench.options.rounds):
        for one in (reference, name) if number % 2 else (name, reference):
            turns[one].append(bench.turn(one))
    speeds = {one: [turn.tokens_per_second for turn in turns[one]] for one in turns}
    row = _row(bench, name, turns[name], peak)
    return {**row, "against": reference, "ratios": ratios(speeds[reference], speeds[name])}


def _row(bench: Bench, name: str, turns: list[Turn], peak: float | None) -> dict[str, Any]:
    options = bench.options
    speeds = [turn.tokens_per_second for turn in turns]
    flops_per_rank = statistics.median(turn.flops / turn.seconds for turn in turns) / options.ranks
    return {
        "status": "ok",
        "attention": bench.attention(name),
        "tokens_per_second": statistics.median(speeds),
        "rounds": speeds,
        "tokens_per_step": statistics.mean(turn.tokens for turn in turns) / options.steps,
        "mfu": flops_per_rank / peak if peak else None,
        "peak_gib": turns[-1].peak,
        "idle": bench.idle(name),
        "padding": statistics.median(turn.padding for turn in turns),
        "losses": bench.losses(name),
    }


def _deepspeed_files(folder: Path) -> dict[str, str]:
    """DeepSpeed files by name; in bf16 where there is a GPU."""
    if not torch.cuda.is_available():
        one = folder / "stage1.json"
        one.write_text('{"zero_optimization": {"stage": 1}}', encoding="utf-8")
        return {"stage0": "zero0.json", "stage1": str(one), "stage2": "zero2_cpu.json", "no_overlap": "zero2_cpu.json"}
    # zero0.json is float32: stage 0 in bf16 accumulates in bf16, which does not matter for a comparison of speed.
    plain, sequential = folder / "stage0.json", folder / "no_overlap.json"
    plain.write_text('{"zero_optimization": {"stage": 0}, "bf16": {"enabled": true}}', encoding="utf-8")
    two = json.loads((REPOSITORY / "ds_configs" / "zero2.json").read_text(encoding="utf-8"))
    two["zero_optimization"]["overlap_comm"] = False
    sequential.write_text(json.dumps(two), encoding="utf-8")
    return {"stage0": str(plain), "stage1": "zero1.json", "stage2": "zero2.json", "no_overlap": str(sequential)}


def table(result: dict[str, Any]) -> str:
    """The result as text with a Markdown table."""
    settings, peak = result["settings"], max(result["peak_flops"].values(), default=None)
    lines = [
        result["machine"],
        f"{settings['shape']}, {result['trained']:,} word embeddings trained by ours, about {settings['tokens']} "
        f"tokens a step, {settings['ranks']} rank(s), {settings['rounds']} rounds of {settings['steps']} steps",
        f"peak: {peak / 1e12:,.0f} TFLOP/s, the fastest dense bf16 matrix product measured"
        if peak
        else "peak: - (no GPU)",
        f"MFU = FLOP/s on real tokens / peak; {result['formula']}",
        "",
        "| variant | real tokens/s | reference / it (range) | MFU | peak GiB | GPU idle | padding | a step |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in result["rows"].items():
        if row["status"] != "ok":
            lines.append(f"| {name} | {row['status']} | | | | | | |")
            continue
        ratio = f"{row['against']} / it: {spread(row['ratios'])}" if "ratios" in row else ""
        mfu, idle = ("-" if value is None else f"{value:.1%}" for value in (row["mfu"], row["idle"]))
        lines.append(
            f"| {name} | {row['tokens_per_second']:,.0f} | {ratio} | {mfu} | {row['peak_gib']:.1f} | {idle} | "
            f"{row['padding']:.2f} | {row['tokens_per_step']:,.0f} |"
        )
    lines += ["", *(f"{name}: {VARIANTS[name].description}." for name in result["rows"])]
    lines += ["", "GiB a GPU by mtl/run/memory_estimate.py, ZeRO-2, activations without checkpointing:"]
    for count, parts in result["memory_plan"].items():
        shown = ", ".join(f"{name} {size:.1f}" for name, size in parts.items())
        lines.append(f"{count:>3} GPUs: {sum(parts.values()):.1f} ({shown})")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
