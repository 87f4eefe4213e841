"""A user's own training files, and what they say, read a second time without the project's readers.

The rows are those of a JSONL file, in order; `Wrong` is raised for what is not a valid file.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.support.bad_input import ODD, Draw, altered, mangled, pick

Row = dict[str, Any]
LABELS = ["no", "yes"]  # of classification


class Wrong(Exception):
    """The file must be refused."""


def need(condition: object) -> None:
    if not condition:
        raise Wrong


def storable(text: object) -> bool:
    """A text without half a surrogate pair."""
    return isinstance(text, str) and not re.search("[\ud800-\udfff]", text)


def seen(text: object) -> bool:
    return storable(text) and bool(str(text).strip())


def whole(value: object) -> int:
    need(re.fullmatch("[0-9]{1,4000}", value) if isinstance(value, str) else type(value) is int)
    return int(value)  # type: ignore[call-overload, no-any-return]


def lines(data: bytes) -> list[str]:
    """Lines that are not empty."""
    try:
        return [line.removesuffix("\r") for line in data.decode("utf-8-sig").split("\n") if line.strip()]
    except UnicodeDecodeError:
        raise Wrong from None


def json_lines(data: bytes) -> list[Row]:
    try:
        rows = [json.loads(line) for line in lines(data)]
    except (ValueError, RecursionError):
        raise Wrong from None
    need(all(isinstance(row, dict) for row in rows) and storable(json.dumps(rows, ensure_ascii=False)))
    return rows


def two_columns(data: bytes) -> list[Row]:
    fields = [line.split("\t") for line in lines(data)]
    need(all(len(one) == 2 for one in fields))
    return [{"words": [w for w in a.split(" ") if w], "tags": [t for t in b.split(" ") if t]} for a, b in fields]


def named(label: Any, labels: list[str]) -> Any:
    """The name of a label given by its name or its index."""
    label = str(label) if type(label) is int else label
    if isinstance(label, str) and label not in labels and label.isdecimal() and int(label) < len(labels):
        return labels[int(label)]
    return label


def checked(kind: str, row: Row) -> Row:
    """A row, checked and without fields that mean nothing."""
    if kind == "classify":
        a, b, label = row.get("text_a"), row.get("text_b"), named(row.get("label"), LABELS)
        need(seen(a) and (b is None or seen(b)) and isinstance(label, str) and label in LABELS)
        return {"text_a": a, "text_b": b, "label": label}
    if kind == "span":
        question, context, answers = row.get("question"), row.get("context"), row.get("answers")
        need(seen(question) and seen(context) and isinstance(answers, list) and storable(str(row.get("id"))))
        clean = []
        for answer in answers or []:
            need(isinstance(answer, dict) and seen(answer.get("text")))
            start = whole(answer.get("start"))
            need(start >= 0 and str(context)[start:].startswith(answer["text"]))
            clean.append({"text": answer["text"], "start": start})
        return {"question": question, "context": context, "answers": clean, "id": row.get("id")}
    if kind == "choice":
        choices, label = row.get("choices"), whole(row.get("label"))
        need(seen(row.get("prompt")) and isinstance(choices, list) and all(map(seen, choices)))
        need(0 <= label < len(row["choices"]) and 2 <= len(row["choices"]) <= 26)
        return {"prompt": row["prompt"], "choices": choices, "label": label}
    if kind == "tag":
        words, tags = row.get("words"), row.get("tags")
        need(isinstance(words, list) and isinstance(tags, list) and words and len(words) == len(row["tags"]))
        tags = [named(tag, []) for tag in row["tags"]]
        need(all(map(seen, row["words"] + tags)))
        return {"words": words, "tags": tags}
    fields = ("query", "passage") if kind == "pair" else ("text",)
    need(all(seen(row.get(field)) for field in fields))
    return {field: row[field] for field in fields}


class Form(NamedTuple):
    """A task type, the suffix of its files, a clean file, and how it is parsed into rows."""

    kind: str
    suffix: str
    clean: bytes
    parse: Callable[[bytes], list[Row]]

    def read(self, data: bytes) -> list[Row]:
        rows = self.parse(data)
        need(rows)
        return [checked(self.kind, row) for row in rows]


def jsonl(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


SPANS = [
    {"question": "who runs", "context": "the small dog runs", "answers": [{"text": "dog", "start": 10}], "id": "q1"},
    {"question": "who", "context": "a horse", "answers": []},
]
PAIR = {"text_a": "a dog", "text_b": "b", "label": "yes"}
FORMS = [
    Form("classify", "jsonl", jsonl(PAIR, {"text_a": "c", "label": "no"}), json_lines),
    Form("span", "jsonl", jsonl(*SPANS), json_lines),
    Form("choice", "jsonl", jsonl({"prompt": "a", "choices": ["runs", "b", "c"], "label": 1}), json_lines),
    Form("tag", "jsonl", jsonl({"words": ["a", "dog"], "tags": ["D", "N"]}), json_lines),
    Form("tag", "tsv", b"a small dog\tD A N\nrun\tV\n", two_columns),
    Form("mlm", "jsonl", jsonl({"text": "the old house near the river"}, {"text": "a letter"}), json_lines),
    Form("mlm", "txt", b"the old house\n\nder kleine Hund\n", lambda data: [{"text": line} for line in lines(data)]),
    Form("pair", "jsonl", jsonl({"query": "who runs", "passage": "the small dog"}), json_lines),
]


@st.composite
def spoilt(draw: Draw, data: bytes) -> bytes:
    """The bytes mangled, or a field changed: a place in a line of JSON, or what tabs and spaces divide."""
    if draw(st.booleans()):
        return bytes(draw(mangled(data)))
    lines = data.splitlines()
    number = draw(st.integers(0, len(lines) - 1))
    if data.startswith(b"{"):
        text = json.dumps(draw(altered(json.loads(lines[number]))), ensure_ascii=draw(st.booleans()))
    else:
        fields = re.split(r"([\t ])", lines[number].decode())
        fields[pick(draw, range(0, len(fields), 2))] = str(draw(ODD))
        text = "".join(fields)
    lines[number] = text.encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + b"\n"
