"""Studies: variants of a run over several seeds, compared (docs/studies.md).

    python -m studies task_count plan                      # what there is to do, hours, disk
    python -m studies task_count run [--jobs 2]            # the same command goes on where it was interrupted
    python -m studies task_count run --only 7              # one of its runs
    python -m studies task_count status|report
    python -m studies task_count slurm                     # writes an array script
    python -m studies difficulty RUN                       # strata of the training examples of a run

NAME is a file of configs/studies/, or a path. Exit codes: 0, 1 if a run failed, 2 for an error in the study file or its
configs, 75 if a signal stopped it, 130 after ctrl-C.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from common.command_line import interrupt_on, positive
from common.errors import InputError

COMMANDS = ("plan", "run", "status", "report", "slurm")


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        if arguments[:1] == ["difficulty"] and arguments[1:2] not in [[command] for command in COMMANDS]:
            from studies import difficulty

            return difficulty.main(arguments[1:])
        return _study(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print("interrupted; what is done stays, the same command goes on", file=sys.stderr)
        number = error.args[0] if error.args else signal.SIGINT
        return 130 if number == signal.SIGINT else 75


def _study(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m studies", description="Variants of a run over seeds, compared.")
    add = parser.add_argument
    add("name", metavar="NAME", help="a study: a path, or a name in configs/studies/")
    add("command", choices=COMMANDS, help="what to do with it")
    add("--out", type=Path, default=Path("runs"), metavar="DIR", help="the folder with studies/ (default: runs)")
    add("--source", action="append", default=[], metavar="DIR", help="of training data: `hub` or a folder; repeat")
    add("--data", action="append", default=[], metavar="DIR", help="of test data: `hub` or a folder; repeat")
    add("--num-gpus", "--num_gpus", type=positive, dest="processes", metavar="N", help="of a run (default: all/jobs)")
    add("--jobs", type=positive, default=1, metavar="N", help="runs at the same time (default: 1)")
    add("--only", type=positive, metavar="K", help="run: number K of the plan alone")
    add("--stop-on-failure", action="store_true", help="run: end after the first run that fails")
    given = parser.parse_args(arguments)

    # Only now: these take seconds to import, and --help needs none of them.
    from studies import estimate, report, slurm
    from studies.resolve import resolve
    from studies.study import read

    study = read(given.name)
    count = len(study.variants) * len(study.file.seeds)
    if given.only is not None and given.only > count:
        raise InputError(f"--only {given.only}: {study.name} has runs 1 to {count}")
    folder = given.out / "studies" / study.name
    if given.command == "plan":
        print(estimate.render(study, resolve(study, given.out), given.out))
        return 0
    if given.command == "status":
        print(estimate.status(resolve(study, given.out)))
        return 0
    if given.command == "report":
        made = resolve(study, given.out)
        if not any(run.identity for run in made.runs):  # a page that is there is kept
            raise InputError(f"{study.name}: its data are not prepared: python -m studies {given.name} run comes first")
        print(*report.write(study, made.runs, folder), sep="\n")
        return 0
    import torch

    gpus = torch.cuda.device_count()
    processes = given.processes or max(1, gpus // given.jobs)
    if given.command == "slurm":
        places = (("--source", given.source), ("--data", given.data))
        more = [part for option, some in places for one in some for part in (option, one)]
        words = [given.name, "run", "--out", str(given.out), "--num-gpus", str(processes), *more]
        on_gpus = gpus > 0 or given.processes is not None
        if not on_gpus:  # as on a login node
            print("no GPU here: the script asks for none; --num-gpus N asks for N a run", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "slurm.sh").write_text(slurm.script(study.name, count, words, folder, processes, on_gpus), "utf-8")
        print(f"sbatch {folder / 'slurm.sh'}")
        return 0
    if gpus and processes * given.jobs > gpus:
        raise InputError(f"--jobs {given.jobs} with --num-gpus {processes} each: this machine has {gpus} GPUs")
    from studies.runner import Options, Runner

    options = Options(given.out, given.source, given.data, processes, given.jobs, given.only, given.stop_on_failure)
    code = Runner(study, options).run()
    made = resolve(study, given.out)
    print(estimate.status(made))
    if given.only is None and any(run.identity for run in made.runs):
        print(*report.write(study, made.runs, folder), sep="\n")
    return code


if __name__ == "__main__":
    interrupt_on(signal.SIGTERM, signal.SIGUSR1)
    raise SystemExit(main())
