"""Pieces of a target: shared out, interrupted, taken up again."""

import errno
import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import InputError
from eval.inference import artifacts
from eval.inference.artifacts import Job, compute, limit, of_job
from eval.inference.encoder import Subject
from eval.rows import Candidate, Corpora, Loaded, Query, Translation
from eval.suites import TARGETS
from tests.support.eval_run import make_run
from tests.unit.eval.test_eval_predict import examples, text


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
    assert artifacts.truncations(alone, loaded) == artifacts.truncations(job, loaded)
    if case == "translation":
        assert artifacts.truncations(alone, loaded)["text"] > 0


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
        original = getattr(artifacts, name)

        def counted(e: Any, t: Any, *rest: Any, original: Any = original, **more: Any) -> Any:
            asked.append(len(rest[-1]))  # the texts, or the examples after the head
            return original(e, t, *rest, **more)

        monkeypatch.setattr(artifacts, name, counted)
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
    assert artifacts.vectors(job, "de.xx").shape == (7, 32)


def test_names_of_pieces_never_meet() -> None:
    """In no target, also where a file system does not tell capitals from small letters."""
    for target in TARGETS.values():
        codes = target.of_suite("") or ("de", "de-en", "zh-Hant")
        rows: dict[str, list[Any]] = {code: [Translation("a", "b")] for code in codes}
        names = [piece.name.lower() for piece in artifacts.pieces(Loaded("test", rows, {}), False)]
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

    monkeypatch.setattr(artifacts, "embed_parts", out)
    with pytest.raises(InputError, match=r"tatoeba, de\.en: out of memory: lower --micro-tokens \(now 120\)"):
        compute(job_of("tatoeba", encoder, tmp_path / "job"), translations(), subject)


def test_a_missing_head_is_said(encoder: Path, subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no head of qqp beside it"):
        compute(job_of("pawsx", encoder, tmp_path / "job", head="qqp"), predicted("classify"), subject)
