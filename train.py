"""Multi-task training of a multilingual encoder: what `deepspeed` launches.

    deepspeed train.py --config mtl_all.json [--set key.path=value ...] [--dry-run] [--resume auto|never]
                       [--accept-changes] [--time-limit HH:MM:SS]

Reads top to bottom: parse, build, loop. The config determines what is computed; the number of ranks only divides the
work. All output goes to `runs/NAME/`: metrics.jsonl, TensorBoard events, checkpoints, encoder/, heads/.
`python train.py` runs one process without the launcher.

Exit codes of a rank: 0 done, 2 a user error, 75 stopped by a signal, the launcher's end or the time limit (saved: the
same command resumes), 1 anything else. Launchers change them; success is the file `done` in the run folder.
"""

import argparse
import json
import os
import sys
import warnings
from typing import Any

# Deprecations inside torch and deepspeed, which a user can do nothing about, printed once per rank.
warnings.filterwarnings("ignore", category=FutureWarning)

# Traces of torch's store when a rank is gone; mtl/distributed/watchdog.py reports that in one line.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

import numpy as np  # noqa: E402

from common.errors import InputError  # noqa: E402
from mtl.distributed import launchers  # noqa: E402


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train one encoder on many tasks; see README.md.")
    parser.add_argument("--config", required=True, help="a run config: a path, or a name in configs/")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a field: a.b=value")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    parser.add_argument("--resume", choices=("auto", "never"), default="auto", help="auto: go on where the run stopped")
    parser.add_argument("--accept-changes", action="store_true", help="go on with a changed config or changed data")
    parser.add_argument("--time-limit", metavar="HH:MM:SS", help="save and stop after so long (as Slurm writes it)")
    parser.add_argument("--local_rank", type=int, default=0, help=argparse.SUPPRESS)  # the launcher passes it
    return parser.parse_args()


def main() -> int:
    args = parse()
    is_first = launchers.first()
    try:
        os.environ.update(launchers.variables())
        if args.dry_run:
            from mtl.run.dry_run import report
            from mtl.run.setup import read

            setup = read(args.config, args.set)
            if is_first:
                print(report(setup, int(os.environ.get("WORLD_SIZE", "1"))))
            return 0
        from mtl.distributed.shutdown import Stop, seconds_of

        stop = Stop(seconds_of(args.time_limit) if args.time_limit else None)
    except InputError as error:
        if is_first:
            print(f"error: {error}", file=sys.stderr)
        return 2

    from mtl.distributed import collectives, engine
    from mtl.distributed.watchdog import Watchdog

    rank, world, _ = engine.connect()
    stop.listen()
    watchdog = Watchdog(rank, world, stop)
    try:
        code = train(args, rank, world, watchdog)
    except BaseException as error:
        watchdog.failed(error)  # returns only if all ranks raised it
        if rank == 0:
            print(f"error: {error}", file=sys.stderr)
        code = 2
    watchdog.finish()
    collectives.close()
    return code


def train(args: argparse.Namespace, rank: int, world: int, watchdog: Any) -> int:
    from common import files
    from mtl.data.loader import PrefetchLoader
    from mtl.distributed import collectives
    from mtl.distributed.engine import Engine
    from mtl.distributed.shutdown import REASONS, STOPPED
    from mtl.run import checkpoint, memory_estimate, provenance
    from mtl.run.run_lock import RunLock, open_run
    from mtl.run.run_log import RunLog
    from mtl.run.setup import read
    from mtl.run.trainer import Trainer

    # Build. A user error on any rank is printed once and ends all of them.
    opened: Any = None
    with collectives.errors_on_all():
        setup = read(args.config, args.set)
        if os.environ.get("LOCAL_RANK", "0") == "0":
            for prepared in [prepared for task in setup.tasks for prepared in task.prepared]:
                prepared.confirm()
        model = setup.model(exports=rank == 0)
    collectives.check_equal(setup.rank_identity())
    run, plan, identity, stop = setup.run, setup.plan, setup.identity(), watchdog.stop
    watchdog.silence = run.silence
    with collectives.errors_on_all():
        if rank == 0:
            resume, accept = args.resume == "auto", args.accept_changes
            opened = open_run(run.folder, watchdog.me, identity, world, resume=resume, accept=accept)
    token, resumed, notes = collectives.from_rank0(opened)
    lock = RunLock(run.folder, token, watchdog.me)
    lock.join(lambda error: watchdog.report(error, 1))

    engine = Engine(model, run, setup.ds, plan.steps)
    state = checkpoint.State(world, identity)
    if resumed is not None:
        state = resumed
        engine.load(run.folder / checkpoint.FOLDER, checkpoint.name_of(state.step), state.ranks)
        state.ranks, state.identity = world, identity
        state.check_patience(run.evaluate.patience)
    if rank == 0:
        files.write_json(run.folder / "config.json", run.model_dump())
        files.write_json(run.folder / "run.json", provenance.describe(setup, world, engine.backend))

    # Loop.
    stop_code = 0
    with RunLog(run.folder, rank == 0, json.dumps(run.model_dump(), indent=1), state, plan.steps) as log:
        # A resumed run has its heads from the checkpoint, whatever their initial weights were.
        for note in (*notes, *(model.notes if resumed is None else ())):
            log.print(note)
        if state.stopped:
            log.print(f"stopped early at step {state.step}; a larger evaluate.patience goes on")
        trainer = Trainer(setup, engine, state, log, watchdog)
        pin = engine.device.type == "cuda"
        vote = collectives.Vote()
        with PrefetchLoader(plan, first=state.step, rank=rank, world=world, special=setup.special, pin=pin) as loader:
            for item in loader:
                if state.stopped:
                    break
                stop_code, bad_data = vote.result([stop.code, int(item.error is not None)])
                if stop_code or bad_data:
                    trainer.save()
                    collectives.raise_on_all(item.error)
                    break
                vote.cast([stop.code, int(loader.next_has_error())])
                active = {setup.names[t] for t in np.flatnonzero(item.step.counts)}
                try:
                    stats, norm, lr_factor = engine.step(item.step.number, item.batches, active, item.keys)
                except (RuntimeError, MemoryError) as error:
                    if not memory_estimate.ran_out(error):
                        raise
                    largest = max(batch.tokens for batch in item.batches)
                    advice = memory_estimate.advice(setup, world, largest, memory_estimate.available())
                    raise InputError(f"step {item.step.number + 1}: {advice}") from None
                trainer.after_step(item.step, item.assignment, stats, norm, lr_factor)
                if trainer.due(run.evaluate.every) or trainer.due(run.checkpoint.every):
                    vote.renew()
        if trainer.evaluation_interrupted and not stop_code:  # the last evaluation, after which no step votes
            (stop_code,) = collectives.largest([stop.code])
            trainer.save()
        if stop_code:
            log.print(f"stopped by {REASONS[stop_code]} after step {state.step}; to go on: {stop.command}")
        else:
            trainer.export("_last")
            trainer.export_mean()
            trainer.write_dynamics()
            if rank == 0:
                (run.folder / "done").write_text(f"step {state.step}\n", encoding="utf-8")
            log.print(f"done: {run.folder / 'encoder'}")
    lock.release()
    return STOPPED if stop_code else 0


if __name__ == "__main__":
    sys.exit(main())
