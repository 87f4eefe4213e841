"""What is done for one run: training, then the steps of its evaluation, each by the program that a user would start."""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common import files
from common.errors import InputError
from common.run_config import RunConfig, read_json
from data_prep import run_tasks
from eval.driver import subprocesses
from eval.driver.subprocesses import Watch
from eval.inference.encoder import EvaluatedEncoder
from eval.perturb.kinds import parse
from eval.suites import TARGETS
from mtl.distributed.watchdog import Member
from mtl.run import checkpoint
from mtl.run.run_lock import RunLock
from studies.runs import FINISHED, LOG, ORACLE, STRATA, SUITE, Run
from studies.study import PERTURB, STEPS, Study


@dataclass(frozen=True)
class Place:
    """Where and with what programs run. source: of training data; data: of tests; environment: of the programs.

    processes: GPUs (or CPU processes) of a run; inherited: descriptors that stay open in the programs.
    """

    source: list[str]
    data: list[str]
    processes: int
    environment: dict[str, str] = field(default_factory=dict)
    inherited: tuple[int, ...] = ()

    def start(self, command: list[str], run: Run, what: str, watch: Watch) -> None:
        """Runs `python -m COMMAND`; its output goes to the log of the run."""
        program = [sys.executable, "-m", *command]
        subprocesses.run(program, run.folder / LOG, what, watch, self.environment, self.inherited)


def prepare(config: RunConfig, path: Path, place: Place, against: Sequence[str] = ()) -> None:
    """Prepares the training data of a config, which is written to `path`, and downloads its encoder.

    against: targets whose test rows are left out.
    """
    files.write_json(path, config.model_dump(mode="json"))
    if isinstance(config.encoder, str) and not Path(config.encoder).is_dir():
        EvaluatedEncoder(config.encoder).folder  # noqa: B018 (downloads it)
    more = [argument for one in place.source for argument in ("--source", one)]
    more += ["--against", ",".join(against)] if against else []
    subprocesses.data_prep(["--config", str(path), *more], path.with_suffix(".log"))


def train(run: Run, place: Place, watch: Watch) -> None:
    """Trains the run to its end, or goes on with it."""
    path = run.folder / "run_config.json"
    files.write_json(path, run.config.model_dump(mode="json"))
    _wait_for_ranks(run.folder, watch)
    subprocesses.deepspeed(
        place.processes, ["--config", str(path)], run.folder / LOG, watch, "training",
        environment=place.environment, inherited=place.inherited,
    )  # fmt: skip
    if not run.trained:
        raise InputError(f"training ended before its last step (log: {run.folder / LOG})")


def _wait_for_ranks(folder: Path, watch: Watch) -> None:
    """Returns once no rank of an earlier attempt works in the folder: they save before they end."""
    while True:
        try:
            lock, _ = RunLock.take(folder, Member.here(0))
        except InputError:
            watch()
            time.sleep(0.5)
        else:
            lock.release_all()
            return


def evaluate(study: Study, run: Run, place: Place, watch: Watch) -> None:
    """The steps after the training that are not finished. `InputError` if a primary target could not be run."""
    run.evaluation.mkdir(exist_ok=True)
    # Nothing resumes from them. Here, because a training may end after its runner was killed.
    shutil.rmtree(run.folder / checkpoint.FOLDER, ignore_errors=True)
    # Scored by one call, so that the clean vectors are there.
    suite = [SUITE, *(step for step in run.variant.evaluation.also if step not in STEPS)]
    for step in run.steps:
        if step in run.finished:
            continue
        what = f"evaluation ({step})"
        if step == ORACLE:
            for export in run.exports:
                if SUITE not in export.finished:
                    place.start(_suite(export, place), run, what, watch)
                    _check(study, export)
                    files.write_json(export.evaluation / FINISHED, [*export.finished, SUITE])
                place.start([*_suite(export, place), "--dev"], run, what, watch)
        elif step == STRATA:
            place.start(["studies", "difficulty", str(run.folder)], run, what, watch)
        else:
            place.start(_beside(step, run, place) if step in STEPS else _suite(run, place), run, what, watch)
        if step in suite:
            _check(study, run)
        done = [*_valid(run), *suite] if step in suite else [*run.finished, step]
        files.write_json(run.evaluation / FINISHED, list(dict.fromkeys(done)))


def _valid(run: Run) -> list[str]:
    """Finished steps whose scores are still there: new data, say, replace those with the noise of another study."""
    targets = read_json(run.evaluation / "scores.json")["targets"].values()
    there = {noise for target in targets for noise in target.get("perturbed", {})}
    noises = {step: map(str, parse(step.removeprefix(PERTURB))) for step in run.finished if step.startswith(PERTURB)}
    return [step for step in run.finished if there.issuperset(noises.get(step, ()))]


def _suite(run: Run, place: Place) -> list[str]:
    asked = run.variant.evaluation
    command = ["eval", "--encoder", run.encoder, "--out", str(run.evaluation), "--suite", asked.suite]
    command += ["--pooling", asked.pooling, "--prepared", run.config.data, "--num-gpus", str(place.processes)]
    command += [f"--{option}" for option in ("direct", "centre") if getattr(asked, option)]
    for option in ("examples", "layer", "query_prefix", "passage_prefix", "perturb"):
        value = getattr(asked, option)
        command += [] if value in (None, "") else [f"--{option.replace('_', '-')}={value}"]
    sets = asked.set if asked.direct or not asked.trains else [*asked.set, f"seed={run.seed}"]
    for option, values in (("data", place.data), ("source", place.source), ("set", sets)):
        command += [argument for value in values for argument in (f"--{option}", value)]
    return command


def _beside(step: str, run: Run, place: Place) -> list[str]:
    asked = run.variant.evaluation
    command = ["eval", step.replace("_", "-"), "--encoder", run.encoder, "--out", str(run.evaluation)]
    command += ["--data", place.data[0]]
    command += ["--languages", *asked.languages] if asked.languages else []
    if step == "mlm_loss":
        command += [f"--text={code}={file}" for code, file in asked.texts.items()]
        start = run.config.encoder if run.variant.trained else None
        if isinstance(start, str) and not any(task.kind == "mlm" for task in run_tasks.resolve(run.config)):
            command += ["--head", start]  # any other run or encoder has its own
    return command


def _check(study: Study, run: Run) -> None:
    scores = read_json(run.evaluation / "scores.json")
    headless = run.variant.evaluation.direct and not run.variant.trained  # it has no intermediate head to predict by
    for name in study.primaries:
        target, _, metric = name.partition(":")
        predicted = TARGETS[target].training and not TARGETS[target].retrieval
        if target not in scores["targets"] and not (headless and predicted):
            raise InputError(f"primary target {target}: {scores['not_run'].get(target, 'no scores')}")
        details = scores["targets"].get(target, {}).get("details", {}).values()
        if metric and not all(metric in one for one in details):
            known = ", ".join(set.intersection(*map(set, details)))
            raise InputError(f"primary {name}: not among what all languages are scored by ({known})")
