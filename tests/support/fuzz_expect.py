"""What a file says, read a second time without the project's readers and converters: the oracle of accepted cases.

`own` and `public` give the examples in order, or raise `Wrong` where a file must be refused. The rows are then compared
with `data_prep.encode`, which tests/unit/data_prep/test_encode.py holds against transformers.
"""

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

from data_prep.examples import Choice, Classify, Example, Span, Tag, Text

NLI = ("entailment", "neutral", "contradiction")


class Wrong(Exception):
    """The file is not a valid one."""


def _need(condition: object) -> None:
    if not condition:
        raise Wrong


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Wrong from None


def _lines(data: bytes) -> list[str]:
    lines = [line.removesuffix("\r") for line in _decode(data).split("\n")]
    return lines if lines[-1] else lines[:-1]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Wrong from None


def _json_lines(data: bytes) -> list[dict[str, Any]]:
    rows = [_json(line) for line in _lines(data) if line.strip()]
    _need(all(isinstance(row, dict) for row in rows))
    return rows


def unicode(text: object) -> bool:
    """A string that can be stored: no half of a surrogate pair."""
    return isinstance(text, str) and not re.search("[\ud800-\udfff]", text)


def _seen(text: object) -> bool:
    return unicode(text) and bool(str(text).strip())


def _whole(value: object) -> int:
    if isinstance(value, str):
        _need(re.fullmatch("[0-9]{1,4000}", value))
        return int(value)
    _need(isinstance(value, int) and not isinstance(value, bool))
    return int(value)  # type: ignore[call-overload]


def own(kind: str, data: bytes, suffix: str, labels: list[str]) -> list[Example]:
    """The examples of a user's own file of this kind."""
    if suffix == ".txt":
        rows: list[dict[str, Any]] = [{"text": line} for line in _lines(data) if line.strip()]
    elif suffix == ".tsv":
        rows = []
        for line in filter(str.strip, _lines(data)):
            _need(line.count("\t") == 1)
            words, tags = line.split("\t")
            rows.append({"words": [w for w in words.split(" ") if w], "tags": [t for t in tags.split(" ") if t]})
    else:
        rows = _json_lines(data)
    _need(rows)
    return [_OWN[kind](row, labels) for row in rows]


def _classify(row: dict[str, Any], labels: list[str]) -> Example:
    a, b = row.get("text_a"), row.get("text_b")
    _need(_seen(a) and (b is None or _seen(b)) and isinstance(row.get("label"), str) and row["label"] in labels)
    return Classify("", str(a), b, labels.index(row["label"]))


def _span(row: dict[str, Any], labels: list[str]) -> Example:
    answers = row.get("answers")
    _need(_seen(row.get("question")) and _seen(row.get("context")) and isinstance(answers, list))
    _need(row.get("id") is None or unicode(str(row["id"])))
    found = []
    for answer in answers or []:
        _need(isinstance(answer, dict) and _seen(answer.get("text")) and "start" in answer)
        start = _whole(answer["start"])
        _need(start >= 0 and row["context"][start : start + len(answer["text"])] == answer["text"])
        found.append((answer["text"], start))
    return Span(str(row.get("id") or ""), row["question"], row["context"], tuple(found))


def _choice(row: dict[str, Any], labels: list[str]) -> Example:
    choices, label = row.get("choices"), _whole(row.get("label"))
    _need(_seen(row.get("prompt")) and isinstance(choices, list) and all(map(_seen, choices)))
    _need(2 <= len(row["choices"]) <= 5 and 0 <= label < len(row["choices"]))
    return Choice("", row["prompt"], tuple(row["choices"]), label)


def _tag(row: dict[str, Any], labels: list[str]) -> Example:
    words, tags = row.get("words"), row.get("tags")
    _need(isinstance(words, list) and isinstance(tags, list) and words and len(words) == len(tags or []))
    _need(all(map(_seen, words or [])) and all(map(_seen, tags or [])))
    return Tag("", tuple(row["words"]), tuple(row["tags"]))


def _text(row: dict[str, Any], labels: list[str]) -> Example:
    _need(_seen(row.get("text")))
    return Text("", row["text"])


_OWN: dict[str, Callable[[dict[str, Any], list[str]], Example]] = {
    "classify": _classify, "span": _span, "choice": _choice, "tag": _tag, "mlm": _text,
}  # fmt: skip


def public(name: str, data: bytes) -> list[Example]:
    """The examples of one file of a public dataset (`name`: see `_PUBLIC`); rows without a visible text are dropped."""
    examples = []
    for row in _ROWS[name](data):
        try:
            example = _PUBLIC[name](row)
        except (KeyError, TypeError, IndexError, AttributeError):
            raise Wrong from None
        if example is not None and all(text.strip() for text in _texts(example)):
            examples.append(example)
    _need(examples)
    return examples


def _texts(example: Example) -> list[str]:
    if isinstance(example, Classify):
        return [example.text_a, "x" if example.text_b is None else example.text_b]
    if isinstance(example, Span):
        return [example.question, example.context]
    if isinstance(example, Choice):
        return [example.prompt, *example.choices]
    return list(example.words) if isinstance(example, Tag) else [example.text]


def _table(data: bytes) -> list[dict[str, Any]]:
    lines = _lines(data)
    _need(lines)
    header = lines[0].split("\t")
    fields = [line.split("\t") for line in lines[1:]]
    _need(all(len(one) == len(header) for one in fields))
    return [dict(zip(header, one, strict=True)) for one in fields]


