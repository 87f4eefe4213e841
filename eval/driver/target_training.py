"""Target training: `deepspeed train.py` on the English data of a target, from the encoder under evaluation.

A chain of configs of `configs/targets/` (Social IQa, then COPA), each starting from encoder and head of the previous
one. Finished runs are reused and interrupted ones resumed; a run with other settings, another encoder or other data is
renamed and run again. `target.json` in the run folder records what was requested. Checkpoints of finished runs are
removed: they are several times the size of the encoder, and nothing resumes from them.

Changed training data are noticed when a run starts or resumes, not when it is finished: the data may be gone by then.
"""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from common import files
from common import run_config as configs
from common.errors import InputError
from data_prep.datasets import DATASETS
from data_prep.run_tasks import load
from data_prep.sources.folders import Folder
from data_prep.sources.locate import locate_training
from eval.driver import subprocesses
from eval.inference.artifacts import Options
from eval.inference.encoder import EvaluatedEncoder
from mtl.data.plan import Plan
from mtl.distributed.watchdog import Member
from mtl.run import checkpoint, setup
from mtl.run.run_lock import RunLock

REQUEST = "target.json"  # in the run folder: the request it belongs to
_CPU = () if subprocesses.GPU else ("deepspeed=zero2_cpu.json",)
_FIXED = ("name", "output", "data", "encoder")  # fields of the config of a run that are set here
_IRRELEVANT = (*_FIXED, "notes", "log_every", "silence")  # fields that do not change the result


