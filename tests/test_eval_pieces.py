"""Pieces of a target: shared out, interrupted, taken up again; and the figures that finished pieces give."""

import errno
import json
import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from eval_run import make_run
from test_eval_predict import examples, text

from data_prep.catalogue.labels import PAWSX, QQP
from data_prep.errors import InputError
from data_prep.examples import Choice, Classify, Span, Tag
from eval import pieces
from eval.figures import figures
from eval.pieces import Job, compute, limit, of_job
from eval.rows import Candidate, Corpora, Loaded, Query, Translation
from eval.subject import Subject
from eval.targets import TARGETS


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, tiny_tokenizer_dir: Path) -> Path:
    return make_run(tmp_path_factory.mktemp("run"), tiny_tokenizer_dir)


@pytest.fixture(scope="module")
def subject(encoder: Path) -> Subject:
    return Subject(str(encoder), torch.device("cpu"))


def job_of(target: str, encoder: Path | str, folder: Path, **fields: Any) -> Job:
    values = {
        "target": target, "encoder": str(encoder), "head": None, "data": "", "languages": (), "examples": None,
        "layer": 2, "pooling": "mean", "query_length": 24, "passage_length": 40, "micro_tokens": 120,
        "folder": str(folder),
    }  # fmt: skip
    return Job(**{**values, **fields})


def texts(count: int, seed: str) -> tuple[str, ...]:
    rng = random.Random(seed)
    return tuple(text(rng, 1, 12) for _ in range(count))


def translations() -> Loaded:
    rows = {
        code: [Translation(a, b) for a, b in zip(texts(n, f"{code} en"), texts(n, code), strict=True)]
        for code, n in (("de", 40), ("ru", 25), ("zh", 1))
    }
    return Loaded("test", rows, {})


def predicted(kind: str) -> Loaded:
    return Loaded("test", {"en": examples(kind, 30), "de": examples(kind, 21, 1)}, {})


def pooled() -> Loaded:
    pool = [Candidate(str(i), t, "en") for i, t in enumerate(texts(50, "pool"))]
    return Loaded("test", {"en": [Query(str(i), t, ("0",)) for i, t in enumerate(texts(12, "queries"))]}, {}, [], pool)


def corpora() -> Loaded:
    one = Corpora("test", ids("x", 20), texts(20, "x"), ids("y", 30), (*texts(29, "y"), texts(29, "y")[0]), ())
    return Loaded("test", {"de": [one]}, {})


