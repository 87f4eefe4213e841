"""Remembers that the files of a prepared folder were read and found whole, so that later starts need not read them.

`.verified.json` in the folder holds size, times, inode and sha256 of each file as it was *before* it was read. Whoever
writes to a file changes its ctime, which no program can set back, so an altered, replaced or copied file is read again.
Trade-off: bits that rot on the disk without a write are found by `python -m data_prep`, which always reads everything,
not at each start.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.files import write_json

NOTE = ".verified.json"
# The clock of files may stand still for so long: a file changed just before the note may have been changed after it.
_TICK_NS = 50_000_000


def confirm(folder: Path, files: dict[str, Any], verify: Callable[[], None]) -> None:
    """Calls `verify`, unless the `files` of a manifest are as they were when that was last done.

    Noted is [bytes, mtime, ctime, inode, sha256] of each; where that cannot be written, the next start reads again.
    """
    now = {}
    for name, info in files.items():
        with suppress(OSError):
            stat = os.stat(folder / name)
            now[name] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, info["sha256"]]
    with suppress(OSError, ValueError, RecursionError):
        last = os.stat(folder / NOTE).st_ctime_ns - _TICK_NS
        before = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        if before == now and all(ctime < last for _, _, ctime, _, _ in now.values()):
            return
    verify()
    with suppress(OSError):
        write_json(folder / NOTE, now)
