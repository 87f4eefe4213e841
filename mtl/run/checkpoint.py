"""Checkpoints: save, verify, find, prune.

A checkpoint is DeepSpeed's own (weights, master copies, moments: one file a rank) plus `state.json` (step, identity of
the run, best score) in `checkpoints/step-N/`. It is written under a temporary name, every file is flushed and hashed
into `manifest.json`, then the folder is renamed and `latest` (which DeepSpeed's own tools read) moves last, so an
interrupted save is never taken for a whole one. A torn or altered checkpoint is reported and the one before is used.
The `keep` newest stay, the one with the best dev score, and those that `export.average` needs. Data order, dropout
seeds and learning rates are functions of the step: nothing else has to be stored.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from common import files, jsontext
from common.errors import InputError
from common.run_config import RunConfig
from mtl.distributed import collectives

if TYPE_CHECKING:
    from mtl.distributed.engine import Engine

FOLDER, MANIFEST, STATE, LATEST = "checkpoints", "manifest.json", "state.json", "latest"
# What determines the shapes of weights and moments: --accept-changes does not accept another.
FIXED = (
    "encoder", "word embeddings", "heads", "deepspeed.bf16", "deepspeed.data_types",
    "deepspeed.zero_optimization.offload_optimizer",
)  # fmt: skip


@dataclass
class State:
    """What a checkpoint holds besides weights and optimizer.

    step: finished optimizer steps; evaluated: step of the last dev evaluation; best: best mean dev score, found at
    step best_step; waited: evaluations since; stopped: early stopping has ended the run; skipped: steps left out
    because they were not finite; decay: product of the weight decay factors so far; dev: last dev metrics by task;
    meter: sums since the last log line; ranks, identity: of the run that wrote it, see `Setup.identity`.
    """

    ranks: int
    identity: dict[str, Any]
    step: int = 0
    evaluated: int = 0
    best: float | None = None
    best_step: int = 0
    waited: int = 0
    stopped: bool = False
    skipped: int = 0
    decay: float = 1.0
    dev: dict[str, dict[str, float]] = field(default_factory=dict)
    meter: dict[str, Any] | None = None

    def update_best(self, mean: float, patience: int | None) -> bool:
        """Records the mean dev score of this step; True if it is the best so far."""
        self.evaluated = self.step
        better = self.best is None or mean > self.best
        if better:
            self.best, self.best_step = mean, self.step
        self.waited = 0 if better else self.waited + 1
        self.check_patience(patience)
        return better

    def check_patience(self, patience: int | None) -> None:
        """Applies `evaluate.patience`, which a resumed run may have changed."""
        self.stopped = patience is not None and self.waited >= patience


def find(
    run_folder: Path, identity: dict[str, Any], world: int, accept: bool = False
) -> tuple[State | None, list[str]]:
    """The newest whole checkpoint of the run, for `world` ranks (None if it has none), and messages for the user.

    Raises `InputError` if it belongs to another run (unless `accept`, and the weights have the same form), or if there
    are checkpoints and none is whole.
    """
    folder = run_folder / FOLDER
    damaged: list[str] = []
    for name in names(folder):
        state = _read(folder / name)
        if isinstance(state, str):
            damaged.append(f"checkpoint {folder / name} is damaged ({state})")
            continue
        notes = [f"{d}; using the one before" for d in damaged]
        notes += _check_identity(folder / name, state, identity, accept)
        if state.ranks != world:
            notes.append(f"{folder / name} was written by {state.ranks} ranks: dividing it among {world}")
        return state, [*notes, f"resuming {run_folder} after step {state.step}"]
    if damaged:
        raise InputError(f"{damaged[-1]} and no whole one is left: start anew with --resume never")
    return None, []


def save(engine: "Engine", run: RunConfig, state: State, more: Callable[[Path], None] | None = None) -> str | None:
    """Saves step `state.step` and removes what need not be kept: None, or why it could not (a collective call).

    more: writes other files into the checkpoint, on rank 0.
    After a failure the older checkpoints are as they were, and nothing of the new one is left.
    """
    folder = run.folder / FOLDER
    name = name_of(state.step)
    writing = folder / f".writing-{name}"
    try:
        with write_errors_on_all(folder):
            if engine.rank == 0:
                for old in folder.glob(".writing-*"):
                    shutil.rmtree(old)
                writing.mkdir(parents=True)
                if more is not None:
                    more(writing)
        collectives.raise_on_all(engine.save(folder, writing.name))
        hashes = {}
        with write_errors_on_all(folder):
            # Each rank flushes and hashes its part of the files.
            for path in sorted(p for p in writing.iterdir() if p.is_file())[engine.rank :: engine.world]:
                files.fsync(path)
                hashes[path.name] = files.file_sha256(path)
        all_hashes = collectives.gather(hashes)
        with write_errors_on_all(folder):
            if engine.rank == 0:
                files.write_json(writing / STATE, asdict(state))
                write_manifest(writing, dict(item for part in all_hashes for item in part.items()))
                shutil.rmtree(folder / name, ignore_errors=True)
                os.replace(writing, folder / name)
                files.fsync(folder)
                files.write_text(folder / LATEST, f"{name}\n")
                prune(folder, run, state.best_step)
    except collectives.AgreedError as error:
        if engine.rank == 0:
            shutil.rmtree(writing, ignore_errors=True)
        return str(error)
    return None


@contextmanager
def write_errors_on_all(folder: Path) -> Iterator[None]:
    """Raises a failed write of any rank as `AgreedError` on all (a collective call)."""
    with collectives.errors_on_all():
        try:
            yield
        except OSError as error:
            raise InputError(f"{error.filename or folder}: {error.strerror or error}") from None
        except SafetensorError as error:  # its class for a failed write
            raise InputError(f"{folder}: {error}") from None


def name_of(step: int) -> str:
    """The folder of the checkpoint after `step`."""
    return f"step-{step:08d}"


def names(folder: Path) -> list[str]:
    """Checkpoints in `folder`, newest first."""
    return sorted((p.name for p in folder.glob("step-*") if p.is_dir()), reverse=True)


def prune(folder: Path, run: RunConfig, best_step: int) -> None:
    """Removes all but the `keep` newest, that of the best dev score and those to average."""
    there = names(folder)
    kept = {*there[: run.checkpoint.keep], name_of(best_step), *_scheduled(there, run)[: run.export.average or 0]}
    for old in there:
        if old not in kept:
            # Renamed first: an interrupted removal must not leave what looks like a damaged checkpoint.
            os.replace(folder / old, folder / f".removing-{old}")
    for removed in folder.glob(".removing-*"):
        shutil.rmtree(removed, ignore_errors=True)


def _scheduled(there: list[str], run: RunConfig, last: int = 0) -> list[str]:
    """Those of every `checkpoint.every` steps and of step `last`: the ones that a run has however often it stops."""
    steps = {name: int(name.removeprefix("step-")) for name in there}
    return [name for name, step in steps.items() if step % run.checkpoint.every == 0 or step == last]


def averaged(run: RunConfig, step: int) -> list[State]:
    """The states of the last `export.average` checkpoints up to the last step `step`, oldest first.

    There are fewer where the run stopped early, could not write some, or some are damaged.
    """
    folder = run.folder / FOLDER
    found = [_read(folder / name) for name in _scheduled(names(folder), run, step)[: run.export.average]]
    return [state for state in reversed(found) if isinstance(state, State)]


def write_manifest(folder: Path, hashes: dict[str, str]) -> None:
    """Completes a checkpoint: `manifest.json` with the sha256 of each file by name. `hashes`: of all but the state."""
    hashes[STATE] = files.file_sha256(folder / STATE)
    # No line end: without its last byte it would still be whole.
    files.write_text(folder / MANIFEST, json.dumps({"files": dict(sorted(hashes.items()))}, indent=1))
    files.fsync(folder)


def _read(folder: Path) -> State | str:
    """The state of a whole checkpoint, or what is wrong with it."""
    try:
        hashes = jsontext.parse((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        for name in sorted(({path.name for path in folder.iterdir()} - {MANIFEST}) ^ set(hashes)):
            return f"{name} is missing" if name in hashes else f"{name} does not belong there"
        with ThreadPoolExecutor(8) as pool:  # hashing lets other threads run
            digests = pool.map(lambda name: files.file_sha256(folder / name), hashes)
            for name, digest in zip(hashes, digests, strict=True):
                if digest != hashes[name]:
                    return f"{name} is not as it was written"
        values = jsontext.parse((folder / STATE).read_text(encoding="utf-8"))
        state = State(**{f.name: values[f.name] for f in fields(State)})
    except OSError as error:
        return f"{Path(error.filename or folder).name}: {error.strerror}"
    except (ValueError, TypeError, KeyError) as error:
        return f"not readable as one of this version of the program: {error!r}"
    return state if folder.name == name_of(state.step) else f"{STATE} is of step {state.step}"


def _check_identity(folder: Path, state: State, identity: dict[str, Any], accept: bool) -> list[str]:
    different = collectives.differences(state.identity, json.loads(json.dumps(identity)))
    different = [d for d in different if d[0] != "encoder.name"]  # a folder that was moved has the same weights
    if not different:
        return []
    what = "; ".join(f"{where}: then {old}, now {new}" for where, old, new in different[:3])
    what += f"; and {len(different) - 3} more" if len(different) > 3 else ""
    # Stage 0 stores its moments otherwise than 1 and 2.
    fixed = any(
        f"{where}.".startswith(tuple(f"{name}." for name in FIXED))
        or (where == "deepspeed.zero_optimization.stage" and 0 in values)
        for where, *values in different
    )
    if fixed or not accept:
        reason = "its weights or moments have another form, so restore the old values"
        choice = "restore the old values, go on with the new ones by --accept-changes"
        raise InputError(
            f"{folder}: the checkpoint belongs to another run ({what}): {reason if fixed else choice}, or start anew "
            "with --resume never or another `name`"
        )
    return [f"accepted: {where}: then {old}, now {new}" for where, old, new in different]
