"""Programs run in this process on inputs that hypothesis spoils, and what must hold however they end."""

import contextlib
import io
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.damage import Draw

# How many times as many inputs as in the fast suite: other ones then, at every run.
TIMES = int(os.environ.get("BAD_INPUTS", "1"))
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# The paths that Python code opens for writing, makes or renames to, while a program runs.
_written: list[Any] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _written is None:
        return
    if event == "os.mkdir" or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES):
        _written.append(arguments[0])
    elif event in ("os.rename", "os.link", "os.symlink"):
        _written.append(arguments[1])


sys.addaudithook(_audit)  # cannot be removed


def _files(folder: Path, but: Path) -> dict[Path, tuple[int, int]]:
    paths = [path for path in folder.rglob("*") if path != but and but not in path.parents]
    states = {path: path.lstat() for path in paths}
    return {path: (s.st_size, s.st_mtime_ns) for path, s in states.items() if not path.is_dir()}


def accepted(main: Callable[[list[str]], int], arguments: list[str], folder: Path) -> bool:
    """Whether `main` ends with exit code 0, else with 2 and one line; AssertionError for anything else.

    It may write below `folder`/out only, not even to the input beside it, and runs in an empty folder of its own.
    """
    global _written
    out = folder / "out"
    (folder / "cwd").mkdir(exist_ok=True)
    # As strict as real streams: half a surrogate pair cannot be written to stdout.
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    before = _files(folder, out)
    _written = []
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), contextlib.chdir(folder / "cwd"):
            code = main(arguments)
            touched = {os.path.realpath(os.fsdecode(path)) for path in _written if not isinstance(path, int)}
    finally:
        _written = None
    printed = stderr.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
    assert "Traceback" not in printed, printed
    errors = [line for line in re.split(r"[\r\n]+", printed) if line.startswith("error:")]
    assert (code, len(errors)) in ((0, 0), (2, 1)), (code, printed)
    for line in errors:
        assert 15 < len(line) < 2000 and line.isprintable() and printed.endswith(line + "\n"), printed
    outside = [path for path in touched - {os.devnull} if not Path(path).is_relative_to(out)]
    outside = [path for path in outside if "__pycache__" not in path]
    assert not outside and _files(folder, out) == before, f"written outside {out}: {outside}"
    return bool(code == 0)


def explore(count: int, example: Callable[[Draw, Path], bool]) -> None:
    """Calls `example`, which returns whether a program took the input, in a folder of its own for `count` inputs.

    A tenth of them must have been taken and a tenth refused: else half of the promise has not been tried.
    """
    ends: Counter[bool] = Counter()

    @settings(
        max_examples=count * TIMES, derandomize=TIMES == 1, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.data())
    def each(data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            (folder / "in").mkdir()
            ends[example(data.draw, folder)] += 1

    each()
    assert min(ends[True], ends[False]) >= count // 10, ends
