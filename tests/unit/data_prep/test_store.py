"""Prepared folders: what is written comes back, nothing unfinished looks finished, equal input is reused."""

import json
import multiprocessing
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from common.errors import InputError
from data_prep.encoding import encode, tokenizer
from data_prep.examples import Choice, Classify, Span, Tag, Text
from data_prep.prepare import prepare
from data_prep.sources.locate import own
from data_prep.storage import store
from data_prep.workers import POOL_FROM, Encoder, Job

LABELS = ("no", "yes")


@pytest.fixture(scope="module")
def tiny(tiny_tokenizer_dir):
    return tokenizer.load(tiny_tokenizer_dir)


@pytest.fixture
def encoder(tiny_tokenizer_dir):
    with Encoder(str(tiny_tokenizer_dir), 1) as one:
        yield one


def classify_file(path: Path, n: int, word: str = "dog") -> str:
    rows = ({"text_a": f"{word} {i}", "label": LABELS[i % 2]} for i in range(n))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def build(folder: Path, encoder: Encoder, n: int = 20, kind: str = "classify", max_length: int = 32):
    train = folder / "train.jsonl"
    if not train.exists():
        classify_file(train, n)
    dev = classify_file(folder / "dev.jsonl", 6)
    labels = LABELS if kind == "classify" else None
    job = Job("mine", kind, labels, "en", max_length)
    return prepare(job, own(kind, str(train), dev, "mine"), folder / "data", encoder)


EXAMPLES = {
    "classify": [Classify("", "the small dog", "a letter", 1), Classify("", "house", None, 0)],
    "span": [
        Span("a", "which dog", "the small dog runs to the old house " * 8, (("old house", 26),)),
        Span("b", "q", "x", ()),
    ],
    "choice": [Choice("", "the dog", ("runs", "reads a letter", "x"), 2), Choice("", "a", ("b", "c"), 0)],
    "tag": [Tag("", ("the", "small", "dog", "runs"), tuple("ABAB")), Tag("", ("dog",), ("unknown",))],
    "mlm": [Text("", "the small dog runs to the old house " * 8), Text("", "dog")],
}


