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
from data_prep.datasets import TEST_SETS
from data_prep.sources.folders import Folder
from data_prep.sources.locate import languages_in
from eval.driver import subprocesses
from eval.driver.subprocesses import ProgramFailed, Watch
from eval.inference.encoder import EvaluatedEncoder
from eval.perturb.kinds import parse
from eval.suites import TARGETS, groups, parse_data
from mtl.distributed.watchdog import Member
from mtl.run import checkpoint
from mtl.run.run_lock import RunLock
from studies.runs import FINISHED, LOG, ORACLE, STRATA, SUITE, Run
from studies.study import PERTURB, STEPS, Evaluation, Study


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
    """Trains the run to its end, or goes on with it; waits while others work there.

    They are ranks of an earlier attempt, which save before they end, or those of another host, where file locks do not
    reach.
    """
    path = run.folder / "run_config.json"
    files.write_json(path, run.config.model_dump(mode="json"))
    while _others_work(run.folder):
        watch()
        time.sleep(0.5)
    if not run.trained:
        try:
            subprocesses.deepspeed(
                place.processes, ["--config", str(path)], run.folder / LOG, watch, "training",
                environment=place.environment, inherited=place.inherited,
            )  # fmt: skip
        except ProgramFailed:
            if not run.trained and not _others_work(run.folder):
                raise
            train(run, place, watch)  # another host was faster
    if not run.trained:
        raise InputError(f"training ended before its last step (log: {run.folder / LOG})")


def _others_work(folder: Path) -> bool:
    try:
        RunLock.take(folder, Member.here(0))[0].release_all()
    except InputError:
        return True
    return False


def evaluate(study: Study, run: Run, place: Place, watch: Watch) -> None:
    """The steps after the training that are not finished. `InputError` if a primary target could not be run."""
    run.evaluation.mkdir(exist_ok=True)
    # Nothing resumes from them. Here, because a training may end after its runner was killed.
    shutil.rmtree(run.folder / checkpoint.FOLDER, ignore_errors=True)
    # Scored by one call, so that the clean vectors are there.
    asked = run.variant.evaluation
    suite = [SUITE, *(step for step in asked.also if step not in STEPS)]
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
            command = _beside(step, run, place) if step in STEPS else _suite(run, place)
            place.start(command, run, what, watch)
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
    command += ["--against", ",".join(run.variant.against)] if run.variant.against else []
    for option in ("examples", "layer", "query_prefix", "passage_prefix", "perturb"):
        value = getattr(asked, option)
        command += [] if value in (None, "") else [f"--{option.replace('_', '-')}={value}"]
    sets = [*asked.set, f"seed={run.seed}"] if asked.trains else asked.set
    for option, values in (("data", place.data), ("source", place.source), ("set", sets)):
        command += [argument for value in values for argument in (f"--{option}", value)]
    return command


def _beside(step: str, run: Run, place: Place) -> list[str]:
    asked = run.variant.evaluation
    command = ["eval", step.replace("_", "-"), "--encoder", run.encoder, "--out", str(run.evaluation)]
    command += [argument for one in data_of(step, asked, place.data) for argument in ("--data", one)]
    command += ["--languages", *asked.languages] if asked.languages else []
    if step == "mlm_loss":
        command += [f"--text={code}={file}" for code, file in asked.texts.items()]
        start = run.config.encoder if run.variant.trained else None
        if isinstance(start, str) and not any(task.kind == "mlm" for task in run_tasks.resolve(run.config)):
            command += ["--head", start]  # any other run or encoder has its own
    return command


def data_of(step: str, asked: Evaluation, data: Sequence[str]) -> list[str]:
    """Where `align` or `mlm_loss` reads; `data`: as `--data` of the suite. `InputError` if it is in none of them."""
    sources = [parse_data(text) for text in data]
    if step == "mlm_loss":
        found = [source.place for source in sources if not source.target]
        needed, what = not asked.texts.keys() >= set(asked.languages), "folder with Wikipedia, or `hub`,"
    else:
        places, pairs = groups(sources, TARGETS["tatoeba"], ())[-1][1], TEST_SETS["tatoeba"]
        found = [one for one in places if one == "hub" or languages_in(pairs, Folder.open(Path(one), "--data"))][:1]
        needed, what = True, f"Tatoeba ({pairs.layout})"
    if needed and not found:
        raise InputError(f"{step}: no {what} in any --data ({', '.join(data)})")
    return found


def _check(study: Study, run: Run) -> None:
    scores = read_json(run.evaluation / "scores.json")
    for name in study.primaries:
        target, _, metric = name.partition(":")
        if target not in scores["targets"] and study.scored(run.variant, name):
            raise InputError(f"primary target {target}: {scores['not_run'].get(target, 'no scores')}")
        details = scores["targets"].get(target, {}).get("details", {}).values()
        if metric and not all(metric in one for one in details):
            known = ", ".join(set.intersection(*map(set, details)))
            raise InputError(f"primary {name}: not among what all languages are scored by ({known})")
