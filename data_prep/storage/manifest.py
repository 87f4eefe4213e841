"""`manifest.json` of a prepared folder: what its fields are, and whether it is as it was written."""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common import jsontext
from common.errors import InputError

MANIFEST = "manifest.json"
Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _File(_Strict):
    bytes: Count
    sha256: str


class _Split(_Strict):
    rows: Annotated[int, Field(gt=0)]
    examples: Count
    tokens: Annotated[int, Field(gt=0)]
    units: Count
    dropped: dict[str, Count]
    truncated: dict[str, Count]
    unknown_labels: Count
    length_histogram: Annotated[dict[Annotated[str, Field(pattern="^<=[0-9]{1,9}$")], Count], Field(min_length=1)]


class _Splits(_Strict):
    model_config = ConfigDict(strict=True, extra="forbid")
    train: _Split
    dev: _Split


class _Source(_Strict):
    files: dict[str, str]
    differs: list[str]


class _Manifest(_Strict):
    """What is read of a manifest; it holds more."""

    dataset: str
    kind: str
    labels: list[str] | None
    splits: _Splits
    files: dict[str, _File]
    source: _Source
    licence: str
    sha256: str
    token_ids: str | None = None  # see tokenids.py; folders of earlier versions have none


def checksum(manifest: dict[str, Any]) -> str:
    """sha256 (hex) of a manifest, but for the entry `sha256` that holds it."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a prepared folder; `InputError` if there is none, or if it is not as it was written."""
    path = folder / MANIFEST
    try:
        if not os.path.isfile(path):  # a pipe would be waited on for ever
            raise ValueError(f"no {MANIFEST}")
        manifest = jsontext.parse(path.read_text(encoding="utf-8"))
        _Manifest.model_validate(manifest)
        if checksum(manifest) != manifest["sha256"]:
            raise ValueError(f"{MANIFEST} was altered since it was written")
    except ValidationError as error:
        problem = error.errors()[0]
        reason = f"{MANIFEST}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
    else:
        return manifest
    raise InputError(f"{folder}: not a prepared folder ({reason}); delete it and prepare again")