def _comma(data: bytes) -> list[dict[str, Any]]:
    text = _decode(data).replace("\r\n", "\n")
    try:
        fields = [one for one in csv.reader(io.StringIO(text, newline=""), strict=True) if one]
    except csv.Error:
        raise Wrong from None
    _need(fields and all(len(one) == len(fields[0]) for one in fields))
    return [dict(zip(fields[0], one, strict=True)) for one in fields[1:]]


def _squad_rows(data: bytes) -> list[dict[str, Any]]:
    document = _json("\n".join(_lines(data)))
    try:
        return [
            {**question, "context": paragraph["context"]}
            for article in document["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (KeyError, TypeError):
        raise Wrong from None


def _columns(data: bytes) -> list[dict[str, Any]]:
    fields = [line.split("\t") for line in _lines(data) if line.strip()]
    _need(all(len(one) == 2 for one in fields))
    return [{"words": [w for w in a.split(" ") if w], "tags": [t for t in b.split(" ") if t]} for a, b in fields]


def _auto(data: bytes) -> list[dict[str, Any]]:
    rows = []
    for line in _lines(data):
        if line.startswith("ID=") or not line.strip():
            continue
        leaves = [leaf.split() for leaf in re.findall(r"<L ([^<>]*)>", line)]
        _need(leaves and all(len(leaf) == 5 for leaf in leaves))
        rows.append({"words": [leaf[3] for leaf in leaves], "tags": [leaf[0] for leaf in leaves]})
    return rows


def _squad(row: dict[str, Any]) -> Example:
    return _span(
        {
            "question": row["question"], "context": row["context"], "id": row["id"],
            "answers": [{"text": a["text"], "start": a["answer_start"]} for a in row["answers"]],
        }, [],
    ) if row["question"].strip() and row["context"].strip() else Text("", " ")  # fmt: skip


def _hellaswag(row: dict[str, Any]) -> Example:
    _need(len(row["endings"]) == 4 and 0 <= _whole(row["label"]) < 4)
    texts = [f"{row['ctx_b']} {ending}" if row["ctx_b"] else ending for ending in row["endings"]]
    return Choice("", row["ctx_a"], tuple(texts), _whole(row["label"]))


def _cosmos(row: dict[str, Any]) -> Example | None:
    if not row["context"].strip() or not row["question"].strip():
        return None
    _need(0 <= _whole(row["label"]) < 4)
    choices = tuple(row[f"answer{i}"] for i in range(4))
    return Choice("", f"{row['context']} {row['question']}", choices, _whole(row["label"]))


def _csqa(row: dict[str, Any]) -> Example:
    choices = row["question"]["choices"]
    letters = [choice["label"] for choice in choices]
    _need(len(choices) == 5 and row["answerKey"] in letters)
    texts = tuple(choice["text"] for choice in choices)
    return Choice("", row["question"]["stem"], texts, letters.index(row["answerKey"]))


def _nli(row: dict[str, Any]) -> Example | None:
    if row["gold_label"] == "-":
        return None
    _need(row["gold_label"] in NLI)
    return Classify("", row["sentence1"], row["sentence2"], NLI.index(row["gold_label"]))


def _anli(row: dict[str, Any]) -> Example:
    return Classify("", row["context"], row["hypothesis"], "enc".index(row["label"]))


def _qqp(row: dict[str, Any]) -> Example:
    return Classify("", row["question1"], row["question2"], "01".index(row["is_duplicate"]))


def _tagged(row: dict[str, Any]) -> Example:
    _need(len(row["words"]) == len(row["tags"]))
    return Tag("", tuple(row["words"]), tuple(row["tags"]))


_ROWS: dict[str, Callable[[bytes], list[dict[str, Any]]]] = {
    "mnli": _json_lines, "mnli.tsv": _table, "snli": _json_lines, "anli": _json_lines, "qqp": _table,
    "squad_v1": _squad_rows, "squad_v2": _squad_rows, "hellaswag": _json_lines, "ccg": _columns, "ccg.auto": _auto,
    "cosmosqa": _comma, "commonsenseqa": _json_lines,
}  # fmt: skip
_PUBLIC: dict[str, Callable[[dict[str, Any]], Example | None]] = {
    "mnli": _nli, "mnli.tsv": _nli, "snli": _nli, "anli": _anli, "qqp": _qqp, "squad_v1": _squad, "squad_v2": _squad,
    "hellaswag": _hellaswag, "ccg": _tagged, "ccg.auto": _tagged, "cosmosqa": _cosmos, "commonsenseqa": _csqa,
}  # fmt: skip


def hub(name: str, row: dict[str, Any]) -> Example | None:
    """The example of one row of a Hub dataset; None for one without a visible text."""
    if name in ("qqp", "mnli"):
        a, b = ("question1", "question2") if name == "qqp" else ("premise", "hypothesis")
        _need(type(row["label"]) is int and 0 <= row["label"] < (2 if name == "qqp" else 3))
        example: Example | None = Classify("", row[a], row[b], row["label"])
    elif name == "squad_v1":
        answers = row["answers"]
        _need(all(type(start) is int for start in answers["answer_start"]))
        pairs = zip(answers["text"], answers["answer_start"], strict=True)
        example = _squad({**row, "answers": [{"text": text, "answer_start": start} for text, start in pairs]})
    elif name == "hellaswag":
        example = _hellaswag(row)
    elif name == "cosmosqa":
        example = _cosmos(row)
    else:
        choices = row["choices"]
        choices = [{"label": a, "text": b} for a, b in zip(choices["label"], choices["text"], strict=True)]
        example = _csqa({**row, "question": {"stem": row["question"], "choices": choices}})
    return example if example is not None and all(text.strip() for text in _texts(example)) else None
