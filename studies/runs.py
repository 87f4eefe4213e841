"""The runs of a study, and what state each is in.

A run is found by its identity: the sha256 of everything that its result depends on (resolved config, prepared data,
seed, weights it starts from). All studies share the pool OUT/studies/runs/IDENTITY. State is what the folder shows:

    config.json, checkpoints/, done, encoder/     of train.py
    study.log                                     what its programs print
    failed.json                                   why the last attempt ended, if it failed
    .study.lock                                   held by the runner that works there, and by the program it has started
    eval-DIGEST/                                  scores.json of `python -m eval` with these options, finished.json
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from common.files import json_sha256
from common.run_config import RunConfig, read_json
from eval.driver import subprocesses
from eval.driver.results import NAME as SCORES
from eval.suites import OFFICIAL, resolve_suite
from studies.study import Export, Variant

State = Literal["missing", "resumable", "running", "failed", "done"]
LOG, FAILED, LOCK, FINISHED = "study.log", "failed.json", ".study.lock", "finished.json"
SUITE, STRATA, ORACLE = "suite", "strata", "oracle"  # steps beside those of `also`


@dataclass(frozen=True)
class Run:
    """One variant with one seed. Runs of the same identity, of this study or another, are one.

    config: resolved, with steps, seed, name and output; identity: "" where its data are not prepared yet, and then
    there are no folders; folder: the run folder of train.py; evaluation: of `python -m eval`, with scores.json;
    measured: false for a run before the variants, which no suite scores.
    """

    variant: Variant
    seed: int
    config: RunConfig
    identity: str = ""
    folder: Path = Path()
    evaluation: Path = Path()
    measured: bool = True

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.variant.name} seed {self.seed}" if self.measured else self.variant.name

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for two that are the same run, evaluated in the same way."""
        return (self.identity, self.evaluation.name) if self.identity else (self.variant.name, str(self.seed))

    @property
    def encoder(self) -> str:
        """The encoder that is evaluated: a folder or a Hub id."""
        return str(self.folder / self.variant.take) if self.variant.trained else str(self.config.encoder)

    @property
    def trained(self) -> bool:
        """Whether there is nothing (left) to train."""
        return not self.variant.trained or (self.folder / "done").is_file()

    @property
    def finished(self) -> list[str]:
        """Steps after the training that are finished."""
        path = self.evaluation / FINISHED
        return list(json.loads(path.read_text("utf-8"))) if path.is_file() else []

    @property
    def steps(self) -> list[str]:
        """Steps after the training that are not finished: of the evaluation, or the strata of a run before."""
        before = [STRATA] if self.config.dynamics else []
        wanted = [SUITE, *self.variant.evaluation.also] if self.measured else before
        if self.measured and self.variant.trained and self.variant.evaluation.oracle:
            wanted.append(ORACLE)
        return [step for step in wanted if step not in self.finished]

    @property
    def exports(self) -> list["Run"]:
        """The run itself, then as each of its other exports is evaluated."""
        names = (take for take in get_args(Export) if take != self.variant.take and (self.folder / take).is_dir())
        others = [replace(self.variant, take=take) for take in names]
        return [self, *(replace(self, variant=v, evaluation=self.folder / evaluation_name(v)) for v in others)]

    @property
    def evaluated(self) -> bool:
        """Whether there are scores."""
        return bool(self.identity) and (self.evaluation / SCORES).is_file()

    @property
    def state(self) -> State:
        """As the folder shows it now."""
        if not self.identity or not self.folder.is_dir():
            return "missing"
        if _busy(self.folder):
            return "running"
        if self.trained and not self.steps:
            return "done"
        if (self.folder / FAILED).is_file():
            return "failed"
        begun = (self.trained and self.variant.trained) or any((self.folder / "checkpoints").glob("step-*"))
        return "resumable" if begun or self.evaluation.is_dir() else "missing"

    @property
    def failure(self) -> str:
        """Why the last attempt failed."""
        path = self.folder / FAILED
        return str(read_json(path)["error"]) if self.identity and path.is_file() else ""

    @property
    def step(self) -> int:
        """The last step that train.py has logged."""
        return subprocesses.last_step(self.folder) if self.identity else 0


def evaluation_name(variant: Variant) -> str:
    """The folder, within that of a run, of the evaluation of a variant."""
    evaluation = variant.evaluation
    # align.json and mlm_loss.json of other languages or texts go into another folder.
    absent = {name for name in ("languages", "texts") if not getattr(evaluation, name)}
    options = evaluation.model_dump(exclude={"also", "oracle"} | absent)
    name, targets = resolve_suite(evaluation.suite)
    options["suite"] = [*sorted(target.name for target in targets), *([name] if name in OFFICIAL else [])]  # languages
    return f"eval-{json_sha256([options, variant.take, *variant.against])[:8]}"


@contextmanager
def locked(folder: Path) -> Iterator[int | None]:
    """Locks a run among the runners of a host: the descriptor of the lock, None if another process holds it.

    A program that inherits the descriptor holds the lock too: where the runner is killed, the run stays locked until
    the program that it had started has ended as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


def _busy(folder: Path) -> bool:
    if not (folder / LOCK).is_file():
        return False
    with locked(folder) as held:
        return held is None
