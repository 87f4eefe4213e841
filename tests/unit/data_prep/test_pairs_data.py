"""Pairs for dual encoders: sentences of SQuAD's paragraphs, Mewsli-X's texts, encoding, storage."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.task_table import TASKS
from data_prep.encoding import encode
from data_prep.examples import EmptyText, Pair, validate
from data_prep.prepare import prepare
from data_prep.sentences import sentence_at, sentence_breaks
from data_prep.sources.locate import own
from data_prep.storage import store
from data_prep.storage.manifest import read as read_manifest
from data_prep.workers import Encoder, Job
from tests.support.rows import fails, find, read, write_jsonl


def xquad_r(shared) -> list[dict]:
    """English paragraphs with the sentence boundaries that LAReQA's makers published."""
    document = json.loads((shared / "data/raw/lareqa/xquad-r/en.json").read_text(encoding="utf-8"))
    return [paragraph for article in document["data"] for paragraph in article["paragraphs"]]


def test_sentences_are_those_of_lareqa(shared):
    right = wrong = missed = 0
    for paragraph in xquad_r(shared):
        gold = {tuple(pair) for pair in paragraph["sentence_breaks"]}
        mine = set(sentence_breaks(paragraph["context"]))
        right, wrong, missed = right + len(gold & mine), wrong + len(mine - gold), missed + len(gold - mine)
    f1 = 2 * right / (2 * right + wrong + missed)
    print(f"sentence boundaries of XQuAD-R: F1 {f1:.4f} ({right} right, {wrong} wrong, {missed} missed)")
    assert f1 >= 0.985


def test_pairs_of_squad_are_those_of_lareqa(shared, tmp_path):
    """XQuAD's English file is SQuAD: its questions paired with their answer's sentence and paragraph."""
    for name in ("train", "dev"):
        (tmp_path / f"{name}-v1.1.json").symlink_to(shared / "data/raw/xquad/xquad.en.json")
    pairs = {pair.id: pair for pair in read(find("lareqa", tmp_path).train)}
    same = total = 0
    for paragraph in xquad_r(shared):
        for question in paragraph["qas"]:
            begins = question["answers"][0]["answer_start"]
            (sentence,) = (paragraph["context"][a:b] for a, b in paragraph["sentence_breaks"] if a <= begins < b)
            expected = (sentence + paragraph["context"]).replace("\n", "")
            pair = pairs[question["id"]]
            assert pair.query == question["question"]
            total += 1
            same += pair.passage == expected
    assert total == 1190 and same >= 1170
    hub = {pair.id: pair for pair in read(find("lareqa", shared / "data/hub").train)}
    assert len(hub) == 1000 and all(pairs[name] == pair for name, pair in hub.items())


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab .!?\n\"'()[]ABCé1—J.U.S."), max_size=60))
def test_every_letter_is_in_one_sentence(paragraph):
    spans = list(sentence_breaks(paragraph))
    assert all(a < b for a, b in spans)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    covered = {place for a, b in spans for place in range(a, b)}
    assert {i for i, c in enumerate(paragraph) if not c.isspace()} <= covered
    for a, b in spans:
        assert paragraph[a:b] == paragraph[a:b].strip()
        assert sentence_at(paragraph, a) == paragraph[a:b]


def test_sentences_by_hand():
    def cut(text: str) -> list[str]:
        return [text[a:b] for a, b in sentence_breaks(text)]

    assert cut('Dr. A. B. Smith left. "Why?" he asked. No. 5 stayed.') == [
        "Dr. A. B. Smith left.", '"Why?" he asked.', "No. 5 stayed.",
    ]  # fmt: skip
    assert cut("He lives in the U.S. The end. It is U.S. law.[4] He said so.") == [
        "He lives in the U.S.", "The end.", "It is U.S. law.[4]", "He said so.",
    ]  # fmt: skip
    assert cut("One.\n\nTwo O\n2 more") == ["One.", "Two O\n2 more"]
    assert cut("  ") == [] and sentence_at("a. B", 2) is None


def test_pairs_of_mewsli_x(shared, tmp_path):
    rows = [json.loads(line) for line in (shared / "data/raw/mewsli_x/example_mentions.jsonl").open(encoding="utf-8")]
    text = "It is a large city. More."
    entity = {"entity_id": "Q1757", "description": text, "sentence_spans": [{"start": 0, "end": 19}]}
    pairs = [
        {"contextual_mention": {"context": row["context"], "mention": mention}, "entity": entity}
        for row in rows
        for mention in row["mentions"]
    ]
    for split in ("train", "dev"):
        write_jsonl(tmp_path / f"wikipedia_pairs-{split}.jsonl", pairs)
    found = read(find("mewslix", tmp_path).train)
    assert len(found) == 3 and {pair.passage for pair in found} == {"It is a large city."}
    (mention,) = rows[0]["mentions"]
    assert found[0].query.startswith(f"{mention['mention_span']['text']}: ")
    assert f" {{ {mention['mention_span']['text']} }} " in found[0].query
    assert found[0].id == rows[0]["mentions"][0]["example_id"]
    write_jsonl(tmp_path / "wikipedia_pairs-dev.jsonl", [{"contextual_mention": {"context": "x"}, "entity": entity}])
    fails(lambda: read(find("mewslix", tmp_path).dev), "line 1", "{contextual_mention: {context, mention}, entity}")
    # The Hub's copy holds texts that were made in the same way.
    write_jsonl(tmp_path / "wikipedia_pairs-dev.jsonl", [{"mention": "a: { a }", "entity": "b"}])
    assert read(find("mewslix", tmp_path).dev) == [Pair("", "a: { a }", "b")]