@pytest.mark.parametrize("kind", list(EXAMPLES))
def test_rows_come_back_as_they_were_encoded(kind, tiny, tmp_path):
    rows = encode.encode(kind, tiny, EXAMPLES[kind], 40, ["A", "B"])
    columns = store.schema(kind, "dev")
    half = max(1, len(rows) // 2)
    batches = [store.to_batch(part, columns) for part in (rows[:half], [], rows[half:])]
    store.write_table(tmp_path / "x.arrow", batches, columns)
    split = store.Split(tmp_path / "x.arrow")
    assert split.rows == len(split) == len(rows)
    for name in ("length", "units", "example"):
        assert getattr(split, name).tolist() == [row[name] for row in rows]
        assert getattr(split, name).dtype == np.int32
    order = [*np.random.default_rng(0).permutation(len(rows)).tolist(), 0, 0]
    for number, taken in zip(order, split.take(order), strict=True):
        assert set(taken) == set(rows[number])
        for name, value in rows[number].items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(taken[name], value) and taken[name].dtype == np.int32
                assert not taken[name].flags.owndata  # a view into the file
            else:
                assert taken[name] == value and isinstance(taken[name], int)
    assert split.take([]) == []
    for wrong in ([len(rows)], [-1]):
        with pytest.raises(IndexError):
            split.take(wrong)


def test_the_training_split_has_no_offsets():
    assert "offset_start" in store.schema("span", "dev").names
    assert "offset_start" not in store.schema("span", "train").names


def test_take_is_proportional_to_the_rows_asked_for(tiny, tmp_path):
    rows = encode.encode_classify(tiny, [Classify("", f"dog {i}", None, 0) for i in range(300)], 16)
    columns = store.schema("classify", "train")
    store.write_table(tmp_path / "x.arrow", [store.to_batch(rows, columns)] * 300, columns)
    split = store.Split(tmp_path / "x.arrow")
    picks = np.random.default_rng(0).integers(0, split.rows, 2000)
    start = time.perf_counter()
    split.take(picks)
    assert time.perf_counter() - start < 1.0  # about 10 ms; reading whole columns would take far longer


def test_a_prepared_folder(tmp_path, encoder):
    prepared, built = build(tmp_path, encoder)
    assert built and prepared.labels == LABELS
    key = store.encoding_key("mine", "classify", LABELS, 32, encoder.fingerprint)
    assert prepared.path.parent == tmp_path / "data" / "mine" and prepared.path.name.startswith(f"{key}-")
    manifest = prepared.manifest
    train = manifest["splits"]["train"]
    assert (train["rows"], train["examples"], train["units"]) == (20, 20, 20)
    assert train["tokens"] == int(prepared.train.length.sum()) and sum(train["length_histogram"].values()) == 20
    assert train["sha256"] == store.file_sha256(prepared.path / "train.arrow")
    assert manifest["source"]["files"][str(tmp_path / "train.jsonl")] == store.file_sha256(tmp_path / "train.jsonl")
    assert manifest["tokenizer"] == encoder.fingerprint and manifest["max_length"] == 32
    assert prepared.train.take([3])[0]["label"] == 1
    found = store.find(tmp_path / "data", "mine", key, "COMMAND")
    assert found.path == prepared.path
    # Nothing but the folder and the lock is left.
    assert sorted(p.name for p in (tmp_path / "data/mine").iterdir()) == [".lock", prepared.path.name]


def test_reuse_and_rebuild(tmp_path, encoder, tiny, tiny_tokenizer_dir):
    first, _ = build(tmp_path, encoder)
    again, built = build(tmp_path, encoder)
    assert not built and again.path == first.path
    longer, built = build(tmp_path, encoder, max_length=48)
    assert built and longer.path != first.path
    classify_file(tmp_path / "train.jsonl", 21)
    changed, built = build(tmp_path, encoder)
    assert built and changed.path.name.split("-")[0] == first.path.name.split("-")[0]
    key = first.path.name.split("-")[0]
    assert store.find(tmp_path / "data", "mine", key, "COMMAND").path == changed.path
    # The old input confirmed again is what `find` gives, and the files elsewhere are the same input.
    classify_file(tmp_path / "train.jsonl", 20)
    (tmp_path / "elsewhere").mkdir()
    for name in ("train.jsonl", "dev.jsonl"):
        shutil.copy(tmp_path / name, tmp_path / "elsewhere" / name)
    located = own("classify", str(tmp_path / "elsewhere/train.jsonl"), str(tmp_path / "elsewhere/dev.jsonl"), "mine")
    back, built = prepare(Job("mine", "classify", LABELS, "en", 32), located, tmp_path / "data", encoder)
    assert not built and store.find(tmp_path / "data", "mine", key, "COMMAND").path == back.path == first.path
    # Train and dev exchanged are another input, also where the two have the same file name.
    located = own("classify", str(tmp_path / "dev.jsonl"), str(tmp_path / "train.jsonl"), "mine")
    turned, built = prepare(Job("mine", "classify", LABELS, "en", 32), located, tmp_path / "data", encoder)
    assert built and (turned.train.rows, turned.dev.rows) == (6, 20)
    shutil.copy(tmp_path / "dev.jsonl", tmp_path / "elsewhere" / "train.jsonl")
    located = own("classify", str(tmp_path / "train.jsonl"), str(tmp_path / "elsewhere/train.jsonl"), "mine")
    same_name, _ = prepare(Job("mine", "classify", LABELS, "en", 32), located, tmp_path / "data", encoder)
    assert len(same_name.manifest["source"]["files"]) == 2 and same_name.path == first.path
    # Another tokenizer, another folder.
    tiny_copy = tokenizer.load(tiny_tokenizer_dir)
    tiny_copy.add_tokens(["dog"])
    tiny_copy.save_pretrained(tmp_path / "tokenizer")
    with Encoder(str(tmp_path / "tokenizer"), 1) as other:
        third, built = build(tmp_path, other)
    assert built and third.path.name.split("-")[0] != key


def test_what_is_not_there_is_named_with_the_command(tmp_path, encoder):
    with pytest.raises(InputError, match=r"mine is not prepared.*python -m data_prep --config run\.json"):
        store.find(tmp_path, "mine", "0" * 12, "python -m data_prep --config run.json")
    build(tmp_path, encoder)
    with pytest.raises(InputError, match="only for another tokenizer, length or label set"):
        store.find(tmp_path / "data", "mine", "0" * 12, "COMMAND")


@pytest.mark.parametrize("damage", ["cut", "altered", "missing"])
def test_a_damaged_folder_is_noticed_and_rebuilt(tmp_path, encoder, damage, capsys):
    prepared, _ = build(tmp_path, encoder)
    path = prepared.path / "train.arrow"
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-8] if damage == "cut" else data[:200] + b"\x07" + data[201:])
    if damage != "altered":
        with pytest.raises(InputError, match=r"train\.arrow: expected \d+ bytes"):
            store.Prepared(prepared.path)
    again, built = build(tmp_path, encoder)
    assert built and (again.path / "train.arrow").read_bytes() == data
    assert "preparing it again" in capsys.readouterr().err


def test_bad_input_leaves_nothing(tmp_path, encoder):
    classify_file(tmp_path / "train.jsonl", 3000)
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"text_a": "x", "label": "maybe"}\n')
    with pytest.raises(InputError, match=r"train\.jsonl: line 3001"):
        build(tmp_path, encoder)
    assert [p.name for p in (tmp_path / "data/mine").iterdir()] == [".lock"]
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(InputError, match="no train examples"):
        build(tmp_path, encoder)


