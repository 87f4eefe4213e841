"""Multi-task training of a multilingual encoder: what `deepspeed` launches.

    deepspeed train.py --config mtl_all.json [--set key.path=value ...] [--dry-run] [--resume auto|never]

Reads top to bottom: parse, build, loop. The config says what is computed; the number of ranks only divides the work.
Everything lands in `runs/NAME/`: metrics.jsonl, TensorBoard events, checkpoints, encoder/, heads/. `python train.py`
runs one process without the launcher.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from data_prep.errors import InputError


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train one encoder on many tasks; see README.md.")
    parser.add_argument("--config", required=True, help="a run config: a path, or a name in configs/")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a field: a.b=value")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument("--resume", choices=("auto", "never"), default="auto", help="auto: go on where the run stopped")
    parser.add_argument("--local_rank", type=int, default=0, help=argparse.SUPPRESS)  # the launcher passes it
    return parser.parse_args()


def main() -> int:
    args = parse()
    first = os.environ.get("RANK", "0") == "0"
    try:
        return dry_run(args, first) if args.dry_run else train(args)
    except InputError as error:
        if first:
            print(f"error: {error}", file=sys.stderr)
        return 2


def dry_run(args: argparse.Namespace, first: bool) -> int:
    from mtl import config, data, dryrun, engine, model
    from mtl.plan import Plan

    run = config.load(args.config, args.set)
    ds = engine.read_deepspeed(run)
    tokenizer = data.tokenizer_of(run)
    plan = Plan(run, data.open_tasks(run, tokenizer, args.config))
    encoder = model.load_config(run.encoder, vocabulary=len(tokenizer))
    if first:
        print(dryrun.report(run, plan, encoder, ds, int(os.environ.get("WORLD_SIZE", "1"))))
    return 0


def train(args: argparse.Namespace) -> int:
    from mtl import attention, checkpoint, config, data, engine, export, loader, record
    from mtl.dev import DevEvaluation, mean_major
    from mtl.metrics import Meter
    from mtl.model import MultiTaskModel, load_config, load_encoder
    from mtl.monitor import Monitor
    from mtl.plan import Plan

    # Build. A mistake found by any rank is everybody's, and is told once.
    rank, ranks, device = engine.connect()
    problem, resumed = None, None
    try:
        run = config.load(args.config, args.set)
        ds = engine.read_deepspeed(run)
        tokenizer = data.tokenizer_of(run)
        tasks = data.open_tasks(run, tokenizer, args.config)
        special = data.special_of(tokenizer)
        plan = Plan(run, tasks)
        source = load_config(run.encoder, vocabulary=len(tokenizer))
        if rank == 0 and args.resume == "never" and run.folder.exists():
            print(f"--resume never: the old run is kept as {set_aside(run.folder)}", file=sys.stderr)
        if rank == 0:
            (run.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            resumed = checkpoint.newest(run.folder / "checkpoints")
            if resumed is not None:
                checkpoint.check_plan(run.folder, resumed[1], plan.parts(), ranks)
        encoder = load_encoder(
            run.encoder, backend=run.attention, vocabulary=len(tokenizer), hidden_dropout=run.hidden_dropout_prob,
            attention_dropout=run.attention_probs_dropout_prob, seed=run.seed,
        )  # fmt: skip
    except InputError as error:
        problem = str(error)
    problem = engine.agree(problem)
    if problem is not None:
        engine.close()
        raise InputError(problem)
    resumed = engine.from_first(resumed)

    label_counts = {task.name: len(task.labels) if task.labels else None for task in tasks}
    kinds = {task.name: task.task.kind for task in tasks}
    names = list(kinds)
    runner = engine.Engine(MultiTaskModel(encoder, kinds, label_counts, run.seed), run, ds, plan.steps)
    weight = runner.model.encoder.get_input_embeddings().weight
    backend = run.attention
    if backend == "auto":
        backend = attention.choose(device, weight.dtype, run.attention_probs_dropout_prob)
    step, best, waited = 0, -1.0, 0
    if resumed is not None:
        name, state, damaged = resumed
        runner.load(run.folder / "checkpoints", name)
        step, best, waited = state["step"], state["best"], state["waited"]
        if rank == 0:
            print(*damaged, f"resuming {run.folder} after step {step}", sep="\n", file=sys.stderr)
    if rank == 0:
        record.write(run.folder / "config.json", run.model_dump(exclude_none=True))
        record.write(run.folder / "run.json", record.describe(plan, ds, ranks, backend))
    dev = DevEvaluation(run, tasks, special, rank, ranks, engine.sum_over_ranks)
    meter = Meter(names, device)
    loss_weights = np.array([task.loss_weight for task in tasks])
    figures: dict[str, dict[str, float]] = {}

    def leave(folder: str) -> None:
        """Exports encoder and heads as they are now: `encoder`/`heads`, or with `_last`."""
        weights = runner.full_weights()
        if rank == 0:
            card = export.model_card(run, tasks, step, figures)
            export.export_encoder(run.folder / f"encoder{folder}", weights, source, tokenizer, card)
            export.export_heads(run.folder / f"heads{folder}", weights, source, tasks)

    # Loop.
    with Monitor(run.folder, rank == 0, json.dumps(run.model_dump(exclude_none=True), indent=1), step, plan.steps) as monitor:
        for now in loader.steps_from(plan, step):
            shares = now.divide(ranks, run.micro_tokens)
            batches = loader.micro_batches(plan, now, shares, rank, special)
            present = {names[t] for t in np.flatnonzero(now.counts)}
            stats, norm, factor = runner.step(now.number, batches, present)
            meter.add(now, stats, shares, run.micro_tokens)
            step = now.number + 1
            last = step == plan.steps
            monitor.advance()
            if step % run.log_every == 0 or last:
                overall, lines = meter.lines(engine.sum_over_ranks, loss_weights)
                overall |= {"lr": run.optimizer.lr * factor, "grad_norm": norm, "memory_gib": runner.peak_memory()}
                monitor.train(step, overall, lines)
            if dev.sets and (step % run.evaluate.every == 0 or last):
                meter.pause()
                scores = dev.run(runner.model, device, lambda: False)
                figures = {score.task: score.figures for score in scores}
                mean = mean_major(scores)
                monitor.dev(step, figures, mean)
                waited = 0 if mean > best else waited + 1
                if mean > best:
                    best = mean
                    leave("")
                meter.resume()
            stop = run.evaluate.patience is not None and waited >= run.evaluate.patience
            if step % run.checkpoint.every == 0 or last or stop:
                state = {"step": step, "best": best, "waited": waited, "ranks": ranks, "plan": plan.parts()}
                meter.pause()
                checkpoint.save(runner, run.folder / "checkpoints", state, run.checkpoint.keep)
                meter.resume()
            if stop:
                monitor.say(f"no better mean dev score in {waited} evaluations: stopping at step {step}")
                break
        leave("_last")
        if rank == 0 and not dev.sets:
            for part in ("encoder", "heads"):
                shutil.copytree(run.folder / f"{part}_last", run.folder / part, dirs_exist_ok=True)
        monitor.say(f"done: {run.folder / 'encoder'}")
    if rank == 0:
        (run.folder / "done").write_text(f"step {step}\n", encoding="utf-8")
    engine.close()
    return 0


def set_aside(folder: Path) -> Path:
    """Renames an old run folder to the first free NAME.N."""
    number = 1
    while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return folder.rename(kept)


if __name__ == "__main__":
    sys.exit(main())
