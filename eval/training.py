"""Target training: `deepspeed train.py` on the English data of a target, from the encoder under evaluation.

A chain of configs of `configs/targets/` (Social IQa, then COPA), each going on from encoder and head of the one before.
A run that is done is not repeated; one that was interrupted goes on; one that was started with other settings or from
another encoder is kept under another name and run anew.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.errors import InputError
from eval import programs
from eval.subject import Subject
from mtl import config as configs
from mtl import setup


@dataclass(frozen=True)
class Settings:
    """overrides: `--set` for every target run; prepared: where data_prep writes; source: what it reads ("hub" or a

    folder); processes: GPUs (or CPU ranks).
    """

    overrides: tuple[str, ...]
    prepared: Path
    source: str
    processes: int


@dataclass(frozen=True)
class Stage:
    """One run of a chain. `folder`: its run folder; `encoder`, `head`: where it starts (the head None: fresh)."""

    name: str
    folder: Path
    encoder: Path
    head: tuple[str, str] | None  # (task here, FOLDER:TASK)
    settings: Settings
    fingerprint: str  # of the encoder under evaluation

    @property
    def config(self) -> str:
        return f"targets/{self.name}"

    def arguments(self) -> list[str]:
        """`--set` of this run; the user's come last and win."""
        values = [
            f"name={self.folder.name}",
            f"output={self.folder.parent}",
            f"data={self.settings.prepared}",
            f"encoder={self.encoder}",
        ]
        if self.head is not None:
            values.append(f"tasks.{self.head[0]}.head={self.head[1]}")
        if not programs.GPU:
            values.append("deepspeed=zero2_cpu.json")
        return [argument for value in (*values, *self.settings.overrides) for argument in ("--set", value)]

    def request(self) -> dict[str, Any]:
        """What the run depends on."""
        written = configs.load(self.config, list(self.settings.overrides)).model_dump(mode="json")
        left_out = ("name", "output", "data", "encoder", "notes", "deepspeed", "log_every", "silence", "tasks")
        config = {key: value for key, value in written.items() if key not in left_out}
        return {"encoder": self.fingerprint, "config": config, "tasks": self.tasks()}

    def tasks(self) -> list[str]:
        return [task.name for task in configs.load(self.config, list(self.settings.overrides)).resolved_tasks()]

    @property
    def done(self) -> bool:
        """Whether it has been run to its end, as it is asked for now."""
        return (self.folder / "done").is_file() and self._asked_before()

    def _asked_before(self) -> bool:
        try:
            return bool(json.loads(self._record.read_text(encoding="utf-8")) == self.request())
        except (OSError, ValueError):
            return False

    @property
    def _record(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.request.json")

    def prepare(self) -> None:
        """Prepares its training data with the tokenizer of the encoder under evaluation."""
        arguments = ["--config", self.config, "--source", self.settings.source, "--out", str(self.settings.prepared)]
        encoder = [f"encoder={self.encoder}", *self.settings.overrides]
        sets = [argument for value in encoder for argument in ("--set", value)]
        programs.data_prep([*arguments, *sets], self.folder.with_name(f"{self.folder.name}.data_prep.log"))

    def work(self) -> int:
        """How much it costs, in examples: three passes over each (forward, and backward twice as much)."""
        plan = setup.read(self.config, [a for a in self.arguments() if a != "--set"]).plan
        return 3 * plan.steps * plan.batch_examples

    def train(self, total: int, advance: Callable[[int], Any]) -> None:
        """Runs it; `advance` is told how many of `total` more are done."""
        again = not self._asked_before() and self.folder.exists()
        self._record.parent.mkdir(parents=True, exist_ok=True)
        self._record.write_text(json.dumps(self.request(), indent=1), encoding="utf-8")
        told = 0

        def watch() -> None:
            nonlocal told
            share = min(1.0, self._share())
            advance(round(share * total) - told)
            told = round(share * total)

        arguments = ["--config", self.config, *self.arguments(), "--resume", "never" if again else "auto"]
        log = self.folder.with_name(f"{self.folder.name}.log")
        programs.deepspeed(self.settings.processes, arguments, log, watch)
        if not (self.folder / "done").is_file():
            raise InputError(f"{self.name}: target training ended before its last step (log: {log})")
        advance(total - told)

    def _share(self) -> float:
        """How far the run is, in [0, 1]: the last line of metrics.jsonl over the steps of the run."""
        try:
            *_, last = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            steps = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))["plan"]["steps"]
            return float(json.loads(last)["step"]) / float(steps)
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0

    def record(self) -> dict[str, Any]:
        """What scores.json says of it: config, settings, steps, the dev score that selected the encoder."""
        run = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        dev = [line for line in map(json.loads, lines) if line["kind"] == "dev" and line["task"] == "all"]
        best = max(dev, key=lambda line: line["mean"]) if dev else None
        return {
            "config": f"configs/targets/{self.name}.json",
            "notes": run["notes"],
            "batch": run["batch"],
            "epochs": run["epochs"],
            "steps": run["steps"],
            "optimizer": run["optimizer"],
            "max_length": run["max_length"],
            "seed": run["seed"],
            "overrides": list(self.settings.overrides),
            "selected_at_step": best["step"] if best else None,
            "dev": 100 * best["mean"] if best else None,
        }


def chain(names: Sequence[str], subject: Subject, base: Path, settings: Settings) -> list[Stage]:
    """The runs of a target's training, in order; `base` holds the run folders."""
    stages: list[Stage] = []
    encoder, head = subject.folder.resolve(), None
    for name in names:
        if stages:
            before = stages[-1]
            (old,), (new,) = before.tasks(), configs.load(f"targets/{name}").resolved_tasks()
            encoder, head = before.folder / "encoder", (new.name, f"{before.folder / 'heads'}:{old}")
        stages.append(Stage(name, (base / name).resolve(), encoder, head, settings, subject.fingerprint))
    return stages