@dataclass(frozen=True)
class Stage:
    """One run of a chain. `folder`: its run folder; `encoder`, `head`: initial weights (head None: random).

    first: the encoder under evaluation, whose tokenizer all runs of the chain use. fingerprint: of the initial weights:
    that encoder, or everything that the previous run depends on.
    """

    name: str
    folder: Path
    encoder: Path
    head: tuple[str, str] | None  # (task here, FOLDER:TASK)
    options: Options
    first: Path
    fingerprint: str

    @property
    def config(self) -> str:
        return f"targets/{self.name}"

    def arguments(self) -> list[str]:
        """`--set` of this run; the user's come last and take precedence."""
        values = {"name": self.folder.name, "output": self.folder.parent, "data": self.options.prepared}
        heads = {f"tasks.{self.head[0]}.head": self.head[1]} if self.head else {}
        own = [f"{key}={value}" for key, value in {**values, "encoder": self.encoder, **heads}.items()]
        return _sets(*own, *_CPU, *self.options.overrides)

    def request(self) -> dict[str, Any]:
        """What the run depends on, except the training data."""
        written = configs.load(self.config, self.options.overrides).model_dump(mode="json")
        config = {key: value for key, value in written.items() if key not in _IRRELEVANT}
        config["tasks"] = [{k: v for k, v in entry.items() if k != "head"} for entry in written["tasks"]]
        against = {"against": self.options.against} if self.options.against else {}
        return {"start": self.fingerprint, "config": config, **against}

    def tasks(self) -> list[str]:
        return [task.name for task in load(self.config, self.options.overrides)[1]]

    @property
    def pooling(self) -> str | None:
        """What the vectors of a dual encoder are; see `TaskEntry`."""
        return configs.load(self.config, self.options.overrides).tasks[0].pooling

    @property
    def done(self) -> bool:
        """Whether a run with the current request has finished."""
        return (self.folder / "done").is_file() and self._request_on_disk().get("request") == self.request()

    def _request_on_disk(self) -> dict[str, Any]:
        """{"request", "plan"} of the run in the folder; {} if the driver did not start it."""
        path = self.folder / REQUEST
        return configs.read_json(path) if path.is_file() else {}

    def prepare(self) -> None:
        """Prepares its training data with the tokenizer of the encoder under evaluation."""
        arguments = ["--config", self.config, "--out", str(self.options.prepared)]
        arguments += [argument for source in self.options.sources for argument in ("--source", source)]
        arguments += ["--against", self.options.against, *_sets(f"encoder={self.first}", *self.options.overrides)]
        subprocesses.data_prep(arguments, self.folder.with_name(f"{self.folder.name}.data_prep.log"))

    def supplied(self) -> list[str]:
        """Notes on data that come from another than the first source."""
        first, *others = self.options.sources
        found = []
        for task in load(self.config, self.options.overrides)[1] if others else ():
            for name in task.datasets:
                source = first if task.files else next((s for s in self.options.sources if _has(s, name)), first)
                if source != first:
                    found.append(f"target training on {name} of {source}, as {first} lacks it")
        return found

    @cached_property
    def _plan(self) -> Plan:
        """The plan of the run, from the prepared data; its initial encoder need not exist yet."""
        values = [f"data={self.options.prepared}", f"encoder={self.first}", *_CPU, *self.options.overrides]
        return setup.read(self.config, values).plan

    def work(self) -> int:
        """Cost of the run in forward passes of examples: three per example (backward counts twice)."""
        return 3 * self._plan.steps * self._plan.batch_examples

    def train(self, total: int, advance: Callable[[int], Any]) -> None:
        """Runs it; calls `advance` with progress increments that sum to `total`."""
        request = {"request": self.request(), "plan": self._plan.fingerprint()}
        if self.folder.exists() and any(self.folder.iterdir()) and self._request_on_disk() != request:
            kept = self._put_aside()
            tqdm.write(f"{self.name}: the earlier run had other settings or data; kept as {kept}", file=sys.stderr)
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write_json(self.folder / REQUEST, request)
        reported = 0

        def watch() -> None:
            nonlocal reported
            done = max(reported, round(min(1.0, subprocesses.last_step(self.folder) / self._plan.steps) * total))
            advance(done - reported)
            reported = done

        log = self.folder.with_name(f"{self.folder.name}.log")
        subprocesses.deepspeed(self.options.processes, ["--config", self.config, *self.arguments()], log, watch)
        if not (self.folder / "done").is_file():
            raise InputError(f"{self.name}: target training ended before its last step (log: {log})")
        advance(total - reported)
        shutil.rmtree(self.folder / checkpoint.FOLDER, ignore_errors=True)

    def _put_aside(self) -> Path:
        """Renames the run folder to NAME.1 (2, ...); `InputError` while another run works in it."""
        lock, _ = RunLock.take(self.folder, Member.here(0))
        kept = files.put_aside(self.folder)
        RunLock(kept, lock.token, lock.me).release_all()
        return kept

    def record(self) -> dict[str, Any]:
        """What scores.json records: config, settings, steps, the dev score that selected the encoder.

        By dataset the tests that its rows were checked against, and how many were left out (`data_prep.overlap`).
        """
        run = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        about = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        dev = [line for line in map(json.loads, lines) if line["kind"] == "dev" and line["task"] == "all"]
        best = max(dev, key=lambda line: line["mean"]) if dev else None
        fields = ("notes", "batch", "epochs", "steps", "optimizer", "max_length", "seed")
        return {
            "config": f"configs/targets/{self.name}.json",
            **{name: run[name] for name in fields},
            "overrides": self.options.overrides,
            "overlap": about.get("overlap", {}),
            "data": {name: task["data"] for name, task in about["plan"]["tasks"].items()},
            "selected_at_step": best["step"] if best else None,
            "dev": 100 * best["mean"] if best else None,
        }


def _sets(*values: str) -> list[str]:
    return [argument for value in values for argument in ("--set", value)]


def _has(source: str, dataset: str) -> bool:
    """Whether data_prep finds the dataset there; assumed for the Hub."""
    with suppress(InputError):
        return source == "hub" or bool(locate_training(DATASETS[dataset], [Folder.open(Path(source))]))
    return False


def chain(names: Sequence[str], evaluated: EvaluatedEncoder, base: Path, options: Options) -> list[Stage]:
    """The runs of a target's training, in order; `base` holds the run folders. `InputError` for a wrong `--set`."""
    for override in options.overrides:
        if (field := override.partition("=")[0].partition(".")[0]) in _FIXED:
            raise InputError(f"--set {override}: `{field}` of a target run is set by this program")
    stages: list[Stage] = []
    first = encoder = evaluated.folder.resolve()
    head, fingerprint = None, evaluated.fingerprint
    for name in names:
        if stages:
            before = stages[-1]
            (old,), (new,) = before.tasks(), load(f"targets/{name}", options.overrides)[1]
            encoder, head = before.folder / "encoder", (new.name, f"{before.folder / 'heads'}:{old}")
            fingerprint = files.json_sha256(before.request())
        stages.append(Stage(name, (base / name).resolve(), encoder, head, options, first, fingerprint))
    return stages