def ids(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{i}" for i in range(count))


CASES: dict[str, tuple[Callable[[], Loaded], dict[str, Any]]] = {
    "translation": (translations, {}),
    "mining": (corpora, {"layer": 3, "pooling": "cls"}),
    "pool": (pooled, {"head": "mnli", "layer": None, "pooling": "pooler"}),
    "tag": (lambda: predicted("tag"), {"head": "ccg"}),
    "span": (lambda: predicted("span"), {"head": "squad_v1"}),
}


def together(job: Job, loaded: Loaded, processes: int) -> list[int]:
    """`compute` in as many threads as there would be processes, each with its own model: progress of each."""
    barrier, told, failed = threading.Barrier(processes), [0] * processes, []

    def work(number: int) -> None:
        def add(count: int) -> None:
            told[number] += count

        try:
            mine = Subject(job.encoder, torch.device("cpu"))
            compute(job, loaded, mine, share=(number, processes), wait=barrier.wait, progress=add)
        except BaseException as error:
            failed.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed, failed
    return told


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("case", CASES)
def test_several_processes_leave_what_one_leaves(case: str, encoder: Path, tmp_path: Path) -> None:
    make, fields = CASES[case]
    loaded = make()
    alone = job_of(case, encoder, tmp_path / "alone", **fields)
    size = sum(piece.size for piece in of_job(alone, loaded))
    assert together(alone, loaded, 1) == [size]
    expected = content(tmp_path / "alone")
    kind = ".json" if case in ("tag", "span") else ".npy"
    assert {piece.name + kind for piece in of_job(alone, loaded)} < set(expected)
    assert all(name.endswith((kind, ".truncated")) for name in expected)  # no part is left
    for processes in (2, 3):
        job = replace(alone, folder=str(tmp_path / str(processes)))
        told = together(job, loaded, processes)
        assert sum(told) == size and all(told)
        assert content(tmp_path / str(processes)) == expected
    assert pieces.truncations(alone, loaded) == pieces.truncations(job, loaded)
    if case == "translation":
        assert pieces.truncations(alone, loaded)["text"] > 0


@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_job_goes_on_with_what_is_missing(
    case: str, encoder: Path, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, fields = CASES[case]
    loaded = make()
    whole = job_of(case, encoder, tmp_path / "whole", **fields)
    compute(whole, loaded, subject)
    sizes = {piece.name: piece.size for piece in of_job(whole, loaded)}
    assert len(sizes) > 1

    job, told = replace(whole, folder=str(tmp_path / "job")), 0

    def stop(count: int) -> None:
        nonlocal told
        told += count
        if told > next(iter(sizes.values())):  # the second piece has begun
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(job, loaded, subject, progress=stop)
    first = next(iter(sizes))
    suffix = ".json" if case in ("tag", "span") else ".npy"
    assert [path.stem for path in (tmp_path / "job").glob(f"*{suffix}")] == [first]
    # What a killed attempt with more processes may have left.
    for number in range(4):
        (tmp_path / "job" / f"{list(sizes)[1]}.part{number}").write_text("[[0, 1", encoding="utf-8")
    before = (tmp_path / "job" / f"{first}{suffix}").stat()

    asked: list[int] = []
    for name in ("embed_parts", "predict"):
        original = getattr(pieces, name)

        def counted(e: Any, t: Any, *rest: Any, original: Any = original, **more: Any) -> Any:
            asked.append(len(rest[-1]))  # the texts, or the examples after the head
            return original(e, t, *rest, **more)

        monkeypatch.setattr(pieces, name, counted)
    done: list[int] = []
    compute(job, loaded, subject, progress=done.append)
    assert asked == list(sizes.values())[1:] and sum(done) == sum(sizes.values())
    after = (tmp_path / "job" / f"{first}{suffix}").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    expected = content(tmp_path / "whole")
    found = content(tmp_path / "job")
    assert {name: found[name] for name in expected} == expected

    asked.clear()
    compute(job, loaded, subject, progress=done.append)
    assert not asked and sum(done) == 2 * sum(sizes.values())


def test_only_the_first_examples(encoder: Path, subject: Subject, tmp_path: Path) -> None:
    every, few = translations(), translations()
    limit(few, 7)
    assert {code: len(rows) for code, rows in few.rows.items()} == {"de": 7, "ru": 7, "zh": 1}
    assert few.rows["de"] == every.rows["de"][:7]
    mined, whole = corpora(), corpora()
    limit(mined, 7)
    assert mined.rows == whole.rows  # mining needs both sides whole
    job = job_of("tatoeba", encoder, tmp_path / "few")
    compute(job, few, subject)
    assert pieces.vectors(job, "de.xx").shape == (7, 32)


def test_names_of_pieces_never_meet() -> None:
    """In no target, also where a file system does not tell capitals from small letters."""
    for target in TARGETS.values():
        codes = target.of_suite("") or ("de", "de-en", "zh-Hant")
        rows: dict[str, list[Any]] = {code: [Translation("a", "b")] for code in codes}
        names = [piece.name.lower() for piece in pieces.pieces(Loaded("test", rows, {}), False)]
        assert len(set(names)) == len(names) and not any("/" in name for name in names)


def test_a_full_disk_is_an_error_before_anything_is_computed(
    encoder: Path, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the process would end by SIGBUS when it writes into a hole of the file."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"no room for 0\.0 GB of vectors \(No space left on device\)"):
        compute(job_of("tatoeba", encoder, tmp_path / "job"), translations(), subject)
    assert content(tmp_path / "job") == {}


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_too_little_memory_says_what_to_lower(
    error: Exception, encoder: Path, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(pieces, "embed_parts", out)
    with pytest.raises(InputError, match=r"tatoeba, de\.en: out of memory: lower --micro-tokens \(now 120\)"):
        compute(job_of("tatoeba", encoder, tmp_path / "job"), translations(), subject)


def test_a_missing_head_is_said(encoder: Path, subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no head of qqp beside it"):
        compute(job_of("pawsx", encoder, tmp_path / "job", head="qqp"), predicted("classify"), subject)


# Figures of pieces written here


def scored(target: str, loaded: Loaded, folder: Path, names: dict[str, str] | None = None, **fields: Any) -> Any:
    found = figures(
        TARGETS[target], job_of(target, "", folder), loaded, names or {}, fields.get("centre", False), "cpu"
    )
    assert found.details.keys() == found.submission.keys() == loaded.rows.keys()
    return found


def save(folder: Path, **pieces: Any) -> None:
    folder.mkdir(exist_ok=True)
    for name, values in pieces.items():
        path = folder / name.replace("__", ".")
        if isinstance(values, np.ndarray):
            np.save(f"{path}.npy", values.astype(np.float32))
        else:
            Path(f"{path}.json").write_text(json.dumps(values), encoding="utf-8")


def test_tatoeba_in_both_directions(tmp_path: Path) -> None:
    loaded = Loaded("test", {"de": [Translation(a, f"{a}!") for a in "abcd"]}, {})
    english = np.array([[1, 0.0], [0, 1], [-1, 0], [0, -1]])
    # b's translation lies nearest to a, and further from a than a's own; c's and d's are exchanged.
    other = np.array([[1, 0.0], [1, 0.9], [0, -1], [-1, 0]])
    save(tmp_path, de__en=english, de__xx=other)
    found = scored("tatoeba", loaded, tmp_path)
    # From English: a finds a, b finds b (the nearest to (0, 1) is (1, 0.9)), c and d find each other's.
    # To English: a finds a, b finds a, c and d as before.
    assert found.details["de"] == {"en->xx": 50.0, "xx->en": 25.0, "n": 4, "chance": 25.0}
    assert found.submission["de"] == [("a", 0), ("b", 1), ("c", 3), ("d", 2)]

    # What all sentences of a language share is in the way, and is taken out by centring.
    save(tmp_path, de__en=english + np.array([0, 9]), de__xx=english + np.array([9, 0]))
    assert scored("tatoeba", loaded, tmp_path).details["de"]["en->xx"] < 100
    assert scored("tatoeba", loaded, tmp_path, centre=True).details["de"]["en->xx"] == 100.0


COMMON = 0.3  # cosine of any two sentences that are not a pair


def bitext(cosines: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of two corpora whose sentences i have the cosine `cosines[i]`, and all other pairs `COMMON`."""
    n = len(cosines)
    x, y = np.zeros((n, 1 + 2 * n)), np.zeros((n, 1 + 2 * n))
    x[:, 0] = y[:, 0] = np.sqrt(COMMON)
    for i, cosine in enumerate(cosines):
        # In a plane of its own, at the angle that the cosine wants.
        inner = (cosine - COMMON) / (1 - COMMON)
        x[i, 1 + 2 * i] = np.sqrt(1 - COMMON)
        y[i, 1 + 2 * i] = np.sqrt(1 - COMMON) * inner
        y[i, 2 + 2 * i] = np.sqrt((1 - COMMON) * (1 - inner**2))
    return x, y


def margin(cosine: float) -> float:
    """Ratio margin of a pair of `bitext`: its cosine over the mean of the 4 nearest of both, which are alike."""
    return cosine / ((cosine + 3 * COMMON) / 4)


def test_bucc_threshold_from_validation_scores_from_test(tmp_path: Path) -> None:
    def split(name: str, count: int, gold: list[tuple[str, str]]) -> Corpora:
        # The first sentence comes twice on the English side: embedded once, out of the pairs, not of the gold.
        other, english = tuple(f"{name} x{i}" for i in range(count)), tuple(f"{name} y{i}" for i in range(count))
        return Corpora(name, ids("x", count), other, (*ids("y", count), "again"), (*english, english[0]), tuple(gold))

    # Pairs in order of their margin, with the best F1 after the fourth: 3 right of 4, all 3 of the gold found.
    dev_cosines = [0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5]
    dev = split("validation", 7, [("x1", "y1"), ("x2", "y2"), ("x4", "y4")])
    threshold = (margin(0.7) + margin(0.6)) / 2
    # On test five pairs lie above that (and the repeated one), two below; four of the five are right, of six.
    test_cosines = [0.99, 0.93, 0.91, 0.85, 0.75, 0.68, 0.62, 0.5]
    assert sum(margin(c) >= threshold for c in test_cosines[1:]) == 5
    test = split("test", 8, [*((f"x{i}", f"y{i}") for i in (1, 2, 4, 5, 6)), ("x7", "y0")])
    for one, cosines in ((dev, dev_cosines), (test, test_cosines)):
        x, y = bitext(cosines)
        save(tmp_path, **{f"de__{one.split}__xx": 3 * x, f"de__{one.split}__en": y})
    loaded = Loaded("test", {"de": [dev, test]}, {})
    found = scored("bucc", loaded, tmp_path)
    precision, recall = 4 / 5, 4 / 6
    detail = found.details["de"]
    assert detail["precision"] == pytest.approx(100 * precision) and detail["recall"] == pytest.approx(100 * recall)
    assert detail["f1"] == pytest.approx(100 * 2 * precision * recall / (precision + recall)) and detail["n"] == 6
    assert found.submission["de"] == [(f"x{i}", f"y{i}") for i in range(1, 6)]
    assert found.extra["threshold"]["de"] == pytest.approx(threshold, rel=1e-5)
    assert found.extra["threshold_from"] == {"de": "validation"} and found.extra["scored_on"] == {"de": "test"}
    # The threshold that is best for test itself would take six: it is not that one.
    alone = scored("bucc", Loaded("test", {"de": [test]}, {}), tmp_path)
    assert len(alone.submission["de"]) == 6 and alone.extra["threshold_from"] == alone.extra["scored_on"]


def test_lareqa_ranks_in_the_pool_of_all_languages(tmp_path: Path) -> None:
    pool = [Candidate(f"c{i}", f"text {i}", "en" if i < 15 else "de") for i in range(30)]

    def query(order: list[int]) -> np.ndarray:
        """A vector for which the candidates (unit vectors) come in this order, the others after them."""
        vector = np.zeros(30)
        vector[order] = np.arange(len(order), 0, -1)
        return vector

    rows = {
        "en": [Query("q0", "a", ("c0", "c20")), Query("q1", "b", ("c2", "c5"))],
        "de": [Query("q2", "c", ("c9", "c29"))],
    }
    last = [i for i in range(29) if i != 9][:20]
    vectors = {
        "en": np.stack([query([0, 1, 2, 20]), query([7, 2, 5])]),
        "de": np.stack([query([9, *last, 29])]),  # the second right one is number 22, beyond the twenty
    }
    save(tmp_path, pool=np.eye(30), **vectors)
    found = scored("lareqa", Loaded("test", rows, {}, [], pool), tmp_path)
    first, second = (1 / 1 + 2 / 4) / 2, (1 / 2 + 2 / 3) / 2
    assert found.details["en"] == {"map@20": pytest.approx(100 * (first + second) / 2), "n": 2}
    assert found.details["de"] == {"map@20": pytest.approx(100 * (1 / 1) / 2), "n": 1}
    assert found.submission["en"]["q0"][:4] == ["c0", "c1", "c2", "c20"]
    assert [len(ranked) for ranked in found.submission["de"].values()] == [20]
    assert found.extra == {"pool": 30, "rank_distance": pytest.approx(((4 - 1) + (3 - 2) + (22 - 1)) / 3)}


def test_mewslix_has_one_right_entity(tmp_path: Path) -> None:
    pool = [Candidate(f"Q{i}", f"entity {i}", "en") for i in range(5)]
    rows = {"ar": [Query("m0", "a", ("Q3",)), Query("m1", "b", ("Q0",))], "ja": [Query("m2", "c", ("Q4",))]}
    ranked = {"ar": np.array([[0, 3, 2, 1, 0.0], [5, 0, 0, 0, 0]]), "ja": np.array([[5, 4, 3, 2, 1.0]])}
    save(tmp_path, pool=np.eye(5) * 7, **ranked)
    found = scored("mewslix", Loaded("test", rows, {}, [], pool), tmp_path)
    assert found.details["ar"]["map@20"] == pytest.approx(100 * (1 / 3 + 1) / 2)
    assert found.details["ja"]["map@20"] == pytest.approx(100 / 5)
    assert found.submission["ja"] == {"m2": ["Q0", "Q1", "Q2", "Q3", "Q4"]} and found.extra == {"pool": 5}


def test_labels_go_by_name_not_by_number(tmp_path: Path) -> None:
    """Whatever the order of the head's labels; the gold are the numbers of the test data."""
    rows = [Classify("", "a", "b", label) for label in (0, 0, 1)]
    save(tmp_path, de=["duplicate", "not_duplicate", "duplicate"])
    for names in (dict(zip(QQP, PAWSX, strict=True)), dict(zip(QQP[::-1], PAWSX[::-1], strict=True))):
        found = scored("pawsx", Loaded("test", {"de": rows}, {}), tmp_path, names)
        assert found.details["de"] == {"accuracy": pytest.approx(200 / 3), "n": 3, "chance": pytest.approx(200 / 3)}
        assert found.submission["de"] == [1, 0, 1]
    save(tmp_path, de=["contradiction", "entailment", "neutral"])
    names = {label: label for label in ("neutral", "contradiction", "entailment")}
    found = scored("xnli", Loaded("test", {"de": [Classify("", "a", "b", n) for n in (0, 0, 1)]}, {}), tmp_path, names)
    assert found.details["de"]["accuracy"] == pytest.approx(200 / 3)  # entailment, entailment, neutral are right
    assert found.submission["de"] == ["contradiction", "entailment", "neutral"]


def test_figures_of_the_other_heads(tmp_path: Path) -> None:
    choices = [Choice("", "p", ("a", "b"), label) for label in (0, 1, 1)]
    save(tmp_path, et=[0, 1, 0])
    found = scored("xcopa", Loaded("test", {"et": choices}, {}), tmp_path)
    assert found.details["et"] == {"accuracy": pytest.approx(200 / 3), "n": 3, "chance": pytest.approx(200 / 3)}
    assert found.submission["et"] == [0, 1, 0]

    tags = [Tag("", ("a", "b", "c"), ("B-PER", "I-PER", "O")), Tag("", ("d",), ("B-LOC",))]
    save(tmp_path, de=[["B-PER", "I-PER", "O"], ["O"]])
    found = scored("panx", Loaded("test", {"de": tags}, {}), tmp_path)
    assert found.details["de"]["f1"] == pytest.approx(100 * 2 / 3) and found.details["de"]["n"] == 2
    words = [Tag("", ("a", "b"), ("NOUN", "VERB"))]
    save(tmp_path, de=[["NOUN", "ADJ"]])
    assert scored("udpos", Loaded("test", {"de": words}, {}), tmp_path).details["de"]["accuracy"] == 50.0

    # MLQA knows the articles of the language, SQuAD's script those of English only.
    spans = [Span("q1", "?", "der Hund", (("der Hund", 0),)), Span("q2", "?", "the dog", (("the dog", 0),))]
    save(tmp_path, de=["Hund", "dog"])
    for target, em in (("mlqa", (1, 0)), ("xquad", (0, 1))):
        found = scored(target, Loaded("test", {"de": spans}, {}), tmp_path)
        assert found.details["de"]["em"] == pytest.approx(100 * sum(em) / 2)
        assert found.submission["de"] == {"q1": "Hund", "q2": "dog"}
