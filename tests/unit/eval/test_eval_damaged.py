"""Damaged test data of the targets: whatever stands in a file, it is read or refused in one line, never a traceback."""

import copy
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from common.errors import InputError
from eval.read import read
from eval.suites import TARGETS
from tests.support.fuzz_mutate import LONG_DIGITS, alter
from tests.support.rows import fails, write_jsonl

LINE = 1500  # characters of a message at most, the names of files and columns in it
CONTEXT = "One two. Three four five."
QUESTION = {"id": "q1", "question": "What?", "answers": [{"text": "Three", "answer_start": 9}]}
SQUAD = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": [QUESTION]}]}]}
BREAKS = [[0, 8], [9, 25]]
LAREQA = {"data": [{"paragraphs": [{"context": CONTEXT, "sentence_breaks": BREAKS, "qas": [QUESTION]}]}]}
SPANS = [{"start": 0, "end": 8}, {"start": 9, "end": 25}]
MENTION = {"example_id": "m1", "entity_id": "Q1", "mention_span": {"start": 9, "end": 14, "text": "Three"}}
MENTIONS = {"context": {"language": "de", "text": CONTEXT, "sentence_spans": SPANS}, "mentions": [MENTION]}
ENTITY = {"entity_id": "Q1", "description": CONTEXT, "sentence_spans": SPANS, "description_language": "de"}
XCOPA = {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 1, "idx": 0, "changed": False}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


# Target: [(file, what is in it)], one of which is damaged; a list is a file of JSON lines.
FILES: dict[str, list[tuple[str, Any]]] = {
    "xquad": [("xquad.de.json", SQUAD)],
    "mlqa": [("test-context-de-question-de.json", SQUAD)],
    "lareqa": [("xquad-r/de.json", LAREQA), ("xquad-r/en.json", LAREQA)],
    "mewslix": [("wikinews_mentions-test.jsonl", [MENTIONS]), ("candidate_set_entities.jsonl", [ENTITY])],
    "xcopa": [("xcopa/test.et.jsonl", [XCOPA, XCOPA])],
}


def write(folder: Path, files: list[tuple[str, Any]]) -> None:
    for name, value in files:
        (write_jsonl if isinstance(value, list) else write_json)(folder / name, value)


@pytest.mark.parametrize("target", FILES)
def test_any_damage_is_refused_in_one_line_or_read(tmp_path: Path, target: str) -> None:
    write(tmp_path, FILES[target])
    assert read(TARGETS[target], (), str(tmp_path)).rows  # undamaged
    rng, found = random.Random(target), Counter()
    for _ in range(150):
        files = list(FILES[target])
        number = rng.randrange(len(files))
        what, value = alter(files[number][1], rng)
        files[number] = (files[number][0], value if type(value) is type(files[number][1]) else files[number][1])
        write(tmp_path, files)
        try:
            read(TARGETS[target], (), str(tmp_path))
            found["read"] += 1
        except InputError as error:
            assert "\n" not in str(error), what
            assert len(str(error)) < LINE, what
            found["refused"] += 1
    assert min(found["read"], found["refused"]) > 5, found


def changed(value: Any, new: Any, *path: Any) -> Any:
    value = copy.deepcopy(value)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = new
    return value


QAS = ("data", 0, "paragraphs", 0, "qas", 0)


@pytest.mark.parametrize("answers", [0.5, 3, True, "Three", {"text": 1, "answer_start": [0]}, ["Three"]])
def test_answers_that_are_none(tmp_path: Path, answers: Any) -> None:
    write(tmp_path, [("xquad.de.json", changed(SQUAD, answers, *QAS, "answers"))])
    fails(lambda: read(TARGETS["xquad"], ("de",), str(tmp_path)), "xquad.de.json: data[0].paragraphs[0]", "`answers`")


def test_a_sentence_break_beyond_all_numbers(tmp_path: Path) -> None:
    write(tmp_path, [("xquad-r/de.json", changed(LAREQA, [[0, float("inf")]], *QAS[:4], "sentence_breaks"))])
    fails(lambda: read(TARGETS["lareqa"], ("de",), str(tmp_path)), "`sentence_breaks`: expected pairs")


@pytest.mark.parametrize("mention", [True, None, "Three", 5])
def test_a_mention_that_is_none(tmp_path: Path, mention: Any) -> None:
    write(tmp_path, [(FILES["mewslix"][0][0], [changed(MENTIONS, mention, "mentions", 0)]), FILES["mewslix"][1]])
    fails(lambda: read(TARGETS["mewslix"], ("de",), str(tmp_path)), "wikinews_mentions-test.jsonl: line 1", "mentions")


def test_a_label_of_thousands_of_digits(tmp_path: Path) -> None:
    name, rows = FILES["xcopa"][0]
    write(tmp_path, [(name, [*rows * 30, {**XCOPA, "label": LONG_DIGITS}])])
    fails(lambda: read(TARGETS["xcopa"], ("et",), str(tmp_path)), "test.et.jsonl: line 61", "label")


def test_a_line_number_of_thousands_of_digits(tmp_path: Path) -> None:
    (tmp_path / "tatoeba").mkdir()
    lines = [f"{number:03}" for number in range(60)]
    for name, some in (("de-en.de", lines), ("de-en.en", lines), ("test-de.tsv", ["0"] * 59 + [LONG_DIGITS])):
        (tmp_path / "tatoeba" / name).write_text("".join(f"{line}\n" for line in some))
    fails(lambda: read(TARGETS["tatoeba"], ("de",), str(tmp_path)), "test-de.tsv: line 60", "number of a sentence")
