"""Files: hashes, writes that leave the old or the new content and nothing between, and the lock of one host."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from common.errors import InputError


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(values: Any) -> str:
    """sha256 (hex) of `values` as JSON."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def fsync(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of `text` in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces the file at once: whoever reads it, also after a crash, finds the old content or the new one."""
    writing = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        writing.write_bytes(content)
        fsync(writing)
        writing.replace(path)
    finally:
        writing.unlink(missing_ok=True)


def write_json(path: Path, values: Any) -> None:
    """`write_text` of `values` as readable JSON."""
    write_text(path, json.dumps(values, indent=1) + "\n")


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder to write in, which then replaces `folder`; only between two renames there is neither.

    After an exception nothing of the new one is left.
    """
    writing, old = (folder.with_name(f".{prefix}-{folder.name}") for prefix in ("writing", "old"))
    for rest in (writing, old):
        shutil.rmtree(rest, ignore_errors=True)
    writing.mkdir(parents=True)
    try:
        yield writing
    except BaseException:
        shutil.rmtree(writing, ignore_errors=True)
        raise
    if folder.exists():
        os.replace(folder, old)
    os.replace(writing, folder)
    shutil.rmtree(old, ignore_errors=True)


def put_aside(path: Path, name: str = "") -> Path:
    """Renames a file or folder, to `name` or its own name with the first free number; returns the new path."""
    number, kept = 0, path.with_name(name or path.name)
    while kept.exists():
        number += 1
        kept = path.with_name(f"{name or path.name}.{number}")
    return path.rename(kept)


def lock(path: Path, busy: str, *, wait: bool) -> AbstractContextManager[Any]:
    """Locks the file `path`, whose folder is made, among processes of one host; held until its `with` or process ends.

    Where another process holds it, prints `busy` and waits, or, without `wait`, raises `InputError(busy)`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(path).acquire(blocking=False)
    except Timeout:
        if not wait:
            raise InputError(busy) from None
    print(busy, file=sys.stderr)
    return FileLock(path).acquire()
