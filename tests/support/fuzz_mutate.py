"""Mutations for fuzz.py: of bytes, of JSON values, and of the files themselves. All driven by a given Random."""

import copy
import os
import random
from pathlib import Path
from typing import Any

LONG_DIGITS = "9" * 5000  # more than int() takes by default
# Values of every type and size; lone surrogates, NUL and control characters among the texts.
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 2**31, -(2**63) - 1, 10**25, 0.5, -0.0, 1e308, float("nan"), float("inf"),
    -float("inf"), "", " ", "\u00a0", "x", "yes", "0", "1", "-1", "1.0", "²", "٣", LONG_DIGITS, "\ud800", "a\udfffb",
    "\x00", "a\x00b", "\n", "\x1b[31mred", "\u2028", "../x", "/", "a" * 3000, [], [[]], ["a"], [None], [1, "a"],
    ["a", "a"], ["\ud800"], {}, {"a": 1}, {"text": "a"}, [{"text": "a", "start": 0}], {"text": [], "answer_start": []},
    {"text": ["a"], "answer_start": [True]}, [["a", 1]], "null", "NaN", "–", "😀", "e\u0301",
]  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, inner in items:
        found.append((*at, key))
        found += places(inner, (*at, key))
    return found


def alter(value: Any, rng: random.Random, pool: list[Any] = ODD) -> tuple[str, Any]:
    """(what was done, the value with one place replaced, removed, renamed, doubled or added)."""
    value = copy.deepcopy(value)
    paths = places(value)
    if not paths:
        return "replaced whole", rng.choice(pool)
    path = rng.choice(paths)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    key, how = path[-1], rng.choice(("replace",) * 6 + ("remove", "rename", "double", "wrap", "add"))
    name = ".".join(map(str, path))
    if how == "remove":
        del holder[key]
    elif how == "rename" and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    elif how == "double" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    elif how == "wrap":
        holder[key] = [holder[key]]
    elif how == "add" and isinstance(holder, dict):
        holder["extra"] = rng.choice(pool)
        name = ".".join(map(str, (*path[:-1], "extra")))
    else:
        how = "replace"
        holder[key] = rng.choice(pool)
    return f"{how} {name}", value


def mangle(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """(what was done, other bytes)."""
    at = rng.randrange(len(data) + 1)
    how = rng.choice((
        "cut", "cut", "flip", "flip", "flip", "empty", "noise", "utf-16", "latin-1", "bom", "nul", "crlf", "remove",
        "insert", "double line", "drop line", "deep", "long line", "digits", "cr", "no end", "blank lines",
    ))  # fmt: skip
    lines = data.split(b"\n")
    line = rng.randrange(len(lines))
    if how == "cut":
        return f"cut at byte {at}", data[:at]
    if how == "flip":
        at = min(at, len(data) - 1)
        bit = 1 << rng.randrange(8)
        return f"bit {bit} of byte {at} flipped", data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
    if how == "empty":
        return "emptied", rng.choice((b"", b"\n", b" ", b"\n\n\r\n"))
    if how == "noise":
        return "noise", rng.randbytes(rng.choice((1, 40, 3000)))
    if how == "utf-16":
        return how, data.decode("utf-8", "replace").encode("utf-16")
    if how == "latin-1":
        return how, data[:at] + "é".encode("latin-1") + data[at:]
    if how == "bom":
        return how, b"\xef\xbb\xbf" * rng.randint(1, 2) + data
    if how == "nul":
        return f"NUL at {at}", data[:at] + b"\x00" + data[at:]
    if how == "crlf":
        return "CRLF in some lines", b"\n".join(x + b"\r" * rng.randint(0, 1) for x in lines)
    if how == "remove":
        return f"bytes {at} and on removed", data[:at] + data[at + rng.randint(1, 30) :]
    if how == "insert":
        piece = rng.choice((b'"', b"\t", b",", b"{", b"}", b"\\", b"]", b"\n", b"\xff", b"<L ", b"\\ud83d", b"\\u0000"))
        return f"{piece!r} at {at}", data[:at] + piece + data[at:]
    if how == "double line":
        return f"line {line} doubled", b"\n".join([*lines[:line], lines[line], *lines[line:]])
    if how == "drop line":
        return f"line {line} dropped", b"\n".join([*lines[:line], *lines[line + 1 :]])
    if how == "deep":
        deep = rng.choice((b"[", b'{"a":')) * 200_000
        return f"deep nesting in line {line}", b"\n".join([*lines[:line], deep, *lines[line:]])
    if how == "long line":
        return f"line {line} of a million bytes", b"\n".join([*lines[:line], b"x" * 1_000_000, *lines[line:]])
    if how == "digits":
        return f"a number of 5000 digits at {at}", data[:at] + LONG_DIGITS.encode() + data[at:]
    if how == "cr":
        return "CR for LF", data.replace(b"\n", b"\r")
    if how == "no end":
        return "no line end", data.rstrip(b"\n")
    return "blank lines", data.replace(b"\n", b"\n\n \n")


def spoil_file(path: Path, rng: random.Random) -> str:
    """Puts something else where a file was: nothing, a folder, a link (to nowhere, itself, a device), a pipe."""
    path.unlink()
    how = rng.choice(("gone", "folder", "dangling link", "link to itself", "pipe", "link to a device"))
    if how == "folder":
        path.mkdir()
    elif how == "dangling link":
        path.symlink_to("nowhere")
    elif how == "link to itself":
        path.symlink_to(path.name)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "link to a device":
        path.symlink_to("/dev/null")
    return f"{path.name}: {how}"


def odd_name(rng: random.Random) -> str:
    """A legal file name that few expect."""
    return rng.choice((
        "a b", "a\nb", "a\tb", "-x", "--set", "'", '"', "a\\b", "*", "?[x]", "é", "e\u0301", "日本", "\x7f", "\x1b[31m",
        os.fsdecode(b"\xff\xfe"), "a" * 240, "%s{}", "$HOME", "a;b", " ", ".hidden", "hub",
    ))  # fmt: skip
