"""The demo over several seeds as a table: the effect of intermediate training on a tiny encoder in the toy world.

    python -m bench.toyworld --seeds 1 2 3

Runs the demo once a seed (world, weights and data order all follow the seed), then phase 3: target training from the
encoder before phase 2 and from the one after it, with the same settings. Prints mean and spread (lowest to highest) of
every task's held-out score next to its majority baseline, and of every zero-shot target after two and three phases.
`--keep` only reads finished runs.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.launch import REPOSITORY


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.toyworld", description="The demo over several seeds.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--keep", action="store_true", help="only read finished runs")
    options = parser.parse_args(arguments)
    names = [f"demo_seed{seed}" for seed in options.seeds]
    if not options.keep:
        for seed, name in zip(options.seeds, names, strict=True):
            environment = {**os.environ, "SEED": str(seed), "NAME": name}
            subprocess.run(["bash", "examples/toyworld/demo.sh"], cwd=REPOSITORY, env=environment, check=True)
            for run in (f"{name}_mlm", name):
                subprocess.run([sys.executable, "-m", "eval", *_third_phase(run)], cwd=REPOSITORY, check=True)
    print(table([REPOSITORY / "runs" / name for name in names]))


def _third_phase(run: str) -> list[str]:
    processes = str(min(2, torch.cuda.device_count()) or 2)
    paths = ["--encoder", f"runs/{run}/encoder", "--data", "data/toyworld", "--out", f"runs/{run}/eval_targets"]
    return [*paths, "--suite", "toy", "--num-gpus", processes]


def table(runs: list[Path]) -> str:
    """Markdown: the tasks, then the zero-shot targets."""
    dev = [_last_dev(run / "metrics.jsonl") for run in runs]
    lines = [f"Seeds: {len(runs)}. Mean (lowest to highest).", ""]
    lines += ["| held-out English | score | majority |", "|---|---|---|"]
    for task in dev[0]:
        scores = [100 * metrics[task]["score"] for metrics in dev]
        majority = [100 * metrics[task]["majority"] for metrics in dev]
        lines.append(f"| {task} | {_spread(scores)} | {_spread(majority)} |")
    after = [_targets(run / "eval" / "scores.json") for run in runs]
    before = [_targets(run.with_name(f"{run.name}_mlm") / "eval" / "scores.json") for run in runs]
    lines += ["", "| zero-shot, mean over the other languages | chance | before phase 2 | after |", "|---|---|---|---|"]
    for target in after[0]:
        lines.append(_row(target, target, before, after))
    trained = [
        [_targets(run.with_name(f"{run.name}{suffix}") / "eval_targets" / "scores.json") for run in runs]
        for suffix in ("_mlm", "")
    ]
    for target in ("toy_xnli", "toy_xquad"):
        lines.append(_row(f"{target}, then trained on the target's English data", target, *trained))
    back = [_spread([s["toy_tatoeba"]["scores"]["xx->en"] for s in part]) for part in (before, after)]
    lines.append(f"| toy_tatoeba, the other way (xx->en) | - | {back[0]} | {back[1]} |")
    languages = sorted({language for scores in after for language in scores["toy_tatoeba"]["languages"]})
    lines += ["", "| retrieval by language | before | after |", "|---|---|---|"]
    for language in languages:
        pair = [_spread([s["toy_tatoeba"]["languages"][language] for s in part]) for part in (before, after)]
        lines.append(f"| {language} | {pair[0]} | {pair[1]} |")
    return "\n".join(lines)


def _row(title: str, target: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> str:
    chance = after[0][target].get("chance")
    shown = "-" if chance is None else f"{chance:.1f}"
    old = _spread([_zero_shot(s[target]) for s in before]) if all(target in s for s in before) else "-"
    return f"| {title} | {shown} | {old} | {_spread([_zero_shot(s[target]) for s in after])} |"


def _last_dev(path: Path) -> dict[str, dict[str, float]]:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    dev = [record for record in records if record["kind"] == "dev" and record["task"] != "all"]
    last = max(record["step"] for record in dev)
    return {record["task"]: record for record in dev if record["step"] == last}


def _targets(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))["targets"]


def _zero_shot(target: dict[str, Any]) -> float:
    scores = [score for language, score in target["languages"].items() if language != "en"]
    return sum(scores) / len(scores)


def _spread(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
