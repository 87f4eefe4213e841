"""Checkpoints: save, verify, resume, prune.

A checkpoint is DeepSpeed's own (weights, master copies, moments: one file a rank) plus `state.json` (the step, whose
it is, the best score) in `checkpoints/step-N/`. It is written under a temporary name, every file is hashed into
`manifest.json`, then the folder is renamed and `latest` (which DeepSpeed's own tools read) is moved last, so an
interrupted save is never taken for a whole one. A torn or altered checkpoint is named and the one before is used.
Data order, dropout seeds and learning rates are functions of the step: nothing else has to be stored.
"""

import fcntl
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch

from data_prep.errors import InputError
from data_prep.store import file_sha256

if TYPE_CHECKING:
    from mtl.engine import Engine

FOLDER, MANIFEST, STATE, LATEST = "checkpoints", "manifest.json", "state.json", "latest"


@dataclass
class State:
    """What a run has to remember besides weights and optimizer.

    step: finished optimizer steps; best: best mean dev score; waited: evaluations since; stopped: early stopping has
    ended the run; dev: last dev figures by task; ranks, identity: who wrote it, see
    `Setup.identity`.
    """

    ranks: int
    identity: dict[str, Any]
    step: int = 0
    best: float | None = None
    waited: int = 0
    stopped: bool = False
    dev: dict[str, dict[str, float]] = field(default_factory=dict)

    def judge(self, mean: float, patience: int | None) -> bool:
        """Takes in a mean dev score; True if it is the best so far."""
        better = self.best is None or mean > self.best
        self.best = mean if better else self.best
        self.waited = 0 if better else self.waited + 1
        self.be_patient(patience)
        return better

    def be_patient(self, patience: int | None) -> None:
        """Applies the patience of the run as it is now, which a resumed one may have changed."""
        self.stopped = patience is not None and self.waited >= patience


@dataclass(frozen=True)
class Resumed:
    """A checkpoint to go on from. `notes`: sentences for the user."""

    name: str
    state: State
    notes: list[str]


def open_run(run_folder: Path, resume: bool, identity: dict[str, Any], ranks: int) -> Resumed | None:
    """Makes the run folder and locks it, or finds where to go on in it (rank 0 only).

    Without `resume`, an old run of the same name is renamed to NAME.1 (2, ...), never deleted. `identity`: see
    `Setup.identity`. Raises `InputError` where another process works in the folder, the checkpoint belongs to another
    run or number of ranks, none is whole, or the folder cannot be written.
    """
    try:
        if run_folder.exists():
            _lock(run_folder)
        if not resume and run_folder.exists():
            number = 1
            while (kept := run_folder.with_name(f"{run_folder.name}.{number}")).exists():
                number += 1
            run_folder.rename(kept)
        (run_folder / FOLDER).mkdir(parents=True, exist_ok=True)
        _lock(run_folder)
    except OSError as error:
        raise InputError(f"{run_folder}: cannot be made or written ({error.strerror})") from None
    return find(run_folder, identity, ranks)


def find(run_folder: Path, identity: dict[str, Any], ranks: int) -> Resumed | None:
    """The newest whole checkpoint of the run; `InputError` as for `open_run`."""
    folder = run_folder / FOLDER
    damaged: list[str] = []
    for name in _names(folder):
        problem = _problem(folder / name)
        if problem is None:
            state = State(**json.loads((folder / name / STATE).read_text(encoding="utf-8")))
            _check(folder / name, state, identity, ranks)
            notes = [f"{d}; using the one before" for d in damaged]
            return Resumed(name, state, [*notes, f"resuming {run_folder} after step {state.step}"])
        damaged.append(f"checkpoint {folder / name} is damaged ({problem})")
    if damaged:
        raise InputError(f"{damaged[-1]} and no whole one is left: start anew with --resume never")
    return None


_locked: dict[Path, IO[str]] = {}  # held until the process ends, however it ends


def _lock(run_folder: Path) -> None:
    file = (run_folder / ".lock").open("w")
    inode = os.fstat(file.fileno()).st_ino
    if any(os.fstat(held.fileno()).st_ino == inode for held in _locked.values()):
        file.close()
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(
            f"{run_folder}: another process trains there: wait for it, end it, or give another `name`"
        ) from None
    _locked[run_folder] = file


def save(engine: "Engine", run_folder: Path, now: State, keep: int) -> None:
    """Saves step `now.step` of the run, keeps the `keep` newest. A collective call."""
    folder, state = run_folder / FOLDER, asdict(now)
    name = f"step-{now.step:08d}"
    writing = f".writing-{name}"
    if engine.rank == 0:
        shutil.rmtree(folder / writing, ignore_errors=True)
    torch.distributed.barrier()
    engine.save(folder, writing)
    torch.distributed.barrier()
    if engine.rank == 0:
        target = folder / name
        (folder / writing / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        files = {p.name: file_sha256(p) for p in sorted((folder / writing).iterdir())}
        for path in (folder / writing).iterdir():
            _flush(path)
        (folder / writing / MANIFEST).write_text(json.dumps(files, indent=1), encoding="utf-8")
        _flush(folder / writing / MANIFEST)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(folder / writing, target)
        pointer = folder / f".{LATEST}"
        pointer.write_text(name + "\n", encoding="utf-8")
        _flush(pointer)
        os.replace(pointer, folder / LATEST)
        for old in _names(folder)[keep:]:
            shutil.rmtree(folder / old, ignore_errors=True)
    torch.distributed.barrier()


def _check(folder: Path, state: State, identity: dict[str, Any], ranks: int) -> None:
    differences = _differences(state.identity, json.loads(json.dumps(identity)), "")
    if differences:
        raise InputError(
            f"{folder}: the checkpoint belongs to another run ({'; '.join(differences[:3])}): "
            "restore the old values, or start anew with --resume never or another `name`"
        )
    if state.ranks != ranks:
        raise InputError(
            f"{folder}: the checkpoint was written by {state.ranks} ranks and this run has {ranks}: "
            f"launch with {state.ranks}"
        )


def _names(folder: Path) -> list[str]:
    """Checkpoints in `folder`, newest first."""
    return sorted((p.name for p in folder.glob("step-*") if p.is_dir()), reverse=True)


def _problem(folder: Path) -> str | None:
    """What is wrong with a checkpoint; None if every file is there and as it was written."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"{MANIFEST}: {error}"
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if file_sha256(path) != digest:
            return f"{name} is not as it was written"
    return None


def _differences(old: Any, new: Any, where: str) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in [*old, *(k for k in new if k not in old)]:
            found += _differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
        return found
    return [] if old == new else [f"{where}: then {old}, now {new}"]


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
