"""Multi-task training of a multilingual encoder: what `deepspeed` launches.

    deepspeed train.py --config mtl_all.json [--set key.path=value ...] [--dry-run] [--resume auto|never]

Reads top to bottom: parse, build, loop. The config says what is computed; the number of ranks only divides the work.
Everything lands in `runs/NAME/`: metrics.jsonl, TensorBoard events, checkpoints, encoder/, heads/. `python train.py`
runs one process without the launcher.
"""

import argparse
import json
import os
import sys
import warnings

# Deprecations inside torch and deepspeed, which a user can do nothing about, printed once per rank.
warnings.filterwarnings("ignore", category=FutureWarning)

import numpy as np  # noqa: E402

from data_prep.errors import InputError  # noqa: E402


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
    from mtl import dryrun, setup

    made = setup.read(args.config, args.set)
    if first:
        print(dryrun.report(made, int(os.environ.get("WORLD_SIZE", "1"))))
    return 0


def train(args: argparse.Namespace) -> int:
    from mtl import checkpoint, engine, export, loader, record, setup
    from mtl.dev import DevEvaluation, mean_major
    from mtl.metrics import Meter
    from mtl.monitor import Monitor

    # Build. A mistake that any rank finds is told once and ends all of them.
    rank, ranks, device = engine.connect()
    problem = resumed = None
    try:
        made = setup.read(args.config, args.set)
        model = made.model()
    except InputError as error:
        problem = str(error)
    engine.agree(problem)
    run, plan, identity = made.run, made.plan, made.identity()
    try:
        if rank == 0:
            resumed = checkpoint.open_run(run.folder, args.resume == "auto", identity, ranks)
    except InputError as error:
        problem = str(error)
    engine.agree(problem)
    resumed = engine.from_first(resumed)

    runner = engine.Engine(model, run, made.ds, plan.steps)
    state = checkpoint.State(ranks=ranks, identity=identity)
    if resumed is not None:
        runner.load(run.folder / checkpoint.FOLDER, resumed.name)
        state = resumed.state
        state.be_patient(run.evaluate.patience)
    if rank == 0:
        record.write(run.folder / "config.json", run.model_dump())
        record.write(run.folder / "run.json", record.describe(made, ranks, runner.backend))
    dev = DevEvaluation(run, made.tasks, made.special, rank, ranks, engine.sum_over_ranks)
    meter = Meter(made.tasks, device)
    config_text = json.dumps(run.model_dump(), indent=1)

    # Loop.
    with Monitor(run.folder, rank == 0, config_text, state.step, plan.steps) as monitor:
        for note in resumed.notes if resumed else []:
            monitor.say(note)
        if state.stopped:
            monitor.say(f"stopped early at step {state.step}; a larger evaluate.patience goes on")
        for now in loader.steps_from(plan, state.step):
            if state.stopped:
                break
            shares = now.divide(ranks, run.micro_tokens)
            batches = loader.micro_batches(plan, now, shares, rank, made.special)
            present = {made.names[t] for t in np.flatnonzero(now.counts)}
            stats, norm, factor = runner.step(now.number, batches, present)
            meter.add(now, stats, shares, run.micro_tokens)
            state.step = now.number + 1
            last = state.step == plan.steps
            monitor.advance()
            if state.step % run.log_every == 0 or last:
                overall, lines = meter.lines(engine.sum_over_ranks)
                overall |= {"lr": run.optimizer.lr * factor, "grad_norm": norm, "memory_gib": runner.peak_memory()}
                monitor.train(state.step, overall, lines)
            meter.pause()
            if state.step % run.evaluate.every == 0 or last:
                scores = dev.run(runner.model, device)
                state.dev = {score.task: score.figures for score in scores}
                monitor.dev(state.step, state.dev, mean_major(scores))
                if state.judge(mean_major(scores), run.evaluate.patience):
                    export.export_run(made, runner.full_weights(), state, "", rank == 0)
                if state.stopped:
                    monitor.say(f"no better mean dev score in {state.waited} evaluations: stopping")
            if state.step % run.checkpoint.every == 0 or last or state.stopped:
                monitor.flush()
                checkpoint.save(runner, run.folder, state, run.checkpoint.keep)
            meter.resume()
        export.export_run(made, runner.full_weights(), state, "_last", rank == 0)
        monitor.say(f"done: {run.folder / 'encoder'}")
    if rank == 0:
        (run.folder / "done").write_text(f"step {state.step}\n", encoding="utf-8")
    engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
