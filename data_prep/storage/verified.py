"""Remembers that the files of a prepared folder were read and found whole, so that later starts need not read them.

`.verified.json` in the folder holds size, times, inode and sha256 of each file as it was *before* it was read. Whoever
writes to a file changes its ctime, which no program can set back, so an altered, replaced or copied file is read again.
Trade-off: bits that rot on the disk without a write are found by `python -m data_prep`, which always reads everything,
not at each start.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.files import write_json

NOTE = ".verified.json"
# The clock of files may stand still for so long: a file changed just before the note may have been changed after it.
_TICK_NS = 50_000_000


def state(folder: Path, files: dict[str, Any]) -> dict[str, list[Any]]:
    """Name -> [bytes, mtime, ctime, inode, sha256] of `files` of a manifest that are there, as they are now."""
    found = {}
    for name, info in files.items():
        with suppress(OSError):
            now = os.stat(folder / name)
            found[name] = [now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino, info["sha256"]]
    return found


def known(folder: Path, now: dict[str, list[Any]]) -> bool:
    """Whether files in this `state` were found whole before."""
    try:
        written = os.stat(folder / NOTE).st_ctime_ns
        same = json.loads((folder / NOTE).read_text(encoding="utf-8")) == now
    except (OSError, ValueError, RecursionError):
        return False
    return same and all(ctime + _TICK_NS < written for _, _, ctime, _, _ in now.values())


def remember(folder: Path, before: dict[str, list[Any]]) -> None:
    """Notes that files in this `state` are whole; where that cannot be written, the next start reads them again."""
    with suppress(OSError):
        write_json(folder / NOTE, before)
