"""Damaged test data of the targets: whatever stands in a file, it is read or refused in one line, never a traceback."""

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from eval.read import read
from eval.suites import TARGETS

LINE = 1500  # characters of a message at most, the names of files and columns in it
LONG_DIGITS = "9" * 5000  # more than int() takes by default
CONTEXT = "One two. Three four five."
QUESTION = {"id": "q1", "question": "What?", "answers": [{"text": "Three", "answer_start": 9}]}
SQUAD = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": [QUESTION]}]}]}
LAREQA = {"data": [{"paragraphs": [{"context": CONTEXT, "sentence_breaks": [[0, 8], [9, 25]], "qas": [QUESTION]}]}]}
SPANS = [{"start": 0, "end": 8}, {"start": 9, "end": 25}]
MENTION = {"example_id": "m1", "entity_id": "Q1", "mention_span": {"start": 9, "end": 14, "text": "Three"}}
MENTIONS = {"context": {"language": "de", "text": CONTEXT, "sentence_spans": SPANS}, "mentions": [MENTION]}
ENTITY = {"entity_id": "Q1", "description": CONTEXT, "sentence_spans": SPANS, "description_language": "de"}
XCOPA = {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 1, "idx": 0, "changed": False}

# Target: {file: what is in it}, one of which is damaged; a list is a file of JSON lines.
FILES: dict[str, dict[str, Any]] = {
    "xquad": {"xquad.de.json": SQUAD},
    "mlqa": {"test-context-de-question-de.json": SQUAD},
    "lareqa": {"xquad-r/de.json": LAREQA, "xquad-r/en.json": LAREQA},
    "mewslix": {"wikinews_mentions-test.jsonl": [MENTIONS], "candidate_set_entities.jsonl": [ENTITY]},
    "xcopa": {"xcopa/test.et.jsonl": [XCOPA, XCOPA]},
}
TEXT = st.text(max_size=5) | st.sampled_from(["\ud800", "\x00", "a" * 3000, LONG_DIGITS, "-1", "²"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("text") | TEXT, inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def write(folder: Path, files: dict[str, Any]) -> None:
    for name, value in files.items():
        rows = value if isinstance(value, list) else [value]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, inner in items for path in ((*at, key), *paths(inner, (*at, key)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with `new` at `path`; without what is there if `new` is `...`."""
    value = holder = copy.deepcopy(value)
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = new
    if new is ...:
        del holder[path[-1]]
    return value


@pytest.mark.parametrize("target", FILES)
@settings(max_examples=60)
@given(data=st.data())
def test_any_damage_is_refused_in_one_line_or_read(target: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FILES[target])))
    path = data.draw(st.sampled_from(paths(FILES[target][name])))
    damaged = changed(FILES[target][name], path, data.draw(st.just(...) | VALUES))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), FILES[target])
        assert read(TARGETS[target], (), folder).rows  # undamaged
        write(Path(folder), {name: damaged})
        try:
            read(TARGETS[target], (), folder)
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < LINE
