"""scores.json: what earlier runs have left in it, how it is written, and that one driver at a time works beside it."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from common import files
from common.errors import InputError
from eval.inference.encoder import Subject
from eval.metrics import aggregate
from eval.suites import Target

NAME = "scores.json"
LOCK = ".lock"


def locked(folder: Path) -> AbstractContextManager[Any]:
    """Makes the folder and keeps other drivers out of it, in a `with`; `InputError` if one is at work there."""
    busy = f"{folder}: another evaluation is at work there; wait for it or choose another --out"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return files.lock(folder / LOCK, busy, wait=False)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made or written ({error.strerror}); choose another --out") from None


def begin(
    subject: Subject, suite: str, folder: Path, targets: Sequence[Target], wanted: Mapping[str, str]
) -> tuple[dict[str, Any], str | None]:
    """(the scores so far, a remark for the user).

    Those of an earlier run of the same weights stay, but for the `targets` of this one whose fingerprint is not the
    `wanted` one: a table shows what was asked for, or says that it is not there.
    """
    result: dict[str, Any] = {
        "encoder": subject.spec,
        "name": subject.name,
        "fingerprint": subject.fingerprint,
        "suite": suite,
        "targets": {},
        "average": {},
        "not_run": {},
    }
    path = folder / NAME
    if not path.is_file():
        return result, None
    asked = {target.name for target in targets}
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        if old["fingerprint"] != subject.fingerprint:
            return result, f"{path}: of other weights ({old['encoder']}); replaced"
        result["targets"] = {
            name: one
            for name, one in old["targets"].items()
            if name not in asked or one["fingerprint"] == wanted.get(name)
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return result, f"{path}: not readable as scores; replaced"
    return result, None


def wider(folder: Path, target: str, setup: str, files: Mapping[str, Mapping[str, str]]) -> str | None:
    """The fingerprint of an earlier record of the target that has all of these languages, and perhaps more; else None.

    So the languages that XTREME-R has and XTREME has not are neither lost nor computed again when one suite is run
    after the other. `setup`: digest of encoder, training and protocol; `files`: by language, sha256 by name.
    """
    try:
        old = json.loads((folder / NAME).read_text(encoding="utf-8"))["targets"][target]
        same = old["setup"] == setup and old["languages"].keys() >= files.keys()
        known = all(old["files"].get(name) == digest for some in files.values() for name, digest in some.items())
        return str(old["fingerprint"]) if same and known else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(result: dict[str, Any], targets: Sequence[Target], folder: Path) -> None:
    """Replaces scores.json at once, the averages over `targets` taken anew."""
    result["average"] = aggregate.average(result, result["suite"], targets)
    files.write_json(folder / NAME, result)
