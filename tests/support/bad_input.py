"""Inputs that hypothesis spoils, programs run in this process on them, and what must hold however they end.

Everything is drawn from fewer than a hundred possibilities: larger integers, floats and texts hypothesis takes in part
from the constants of whatever modules are loaded, so that the examples would depend on the tests that ran before.
"""

import contextlib
import copy
import io
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# How many times as many inputs as in the fast suite: other ones then, at every run.
TIMES = int(os.environ.get("BAD_INPUTS", "1"))
Draw = Callable[[st.SearchStrategy[Any]], Any]
LONG_DIGITS = "9" * 4000
ODD = st.sampled_from([
    0, 1, -1, 2, 7, 64, 513, 10**7, 2**31, -(2**63) - 1, 10**25, -0.0, 0.5, 1.0, 5e-324, 1e308, float("nan"),
    -float("inf"), True, False, "", " ", "\u00a0", "x", "0", "-1", "1e5", "²", "٣", "null", LONG_DIGITS, "\ud800",
    "a\x00b", "\n", "\x1b[31mred", "\u2028", "../x", "/", "~", "-x", "a" * 3000, "😀", "e\u0301", "auto", None, [],
    [[]], ["a"], [None], [1, "a"], ["\udfff"], {}, {"a": 1}, [{"text": "a", "start": 0}],
])  # fmt: skip
PIECES = st.sampled_from([
    b'"', b"\t", b",", b"{", b"}", b"\\", b"\n", b"\n\n \n", b"\r", b"<L ", b"\\ud83d", b"\\u0000", b"\x00", b"\xff",
    "é".encode("latin-1"), LONG_DIGITS.encode(), b"[" * 200_000, b'{"a":' * 200_000, b"x" * 1_000_000,
])  # fmt: skip
WHOLE: list[Callable[[bytes], bytes]] = [
    lambda data: b"", lambda data: bytes(range(256)), lambda data: data + data, lambda data: data.rstrip(b"\n"),
    lambda data: b"\xef\xbb\xbf" + data, lambda data: data.replace(b"\n", b"\r\n"),
    lambda data: data.replace(b"\n", b"\r"), lambda data: data.decode("utf-8", "replace").encode("utf-16"),
]  # fmt: skip


def pick(draw: Draw, items: Sequence[Any]) -> Any:
    """One of any number of items, drawn from fewer than a hundred possibilities."""
    return items[min(len(items) * draw(st.integers(0, 99)) // 100 + draw(st.integers(0, 31)), len(items) - 1)]


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, inner in items for path in ((*at, key), *paths(inner, (*at, key)))]


@st.composite
def altered(draw: Draw, value: Any, odd: st.SearchStrategy[Any] = ODD) -> Any:
    """The JSON value with one place of it replaced, removed, renamed, repeated or wrapped in a list."""
    value = copy.deepcopy(value)
    *holders, key = pick(draw, paths(value))
    holder = value
    for name in holders:
        holder = holder[name]
    how = draw(st.sampled_from(["replace"] * 6 + ["remove", "rename", "repeat", "wrap"]))
    if how == "remove":
        del holder[key]
    elif how == "rename" and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    elif how == "repeat" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    else:
        holder[key] = [holder[key]] if how == "wrap" else draw(odd)
    return value


@st.composite
def mangled(draw: Draw, data: bytes) -> bytes:
    """The bytes cut, with a bit flipped, some removed or inserted, a line dropped or repeated, or all changed."""
    lines = data.split(b"\n")
    at, line = pick(draw, range(len(data) + 1)), pick(draw, range(len(lines)))
    how = draw(st.sampled_from(["flip"] * 4 + ["insert"] * 2 + ["cut", "remove", "line", "whole"]))
    if how == "cut":
        return data[:at]
    if how == "flip":
        return data[:at] + bytes([byte ^ 1 << draw(st.integers(0, 7)) for byte in data[at : at + 1]]) + data[at + 1 :]
    if how in ("remove", "insert"):
        return data[:at] + (draw(PIECES) + data[at:] if how == "insert" else data[at + draw(st.integers(1, 30)) :])
    if how == "line":
        return b"\n".join(lines[:line] + lines[line : line + 1] * draw(st.sampled_from([0, 2])) + lines[line + 1 :])
    return draw(st.sampled_from(WHOLE))(data)


def damage(draw: Draw, folder: Path) -> None:
    """Mangles or removes one of the files below `folder`."""
    victim = draw(st.sampled_from(sorted(path for path in folder.rglob("*") if path.is_file())))
    content = victim.read_bytes()
    victim.unlink()
    if draw(st.integers(0, 9)):
        victim.write_bytes(draw(mangled(content)))


def _files(folder: Path, but: Path) -> dict[Path, tuple[int, int]]:
    paths = [path for path in folder.rglob("*") if path != but and but not in path.parents]
    states = {path: path.lstat() for path in paths}
    return {path: (s.st_size, s.st_mtime_ns) for path, s in states.items() if not path.is_dir()}


def accepted(main: Callable[[list[str]], int], arguments: list[str], folder: Path) -> bool:
    """Whether `main` ends with exit code 0, else with 2 and one line; AssertionError for anything else.

    It works in an empty folder and leaves all beside `folder`/out as it was.
    """
    (folder / "cwd").mkdir(exist_ok=True)
    # As strict as real streams: half a surrogate pair cannot be written to stdout.
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    stderr = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    before = _files(folder, folder / "out")
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), contextlib.chdir(folder / "cwd"):
        code = main(arguments)
    printed = stderr.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
    assert "Traceback" not in printed, printed
    errors = [line for line in re.split(r"[\r\n]+", printed) if line.startswith("error:")]
    assert (code, len(errors)) in ((0, 0), (2, 1)), (code, printed)
    for line in errors:
        assert 15 < len(line) < 2000 and line.isprintable() and printed.endswith(line + "\n"), printed
    assert _files(folder, folder / "out") == before
    return code == 0


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
