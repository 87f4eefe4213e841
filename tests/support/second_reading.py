"""What a training file says, read a second time without the project's readers.

The rows are those of a user's own JSONL file, in order; `Wrong` is raised for what is not a valid file.
"""

import json
import re
from typing import Any

Row = dict[str, Any]
QQP = ["not_duplicate", "duplicate"]
NLI = ["entailment", "neutral", "contradiction"]


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
    try:
        found = [line.removesuffix("\r") for line in data.decode("utf-8-sig").split("\n")]
    except UnicodeDecodeError:
        raise Wrong from None
    return found if found[-1] else found[:-1]


def parsed(text: str) -> Any:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise Wrong from None
    need(storable(json.dumps(values, ensure_ascii=False)))
    return values


def json_lines(data: bytes) -> list[Row]:
    rows = [parsed(line) for line in lines(data) if line.strip()]
    need(all(isinstance(row, dict) for row in rows))
    return rows


def table(data: bytes) -> list[Row]:
    header, *fields = [line.split("\t") for line in lines(data)] or [[]]
    need(all(len(one) == len(header) for one in fields))
    return [dict(zip(header, one, strict=True)) for one in fields]


def squad_json(data: bytes) -> list[Row]:
    articles = parsed("\n".join(lines(data)))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    return [{**question, "context": one["context"]} for one in paragraphs for question in one["qas"]]


def two_columns(data: bytes) -> list[Row]:
    fields = [line.split("\t") for line in lines(data) if line.strip()]
    need(all(len(one) == 2 for one in fields))
    return [{"words": [w for w in a.split(" ") if w], "tags": [t for t in b.split(" ") if t]} for a, b in fields]


def text_lines(data: bytes) -> list[Row]:
    return [{"text": line} for line in lines(data) if line.strip()]


def named(label: Any, labels: list[str]) -> Any:
    """The name of a label given by its name or its index."""
    label = str(label) if type(label) is int else label
    if isinstance(label, str) and label not in labels and label.isdecimal() and int(label) < len(labels):
        return labels[int(label)]
    return label


def own(kind: str, row: Row, labels: list[str]) -> Row:
    """A row of a user's own file, checked and without fields that mean nothing."""
    if kind == "classify":
        a, b, label = row.get("text_a"), row.get("text_b"), named(row.get("label"), labels)
        need(seen(a) and (b is None or seen(b)) and isinstance(label, str) and label in labels)
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


# Rows of the public datasets as a user's own; None: a row without a gold label, which is dropped.


def nli(row: Row) -> Row | None:
    if row["gold_label"] == "-":  # the rest of such a row is not read
        return None
    return {"text_a": row["sentence1"], "text_b": row["sentence2"], "label": row["gold_label"]}


def qqp(row: Row) -> Row:
    need(row["is_duplicate"] in ("0", "1"))
    return {"text_a": row["question1"], "text_b": row["question2"], "label": QQP[int(row["is_duplicate"])]}


def hub_mnli(row: Row) -> Row:
    need(type(row["label"]) is int and row["label"] >= 0)
    return {"text_a": row["premise"], "text_b": row["hypothesis"], "label": NLI[row["label"]]}


def squad(row: Row) -> Row:
    need("id" in row)
    return {**row, "answers": [{"text": answer["text"], "start": answer["answer_start"]} for answer in row["answers"]]}


def empty(row: Row) -> bool:
    """Whether a text has no visible character: such rows of the public datasets are dropped."""
    texts = [row.get(key) for key in ("text_a", "text_b", "question", "context", "prompt") if key in row]
    texts += [*row.get("choices", ()), *row.get("words", ())]
    return any(isinstance(text, str) and not text.strip() for text in texts)
