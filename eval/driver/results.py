"""scores.json: reading earlier results, writing, and a lock that admits one driver per folder."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from common import files
from common.errors import writing
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
    path = folder / NAME
    if path.is_file():
        asked = {target.name for target in targets}
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            replaced = f"from other weights ({old['encoder']})" if old["fingerprint"] != encoder.fingerprint else ""
            for name, one in old["targets"].items():
                if not replaced and (name not in asked or one["fingerprint"] == wanted.get(name)):
                    kept[name] = one
            if not replaced:
                unscored = {k: v for k, v in old.get("unscored", {}).items() if k not in asked or v == wanted.get(k)}
        except (ValueError, KeyError, TypeError, AttributeError):
            kept, replaced = {}, "not readable as scores"
        if replaced:
            tqdm.write(f"{path}: {replaced}; replaced", file=sys.stderr)
            for old in ("submission", items.FOLDER):
                shutil.rmtree(folder / old, ignore_errors=True)
    return {
        "encoder": encoder.spec,
        "name": encoder.name,
        "fingerprint": encoder.fingerprint,
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
    try:
        old = json.loads((folder / NAME).read_text(encoding="utf-8"))["targets"][target]
        same = old["setup"] == setup and old["languages"].keys() >= files.keys()
        known = all(old["files"].get(name) == digest for some in files.values() for name, digest in some.items())
        return dict(old) if same and known and old["fingerprint"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(result: dict[str, Any], targets: Sequence[Target], folder: Path) -> None:
    """Updates the averages over `targets` and replaces scores.json atomically."""
    result["average"] = aggregate.average(result, result["suite"], targets)
    files.write_json(folder / NAME, result)
