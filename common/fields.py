"""Checked access to the fields of a raw row; `InputError` names file, row, field and what was expected."""

from collections.abc import Sequence
from typing import Any

from common.errors import InputError

RawRow = dict[str, Any]
Labels = Sequence[str]


class EmptyText(InputError):
    """A text without visible characters: an error in a user's file, dropped and counted in public datasets."""


def shorten(value: object) -> str:
    """The repr of `value` for a one-line message, truncated to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def wrong(where: str, field: str, expected: str, found: object) -> InputError:
    """The error for a field of a row that holds something else than was expected."""
    return InputError(f"{where}: field `{field}`: expected {expected}, found {shorten(found)}")


def check_text(text: str, field: str, where: str) -> None:
    """Raises `EmptyText` for a text without a visible character."""
    if not text or text.isspace():
        raise EmptyText(f"{where}: field `{field}`: expected a text, found {text!r}")


def get(row: RawRow, name: str, where: str) -> Any:
    return row[column(row, (name,), where)]


def column(row: RawRow, names: Sequence[str], where: str) -> str:
    """The one of `names` (the canonical first, then those of the Hub's datasets) that the row has.

    The canonical one wins; `InputError` if there is none, or if several of the others are there.
    """
    present = [name for name in names if name in row]
    if not present:
        others = f" (or {', '.join(names[1:])})" if len(names) > 1 else ""
        raise InputError(
            f"{where}: field `{names[0]}`{others} is missing; there: {', '.join(map(str, row))[:300] or 'nothing'}"
        )
    if present[0] != names[0] and len(present) > 1:
        raise InputError(f"{where}: {' and '.join(f'`{n}`' for n in present)} could be `{names[0]}`: rename one")
    return present[0]


def text(row: RawRow, name: str, where: str) -> str:
    value = get(row, name, where)
    if not isinstance(value, str):
        raise wrong(where, name, "a text", value)
    return value


def texts(row: RawRow, name: str, where: str) -> list[str]:
    value = get(row, name, where)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong(where, name, "a list of texts", value)
    return value


def number(value: Any, name: str, where: str) -> int:
    # HellaSwag's Hub copy and every CSV hold numbers as text; True would pass as 1.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise wrong(where, name, "a whole number", value)


def named(value: Any, names: Labels, field: str, where: str) -> str:
    """The name of a label that is given by its number or by its name."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < len(names):
            raise wrong(where, field, f"0 to {len(names) - 1} ({', '.join(names)})", value)
        return names[value]
    if not isinstance(value, str):
        raise wrong(where, field, "a text", value)
    return value


def withheld(value: Any, where: str) -> Any:
    if value in (None, "", -1, "-1"):
        raise InputError(f"{where}: this copy has no labels (found {value!r}): a test split? expected train and dev")
    return value


def label_name(value: Any, where: str, labels: Labels) -> str:
    """The name of a label of a user's own file: by name, or by index where not all names are numbers."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    is_index = (
        isinstance(text, str) and text.isdecimal() and len(text) < 20 and text not in labels and int(text) < len(labels)
    )
    if is_index and not all(name.isdecimal() for name in labels):
        text = int(text)
    return named(text, labels, "label", where)


def label(name: str, where: str, labels: Labels) -> int:
    if name not in labels:
        raise InputError(f"{where}: label: expected one of {', '.join(labels)}, found {shorten(name)}")
    return labels.index(name)


def answers(row: RawRow, start: str, where: str) -> tuple[tuple[str, int], ...]:
    """`answers` as (text, first character): a list of {text, `start` or answer_start}, or the Hub's

    {"text": [...], "answer_start": [...]}.
    """
    found, inside = get(row, "answers", where), f"{where}: field `answers`"
    if isinstance(found, dict):
        given, starts = texts(found, "text", inside), get(found, "answer_start", inside)
        if not isinstance(starts, list) or len(starts) != len(given):
            raise InputError(f"{inside}: expected as many `answer_start` as `text`")
        found = [{"text": one, "answer_start": at} for one, at in zip(given, starts, strict=True)]
    if not isinstance(found, list) or not all(isinstance(answer, dict) for answer in found):
        raise wrong(where, "answers", f"a list of {{text, {start}}}", found)
    key = "answer_start" if found and "answer_start" in found[0] else start
    return tuple((text(a, "text", where), number(get(a, key, where), key, where)) for a in found)