PAIRS = [
    Pair("1", "the small dog", "the old house near the river"),
    Pair("2", "a teacher", "the old house near the river"),
    Pair("3", "a letter", "the garden " * 40 + "before"),
    Pair("4", "stone " * 40, "the garden " * 40 + "after"),
]


@pytest.mark.parametrize("name", ["tiny_tokenizer_dir", "xlmr_tokenizer"])
def test_encoding_is_that_of_transformers(request, name):
    from data_prep.encoding import tokenizer

    tok = request.getfixturevalue(name)
    tok = tokenizer.load(tok) if name == "tiny_tokenizer_dir" else tok
    rows = encode.encode("pair", tok, PAIRS, 24, query_length=16)
    for pair, row in zip(PAIRS, rows, strict=True):
        query = tok(pair.query, truncation=True, max_length=16)["input_ids"]
        passage = tok(pair.passage, truncation=True, max_length=24)["input_ids"]
        assert row["input_ids"].tolist() == query + passage
        assert row["lengths"].tolist() == [len(query), len(passage)] and row["length"] == len(query + passage)
        assert row["units"] == 1
    keys = [row["passage_key"] for row in rows]
    # The same passage, or one that is the same after the cut: not a wrong answer to the other's query.
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert all(0 <= key < 2**63 for key in keys)


def test_cut_texts_are_counted(tiny_tokenizer_dir):
    from collections import Counter

    from data_prep.encoding import tokenizer

    truncated: Counter[str] = Counter()
    encode.encode("pair", tokenizer.load(tiny_tokenizer_dir), PAIRS, 24, None, truncated, 16)
    assert truncated == {"passage": 2, "query": 1}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("abc ", min_size=1, max_size=6).filter(str.strip), min_size=2, max_size=8))
def test_equal_keys_are_equal_passages(tiny_pieces, passages):
    rows = encode.encode("pair", tiny_pieces, [Pair("", "q", passage) for passage in passages], 16)
    seen = [(row["passage_key"], row["input_ids"][row["lengths"][0] :].tolist()) for row in rows]
    for key, tokens in seen:
        assert all((key == other) == (tokens == more) for other, more in seen)


@pytest.fixture(scope="session")
def tiny_pieces(tiny_tokenizer_dir):
    from data_prep.encoding import tokenizer

    return tokenizer.load(tiny_tokenizer_dir)


def test_prepared_and_read_back(tiny_tokenizer_dir, tmp_path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"id": p.id, "query": p.query, "passage": p.passage} for p in PAIRS])
    with Encoder(str(tiny_tokenizer_dir), 1) as encoder:
        located = own("pair", str(path), str(path), "mine")
        job = Job("mine", "pair", None, "en", 24, 16)
        prepared, built = prepare(job, located, tmp_path / "data", encoder)
        expected = encode.encode("pair", encoder.tokenizer, PAIRS, 24, query_length=16)
        assert built and prepared.labels is None
        for row, mine in zip(prepared.train.take(range(4)), expected, strict=True):
            assert row["input_ids"].tolist() == mine["input_ids"].tolist()
            assert row["lengths"].tolist() == mine["lengths"].tolist() and row["passage_key"] == mine["passage_key"]
        prepared.verify(len(encoder.tokenizer))
        manifest = read_manifest(prepared.path)
        assert (manifest["max_length"], manifest["query_length"]) == (24, 16)
        assert manifest["splits"]["train"]["truncated"] == {"passage": 2, "query": 1}
        same = [store.encoding_key("mine", "pair", None, 24, encoder.fingerprint, q) for q in (16, 16, None, 24)]
        assert same[0] == same[1] != same[2] == same[3] and prepared.path.name.startswith(same[0])
        fails(lambda: prepare(Job("mine", "pair", None, "en", 24, 9), located, tmp_path / "d", encoder), "at least 12")
        message = "query_length 600 is more than the tokenizer's 512"
        fails(lambda: prepare(Job("mine", "pair", None, "en", 24, 600), located, tmp_path / "d", encoder), message)


def test_columns_that_cannot_be_trained_on_are_found(tmp_path):
    row = {"input_ids": [0, 5, 2, 0, 6, 2], "lengths": [3, 3], "length": 6, "units": 1, "example": 0, "passage_key": 7}

    def problem(**more) -> str | None:
        columns = store.schema("pair", "train")
        store.write_table(tmp_path / "x.arrow", [store.to_batch([{**row, **more}], columns)], columns)
        return store.Split(tmp_path / "x.arrow").problem(None, 10)

    assert problem() is None
    assert "passage_key" in str(problem(passage_key=-1))
    assert "a query and a passage" in str(problem(lengths=np.array([6], np.int32)))
    assert "vocabulary" in str(problem(input_ids=[0, 5, 2, 0, 66, 2]))


def test_a_pair_needs_both_texts():
    for pair in (Pair("", " ", "a"), Pair("", "a", "")):
        with pytest.raises(EmptyText):
            validate(pair, "f: line 1")
    fails(lambda: validate(Pair("", "a", "\ud800"), "f"), "field `passage`", "surrogate")


def test_lengths_of_the_tasks():
    """XTREME-R's train_lareqa.sh and train_mewslix.sh."""
    assert (TASKS["lareqa"].query_length, TASKS["mewslix"].query_length) == (96, 64)