def test_tags_of_the_training_split_are_the_labels(tmp_path, encoder):
    (tmp_path / "train.tsv").write_text("a dog\tZ N\nit runs\tN V\n")
    (tmp_path / "dev.tsv").write_text("a cat\tN NEW\n")
    located = own("tag", str(tmp_path / "train.tsv"), str(tmp_path / "dev.tsv"), "mine")
    prepared, _ = prepare(Job("mine", "tag", None, "en", 32), located, tmp_path / "data", encoder)
    assert prepared.labels == ("N", "V", "Z")
    assert [row["labels"].tolist() for row in prepared.train.take([0, 1])] == [[2, 0], [0, 1]]
    assert prepared.dev.take([0])[0]["labels"].tolist() == [0, -1]
    assert prepared.manifest["splits"]["dev"]["unknown_labels"] == 1
    assert prepared.dev.units.tolist() == [1]
    # With labels of the task's own, an unknown tag is an error.
    with pytest.raises(InputError, match=r"dev\.tsv.*1.*tags: 'NEW' is not among the task's labels"):
        prepare(Job("mine", "tag", ("N", "V", "Z"), "en", 32), located, tmp_path / "data", encoder)


def test_dev_examples_of_span_and_texts_without_tokens(tmp_path, encoder):
    rows = [
        {"id": "a", "question": "q", "context": "the dog " * 30, "answers": [{"text": "dog", "start": 4}] * 2},
        {"question": "q", "context": "none", "answers": []},
    ]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    located = own("span", str(tmp_path / "s.jsonl"), str(tmp_path / "s.jsonl"), "mine")
    prepared, _ = prepare(Job("mine", "span", None, "en", 40), located, tmp_path / "data", encoder)
    assert prepared.dev_examples() == [
        {"example": 0, "id": "a", "context": "the dog " * 30, "answers": ["dog", "dog"]},
        {"example": 1, "id": "line 2", "context": "none", "answers": []},
    ]
    assert prepared.dev.rows > 2 and set(prepared.dev.example.tolist()) == {0, 1}

    (tmp_path / "t.txt").write_text(
        "the dog\n\u200b\n" if not encoder.tokenizer("\u200b", add_special_tokens=False)["input_ids"] else "the dog\n"
    )
    located = own("mlm", str(tmp_path / "t.txt"), str(tmp_path / "t.txt"), "texts")
    texts, _ = prepare(Job("texts", "mlm", None, "sw", 40), located, tmp_path / "data", encoder)
    assert texts.train.rows == 1 and texts.manifest["language"] == "sw"
    assert texts.manifest["splits"]["train"]["dropped"] in ({}, {"no token left by the tokenizer": 1})


def test_same_bytes_with_workers(tmp_path, tiny_tokenizer_dir):
    files = {}
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        folder.mkdir()
        classify_file(folder / "train.jsonl", 1024 * POOL_FROM + 700)
        with Encoder(str(tiny_tokenizer_dir), jobs) as encoder:
            prepared, _ = build(folder, encoder)
            assert (encoder._pool is not None) == (jobs == 2)
        assert prepared.train.example.tolist() == list(range(1024 * POOL_FROM + 700))
        files[jobs] = (prepared.path.name, *((prepared.path / f"{s}.arrow").read_bytes() for s in store.SPLITS))
    assert files[1] == files[2]


def _build_elsewhere(folder: str, tokenizer_dir: str) -> None:
    with Encoder(tokenizer_dir, 1) as encoder:
        build(Path(folder), encoder)


def test_leftovers_of_the_dead_and_two_at_once(tmp_path, tiny_tokenizer_dir, encoder, capfd):
    """A build that is killed leaves no finished folder; the next one removes its traces; a third waits and reuses."""
    classify_file(tmp_path / "train.jsonl", 40_000)
    home = tmp_path / "data/mine"

    def start():
        process = multiprocessing.get_context("spawn").Process(
            target=_build_elsewhere, args=(str(tmp_path), str(tiny_tokenizer_dir)), daemon=True
        )
        before = set(home.glob(".tmp-*"))
        process.start()
        until = time.monotonic() + 60
        while not any(f.parent not in before for f in home.glob(".tmp-*/train.arrow")) and time.monotonic() < until:
            time.sleep(0.01)
        return process

    victim = start()
    victim.kill()
    victim.join()
    (leftover,) = home.glob(".tmp-*")
    assert sorted(p.name for p in home.iterdir()) == [".lock", leftover.name]  # nothing that looks finished

    worker = start()
    assert not leftover.exists()
    prepared, built = build(tmp_path, encoder)  # meanwhile, in this process
    worker.join(60)
    assert worker.exitcode == 0 and not built
    prepared.verify()
    assert sorted(p.name for p in home.iterdir()) == [".lock", prepared.path.name]
    assert "another data_prep is at work there" in capfd.readouterr().err


def test_split_refuses_what_is_not_arrow(tmp_path):
    (tmp_path / "x.arrow").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not a prepared file"):
        store.Split(tmp_path / "x.arrow")


def test_key_changes_with_everything_that_changes_rows():
    base = ("d", "classify", ("a", "b"), 128, "f")
    keys = {store.encoding_key(*base)}
    for i, other in enumerate(("e", "tag", ("b", "a"), 129, "g")):
        keys.add(store.encoding_key(*base[:i], other, *base[i + 1 :]))
    assert len(keys) == 6 and all(len(key) == 12 for key in keys)
    assert isinstance(store.schema("mlm", "train"), pa.Schema)
