"""Checkpoints: save, verify, resume, prune.

A checkpoint is DeepSpeed's own (weights, master copies, moments: one file a rank) plus `state.json` (the step, the
plan, the best score) in `checkpoints/step-N/`. It is written under a temporary name, every file is hashed into
`manifest.json`, then the folder is renamed and `latest` is moved last, so an interrupted save is never taken for a
whole one. A torn or altered checkpoint is named and the one before is used. Data order, dropout seeds and learning
rates are functions of the step: nothing else has to be stored.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from data_prep.errors import InputError
from data_prep.store import file_sha256
from mtl.engine import Engine

MANIFEST, STATE, LATEST = "manifest.json", "state.json", "latest"


def save(engine: Engine, folder: Path, state: dict[str, Any], keep: int) -> None:
    """Saves step `state["step"]` below `folder` (checkpoints/), keeps the `keep` newest. A collective call."""
    name = f"step-{state['step']:08d}"
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


def newest(folder: Path) -> tuple[str, dict[str, Any], list[str]] | None:
    """(name, state, sentences about the damaged ones passed over) of the newest whole checkpoint, or None."""
    damaged: list[str] = []
    for name in _names(folder):
        problem = _problem(folder / name)
        if problem is None:
            return name, json.loads((folder / name / STATE).read_text(encoding="utf-8")), damaged
        damaged.append(f"checkpoint {folder / name} is damaged ({problem}); using the one before")
    if damaged:
        raise InputError(f"{damaged[-1].removesuffix('; using the one before')}; no whole one is left in {folder}")
    return None


def check_plan(folder: Path, state: dict[str, Any], plan: dict[str, Any], ranks: int) -> None:
    """Refuses a checkpoint that another plan or number of ranks wrote, naming what differs."""
    differences = _differences(state["plan"], json.loads(json.dumps(plan)), "")
    if differences:
        raise InputError(
            f"{folder}: the checkpoint belongs to another plan ({'; '.join(differences[:3])}): "
            "restore the old values, or start anew with --resume never or another `name`"
        )
    if state["ranks"] != ranks:
        raise InputError(
            f"{folder}: the checkpoint was written by {state['ranks']} ranks and this run has {ranks}: "
            f"launch with {state['ranks']}"
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


def weights_fingerprint(weights: dict[str, torch.Tensor]) -> str:
    """sha256 over names and bytes of tensors: equal exactly when the weights are bit-identical."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
