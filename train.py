"""Multi-task training of a multilingual encoder: what `deepspeed` launches.

    deepspeed train.py --config mtl_all.json [--set key.path=value ...] [--dry-run] [--resume auto|never]
                       [--accept-changes] [--time-limit HH:MM:SS]

Reads top to bottom: parse, build, loop. The config says what is computed; the number of ranks only divides the work.
Everything lands in `runs/NAME/`: metrics.jsonl, TensorBoard events, checkpoints, encoder/, heads/. `python train.py`
runs one process without the launcher.

Exit codes of a rank: 0 done, 2 a mistake of the user's, 75 stopped by a signal, the launcher's end or the time limit
(saved: the same command goes on), 1 anything else. Launchers change them; success is the file `done` in the run folder.
"""

import argparse
import json
import os
import sys
import warnings
from typing import TYPE_CHECKING

# Deprecations inside torch and deepspeed, which a user can do nothing about, printed once per rank.
warnings.filterwarnings("ignore", category=FutureWarning)

# What its store prints when a rank is gone; mtl/distributed/watchdog.py says it in a sentence.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

import numpy as np  # noqa: E402

from common.errors import InputError  # noqa: E402
from mtl.distributed import launchers  # noqa: E402

if TYPE_CHECKING:
    from mtl.distributed.shutdown import Stop
    from mtl.distributed.watchdog import Watch


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
    first = launchers.first()
    try:
        os.environ.update(launchers.variables())
        if args.dry_run:
            return dry_run(args, first)
        from mtl.distributed.shutdown import Stop, seconds_of

        stop = Stop(seconds_of(args.time_limit) if args.time_limit else None)
    except InputError as error:
        if first:
            print(f"error: {error}", file=sys.stderr)
        return 2

    from mtl.distributed import collectives, engine
    from mtl.distributed.watchdog import Watch

    rank, world, _ = engine.connect()
    stop.listen()
    watch = Watch(rank, world, stop)
    try:
        code = train(args, rank, world, stop, watch)
    except BaseException as error:
        watch.failed(error)  # comes back only if all ranks know of it
        if rank == 0:
            print(f"error: {error}", file=sys.stderr)
        code = 2
    watch.finish()
    collectives.close()
    return code


def dry_run(args: argparse.Namespace, first: bool) -> int:
    from mtl.run import dry_run as dryrun
    from mtl.run import setup

    made = setup.read(args.config, args.set)
    if first:
        print(dryrun.report(made, int(os.environ.get("WORLD_SIZE", "1"))))
    return 0


def train(args: argparse.Namespace, rank: int, world: int, stop: "Stop", watch: "Watch") -> int:
    from common import files
    from mtl.data import loader
    from mtl.distributed import collectives, engine
    from mtl.distributed.shutdown import REASONS, STOPPED
    from mtl.run import checkpoint, memory_estimate, provenance, run_folder, setup
    from mtl.run.run_lock import Lock
    from mtl.run.run_log import Monitor
    from mtl.run.trainer import Keeper

    # Build. A mistake that any rank finds is told once and ends all of them.
    problem = opened = None
    try:
        made = setup.read(args.config, args.set)
        if os.environ.get("LOCAL_RANK", "0") == "0":
            made.verify()
        model = made.model(exports=rank == 0)
    except InputError as error:
        problem = str(error)
    collectives.agree(problem)
    collectives.agree_on(made.common())
    run, plan, identity = made.run, made.plan, made.identity()
    watch.silence = run.silence
    try:
        if rank == 0:
            resume, accept = args.resume == "auto", args.accept_changes
            opened = run_folder.open_run(run.folder, watch.me, identity, world, resume=resume, accept=accept)
    except InputError as error:
        problem = str(error)
    collectives.agree(problem)
    opened = collectives.from_first(opened)
    assert opened is not None
    lock = Lock(run.folder, opened.token)
    lock.join(watch.me, lambda sentence: watch.tell(sentence, 1))

    runner = engine.Engine(model, run, made.ds, plan.steps)
    state = checkpoint.State(world, identity)
    if opened.resumed is not None:
        state = opened.resumed.state
        runner.load(run.folder / checkpoint.FOLDER, opened.resumed.name, state.ranks)
        state.ranks, state.identity = world, identity
        state.be_patient(run.evaluate.patience)
    if rank == 0:
        files.write_json(run.folder / "config.json", run.model_dump())
        files.write_json(run.folder / "run.json", provenance.describe(made, world, runner.backend))

    # Loop.
    stopping = 0
    with Monitor(run.folder, rank == 0, json.dumps(run.model_dump(), indent=1), state.step, plan.steps) as monitor:
        # A resumed run has its heads from the checkpoint, wherever they started.
        for note in (*opened.notes, *(model.notes if opened.resumed is None else ())):
            monitor.say(note)
        if state.stopped:
            monitor.say(f"stopped early at step {state.step}; a larger evaluate.patience goes on")
        keeper = Keeper(made, runner, state, monitor, watch, lambda: stop.code > 0)
        pin = runner.device.type == "cuda"
        ahead = loader.Ahead(plan, first=state.step, rank=rank, world=world, special=made.special, pin=pin)
        vote = collectives.Vote()
        with ahead as works:
            for work in works:
                if state.stopped:
                    break
                stopping, broken = vote.result([stop.code, int(work.problem is not None)])
                if stopping or broken:
                    keeper.save()
                    collectives.agree(work.problem)
                    break
                vote.cast([stop.code, int(works.broken())])
                now = work.step
                present = {made.names[t] for t in np.flatnonzero(now.counts)}
                try:
                    stats, norm, factor = runner.step(now.number, work.batches, present, work.keys)
                except (RuntimeError, MemoryError) as error:
                    if not memory_estimate.ran_out(error):
                        raise
                    heaviest = max(batch.tokens for batch in work.batches)
                    advice = memory_estimate.advice(made, world, heaviest, memory_estimate.available())
                    raise InputError(f"step {now.number + 1}: {advice}") from None
                keeper.keep(now, work.shares, stats, norm, factor)
                if keeper.due(run.evaluate.every) or keeper.due(run.checkpoint.every):
                    vote.renew()
        if keeper.given_up and not stopping:  # in the last evaluation, after which no step looks
            (stopping,) = collectives.largest([stop.code])
            keeper.save()
        if stopping:
            monitor.say(f"stopped by {REASONS[stopping]} after step {state.step}; to go on: {stop.command}")
        else:
            keeper.export("_last")
            if rank == 0:
                (run.folder / "done").write_text(f"step {state.step}\n", encoding="utf-8")
            monitor.say(f"done: {run.folder / 'encoder'}")
    lock.release()
    return STOPPED if stopping else 0


if __name__ == "__main__":
    sys.exit(main())
