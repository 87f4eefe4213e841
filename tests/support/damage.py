"""Hypothesis strategies that spoil one thing: a place in a JSON value, the bytes of a file, the file itself.

Everything is drawn from fewer than a hundred possibilities: larger integers, floats and texts hypothesis takes in part
from the constants of whatever modules are loaded, so that the examples would depend on the tests that ran before.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
LONG_DIGITS = "9" * 5000  # more than int() takes by default
HALVES = ["\ud800", "a\udfffb"]  # of surrogate pairs: JSON can say them, UTF-8 cannot
NUMBERS: list[Any] = [
    0, 1, -1, 2, 7, 12, 64, 513, 10**4, 10**7, 2**31 - 1, 2**31, 2**32, -(2**63) - 1, 10**25, -0.0, 0.1, 0.5, 1.0, 1.5,
    -0.5, 5e-324, 1e18, 1e308, float("nan"), float("inf"), -float("inf"), True, False,
]  # fmt: skip
TEXTS: list[Any] = [
    "", " ", "\u00a0", "x", "yes", "0", "1", "-1", "1e5", "²", "٣", "nan", "null", LONG_DIGITS, *HALVES, "\x00",
    "a\x00b", "\n", "\x1b[31mred", "\u2028", "..", "../x", "/", "/etc", "~", "*", "-x", "a" * 3000, "–", "😀",
    "e\u0301", "auto",
]  # fmt: skip
NESTED: list[Any] = [
    None, [], [[]], ["a"], [None], [1, "a"], ["a", "a"], [HALVES[0]], {}, {"a": 1}, {"text": "a"},
    [{"text": "a", "start": 0}], {"text": [], "answer_start": []}, {"text": ["a"], "answer_start": [True]}, [["a", 1]],
]  # fmt: skip
ODD = st.sampled_from([*NUMBERS, *TEXTS, *NESTED])
PIECES = [
    b'"', b"\t", b",", b"{", b"}", b"\\", b"]", b"\n", b"\n\n \n", b"\r", b"<L ", b"\\ud83d", b"\\u0000", b"\x00",
    b"\xff", "é".encode("latin-1"), LONG_DIGITS.encode(), b"[" * 200_000, b'{"a":' * 200_000, b"x" * 1_000_000,
]  # fmt: skip
WHOLE: list[Callable[[bytes], bytes]] = [
    lambda data: b"", lambda data: b"\n \r\n", lambda data: bytes(range(256)), lambda data: data + data,
    lambda data: data + b"\n", lambda data: data.rstrip(b"\n"), lambda data: b"\xef\xbb\xbf" + data,
    lambda data: b"\xef\xbb\xbf" * 2 + data, lambda data: data.replace(b"\n", b"\r\n"),
    lambda data: data.replace(b"\n", b"\r"), lambda data: data.decode("utf-8", "replace").encode("utf-16"),
]  # fmt: skip
FILE_NAMES = [
    "a b", "a\nb", "-x", "--set", "'", "a\\b", "*", "?[x]", "é", "日本", "\x1b[31m", "\udcff", "a" * 240,
    "%s{}", "$HOME", " ", ".hidden", "hub",
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
    """The JSON value with one place of it replaced, removed, renamed, repeated, wrapped in a list or added to."""
    value = copy.deepcopy(value)
    places = paths(value)
    *holders, key = pick(draw, places)
    holder = value
    for name in holders:
        holder = holder[name]
    how = draw(st.sampled_from(["replace"] * 6 + ["remove", "rename", "repeat", "wrap", "add"]))
    if how == "remove":
        del holder[key]
    elif how == "rename" and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    elif how == "repeat" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    elif how == "wrap":
        holder[key] = [holder[key]]
    elif how == "add" and isinstance(holder, dict):
        holder["extra"] = draw(odd)
    else:
        holder[key] = draw(odd)
    return value


@st.composite
def mangled(draw: Draw, data: bytes) -> bytes:
    """The bytes cut, with a bit flipped, some removed or inserted, a line dropped or repeated, or all changed."""
    lines = data.split(b"\n")
    at, line = pick(draw, range(len(data) + 1)), pick(draw, range(len(lines)))
    how = draw(st.sampled_from(["cut", "flip", "flip", "remove", "insert", "insert", "line", "insert line", "whole"]))
    if how == "cut":
        return data[:at]
    if how == "flip":
        return data[:at] + bytes([byte ^ 1 << draw(st.integers(0, 7)) for byte in data[at : at + 1]]) + data[at + 1 :]
    if how == "remove":
        return data[:at] + data[at + draw(st.integers(1, 30)) :]
    if how == "insert":
        return data[:at] + draw(st.sampled_from(PIECES)) + data[at:]
    if how == "line":
        return b"\n".join(lines[:line] + lines[line : line + 1] * draw(st.sampled_from([0, 2])) + lines[line + 1 :])
    if how == "insert line":
        return b"\n".join([*lines[:line], draw(st.sampled_from(PIECES)), *lines[line:]])
    return draw(st.sampled_from(WHOLE))(data)


def replace_file(draw: Draw, path: Path) -> None:
    """Puts something else where a file was: nothing, a folder, a link to nowhere, to itself or to a device."""
    path.unlink()
    how = draw(st.sampled_from(["gone", "folder", "nowhere", path.name, "/dev/null"]))
    if how == "folder":
        path.mkdir()
    elif how != "gone":
        path.symlink_to(how)


def damage(draw: Draw, folder: Path) -> Path:
    """Spoils the bytes of one of the files below `folder`, or the file itself; returns which one."""
    victim: Path = draw(st.sampled_from(sorted(path for path in folder.rglob("*") if path.is_file())))
    if draw(st.integers(0, 9)) == 0:
        replace_file(draw, victim)
    else:
        victim.write_bytes(draw(mangled(victim.read_bytes())))
    return victim
