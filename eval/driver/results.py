"""scores.json: reading earlier results, writing, and a lock that admits one driver per folder."""

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from eval.inference.encoder import Subject
from eval.metrics import aggregate
from eval.suites import Target
from mtl.run import provenance

NAME = "scores.json"
LOCK = ".lock"


def make(folder: Path) -> None:
    """Creates the folder of results; `InputError` if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another --out") from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Creates and locks the folder; `InputError` if another driver holds the lock."""
    make(folder)
    try:
        file = (folder / LOCK).open("a")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: another evaluation is at work there; wait for it or choose another --out"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield


def begin(
    subject: Subject, suite: str, folder: Path, targets: Sequence[Target], wanted: Mapping[str, str]
) -> tuple[dict[str, Any], str | None]:
    """(the scores so far, a note for the user or None).

    Results of an earlier run with the same weights are kept, except those of `targets` whose fingerprint is not the
    `wanted` one: a table shows what was requested or reports it as missing.
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
            return result, f"{path}: from other weights ({old['encoder']}); replaced"
        result["targets"] = {
            name: one
            for name, one in old["targets"].items()
            if name not in asked or one["fingerprint"] == wanted.get(name)
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return result, f"{path}: not readable as scores; replaced"
    return result, None


def wider(folder: Path, target: str, setup: str, files: Mapping[str, Mapping[str, str]]) -> str | None:
    """The fingerprint of an earlier record of the target with at least these languages; else None.

    Keeps the languages that XTREME-R has beyond XTREME when one suite is run after the other. `setup`: digest of
    encoder, training and protocol; `files`: {language: {file name: sha256}}.
    """
    try:
        old = json.loads((folder / NAME).read_text(encoding="utf-8"))["targets"][target]
        same = old["setup"] == setup and old["languages"].keys() >= files.keys()
        known = all(old["files"].get(name) == digest for some in files.values() for name, digest in some.items())
        return str(old["fingerprint"]) if same and known else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(result: dict[str, Any], targets: Sequence[Target], folder: Path) -> None:
    """Updates the averages over `targets` and replaces scores.json atomically."""
    result["average"] = aggregate.average(result, result["suite"], targets)
    provenance.write(folder / NAME, result)
