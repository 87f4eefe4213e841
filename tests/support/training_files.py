"""Small training files as users, upstream and the Hub write them, spoilt, and how each is read a second time."""

import io
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tests.support import second_reading as second
from tests.support.damage import ODD, Draw, altered, mangled, pick


def jsonl(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(table: pa.Table | dict[str, list[Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(table), sink)
    return sink.getvalue()


class Format(NamedTuple):
    """A dataset ("mine": a user's own), its training and dev file, what is in both, and its second reading.

    parse: bytes to raw rows; row: a raw row as one of a user's own file, None where it has no gold label.
    """

    dataset: str
    kind: str
    labels: list[str]
    files: tuple[str, str]
    clean: bytes
    parse: Callable[[bytes], list[second.Row]]
    row: Callable[[second.Row], second.Row | None] = dict

    def read(self, data: bytes) -> list[second.Row]:
        """The rows of a file; `Wrong` for one that must be refused."""
        try:
            rows = [row for raw in self.parse(data) if (row := self.row(raw)) is not None]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OSError, pa.ArrowException):
            raise second.Wrong from None
        if self.dataset != "mine":
            rows = [row for row in rows if not second.empty(row)]
        second.need(rows)
        return [second.own(self.kind, row, self.labels) for row in rows]


def own(kind: str, suffix: str, parse: Callable[[bytes], list[second.Row]], clean: bytes) -> Format:
    return Format("mine", kind, ["no", "yes"], (f"train.{suffix}", f"dev.{suffix}"), clean, parse)


def hub(
    dataset: str, kind: str, folder: str, dev: str, row: Callable[[second.Row], second.Row], **table: Any
) -> Format:
    files = (f"{folder}/train-00000-of-00001.parquet", f"{folder}/{dev}-00000-of-00001.parquet")

    def parse(data: bytes) -> list[second.Row]:
        return list(pq.read_table(io.BytesIO(data), columns=list(table)).to_pylist())

    return Format(dataset, kind, second.NLI if kind == "classify" else [], files, parquet(table), parse, row)


SPANS = [
    {"question": "who runs", "context": "the small dog runs", "answers": [{"text": "dog", "start": 10}], "id": "q1"},
    {"question": "who", "context": "a horse", "answers": []},
]
NLI = [{"gold_label": label, "sentence1": "a small dog", "sentence2": "runs"} for label in (*second.NLI, "-")]
ANSWERED = {"id": "1", "question": "who", "answers": [{"text": "dog", "answer_start": 2}], "is_impossible": False}
IMPOSSIBLE = {"id": "2", "question": "why", "answers": [], "is_impossible": True}
SQUAD = jsonl({"data": [{"paragraphs": [{"context": "a dog runs", "qas": [ANSWERED, IMPOSSIBLE]}]}]})
QQP = b'id\tquestion1\tquestion2\tis_duplicate\n1\ta "dog\truns\t0\n2\tb\tc\t1\n'
MNLI_FILES = ("multinli_1.0_train.jsonl", "multinli_1.0_dev_matched.jsonl")
FORMATS = {
    "own": [
        own("classify", "jsonl", second.json_lines, jsonl(
            {"text_a": "a dog", "text_b": "b", "label": "yes"}, {"text_a": "c", "label": "no"})),
        own("span", "jsonl", second.json_lines, jsonl(*SPANS)),
        own("choice", "jsonl", second.json_lines, jsonl({"prompt": "a", "choices": ["runs", "b", "c"], "label": 1})),
        own("tag", "jsonl", second.json_lines, jsonl({"words": ["a", "dog"], "tags": ["D", "N"]})),
        own("tag", "tsv", second.two_columns, b"a small dog\tD A N\nrun\tV\n"),
        own("mlm", "jsonl", second.json_lines, jsonl({"text": "the old house near the river"}, {"text": "a letter"})),
        own("mlm", "txt", second.text_lines, b"the old house\n\nder kleine Hund\n"),
        own("pair", "jsonl", second.json_lines, jsonl({"query": "who runs", "passage": "the small dog"})),
    ],
    "upstream": [
        Format("mnli", "classify", second.NLI, MNLI_FILES, jsonl(*NLI), second.json_lines, second.nli),
        Format("qqp", "classify", second.QQP, ("QQP/train.tsv", "QQP/dev.tsv"), QQP, second.table, second.qqp),
        Format("squad_v2", "span", [], ("train-v2.0.json", "dev-v2.0.json"), SQUAD, second.squad_json, second.squad),
    ],
    "hub": [
        hub("mnli", "classify", "nyu-mll/glue/mnli", "validation_matched", second.hub_mnli,
            premise=["a dog", "a", "b"], hypothesis=["runs", "b", "c"], label=[0, 1, 2]),
    ],
}  # fmt: skip
TYPES: list[pa.Array] = [pa.array([value]) for value in (
    1.5, 1.0, float("nan"), True, b"\xff", 2**40, -1, 2, "", " ", "\x00", "7", "x" * 5000, None, ["a"], {"a": 1}, "0",
    {"text": ["a"], "answer_start": [0.5]}, {"text": [None], "answer_start": [0]}, {"text": ["a"], "answer_start": [2]},
)]  # fmt: skip
TYPES += [pa.array([0], kind) for kind in (pa.timestamp("s"), pa.uint64(), pa.duration("ns"))]
TYPES += [pa.array(["x"]).dictionary_encode(), pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))]
NAMES = [b"3", b"[]", b"[1, null]", b'["a", "b", "c"]']
METADATA = [b"", b"{", b"[]", b"null", b'{"info": null}', b"\xff", b"[" * 100_000]
METADATA += [b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": %s}}}}' % names for names in NAMES]


def spoilt(draw: Draw, data: bytes) -> bytes:
    """The bytes mangled, or a field changed: a column, a place in a line of JSON, what tabs or commas divide."""
    if draw(st.booleans()):
        return bytes(draw(mangled(data)))
    if data.startswith(b"PAR1"):
        return parquet(_spoilt_table(draw, pq.read_table(io.BytesIO(data))))
    lines = data.splitlines()
    number = draw(st.integers(0, len(lines) - 1))
    if data.startswith(b"{"):
        text = json.dumps(draw(altered(json.loads(lines[number]))), ensure_ascii=draw(st.booleans()))
        lines[number] = text.encode("utf-8", "surrogatepass")
    else:
        fields = re.split(rb"([\t, ])", lines[number])
        fields[pick(draw, range(0, len(fields), 2))] = str(draw(ODD)).encode("utf-8", "surrogatepass")
        lines[number] = b"".join(fields)
    return b"\n".join(lines) + b"\n"


def _spoilt_table(draw: Draw, table: pa.Table) -> pa.Table:
    column = draw(st.sampled_from(table.column_names))
    index, values = table.column_names.index(column), table[column].to_pylist()
    others = [None, *(one[0].as_py() for one in TYPES if one.type == table[column].type)]
    other = pa.concat_arrays([draw(st.sampled_from(TYPES))] * table.num_rows)
    changes: dict[str, Callable[[], pa.Table]] = {
        "drop": lambda: table.remove_column(index),
        "rename": lambda: table.rename_columns([f"{name}x" if name == column else name for name in table.column_names]),
        "twice": lambda: table.append_column(column, table[column]),
        "no rows": lambda: table.slice(0, 0),
        "type": lambda: table.set_column(index, column, other),
        "value": lambda: table.set_column(
            index, column, pa.array([*values[:-1], draw(st.sampled_from(others))], table[column].type)
        ),
        "metadata": lambda: table.replace_schema_metadata({b"huggingface": draw(st.sampled_from(METADATA))}),
    }
    return changes[draw(st.sampled_from([*changes, "type", "value"]))]()
