"""scores.json: reading earlier results, writing, and a lock that admits one driver per folder."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from common import files
from common.errors import writing
from common.run_config import read_json
from eval.inference.encoder import EvaluatedEncoder
from eval.metrics import aggregate, items
from eval.suites import Target

NAME = "scores.json"
LOCK = ".lock"


def locked(folder: Path) -> AbstractContextManager[Any]:
    """Makes the folder and keeps other drivers out of it, in a `with`; `InputError` if one is at work there."""
    busy = f"{folder}: another evaluation is at work there; wait for it or choose another --out"
    with writing(folder, "; choose another --out"):
        return files.lock(folder / LOCK, busy, wait=False)


def each(
    encoders: Sequence[EvaluatedEncoder],
    path: Path,
    protocol: dict[str, Any],
    measured: Callable[[EvaluatedEncoder], dict[str, Any]],
) -> dict[str, Any]:
    """{"protocol", "encoders": what is measured of each}, written to `path` after every encoder."""
    result: dict[str, Any] = {"protocol": protocol, "encoders": []}
    with locked(path.parent):  # before an hour of work, not after
        for encoder in encoders:
            result["encoders"].append({**encoder.about, **measured(encoder)})
            files.write_json(path, result)
            encoder.unload()  # one at a time on the device
    return result


def begin(
    encoder: EvaluatedEncoder, suite: str, folder: Path, targets: Sequence[Target], wanted: Mapping[str, str]
) -> dict[str, Any]:
    """The scores so far.

    Results of an earlier run with the same weights are kept, except those of `targets` whose fingerprint is not the
    `wanted` one: a table shows what was requested or reports it as missing. Those of other weights are replaced, which
    is printed, and their submission is removed.
    """
    kept: dict[str, Any] = {}
    unscored: dict[str, str] = {}
    if (path := folder / NAME).is_file():
        asked = {target.name for target in targets}
        old = read_json(path)
        if old.get("fingerprint") == encoder.fingerprint:
            kept = {k: v for k, v in old["targets"].items() if k not in asked or v["fingerprint"] == wanted.get(k)}
            unscored = {k: v for k, v in old.get("unscored", {}).items() if k not in asked or v == wanted.get(k)}
        else:
            tqdm.write(f"{path}: from other weights ({old.get('encoder')}); replaced", file=sys.stderr)
            for name in ("submission", items.FOLDER):
                shutil.rmtree(folder / name, ignore_errors=True)
    return {
        **encoder.about,
        "suite": suite,
        "targets": kept,
        "unscored": unscored,  # fingerprints of targets that were predicted for the submission only
        "average": {},
        "not_run": {},
    }


def wider(folder: Path, target: str, setup: str, files: Mapping[str, Mapping[str, str]]) -> dict[str, Any] | None:
    """An earlier record of the target with at least these languages; else None.

    Keeps the languages that XTREME-R has beyond XTREME when one suite is run after the other. `setup`: digest of
    encoder, training and protocol; `files`: {language: {file name: sha256}}.
    """
    path = folder / NAME
    old: dict[str, Any] = read_json(path).get("targets", {}).get(target, {}) if path.is_file() else {}
    if old.get("setup") != setup or not old["languages"].keys() >= files.keys():
        return None
    known = all(old["files"].get(name) == digest for some in files.values() for name, digest in some.items())
    return old if known else None


def write(result: dict[str, Any], targets: Sequence[Target], folder: Path) -> None:
    """Updates the averages over `targets` and replaces scores.json atomically."""
    result["average"] = aggregate.average(result, result["suite"], targets)
    files.write_json(folder / NAME, result)
