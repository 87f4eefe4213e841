"""Figures of finished pieces, which are written here so that the right answer is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.labels import PAWSX, QQP
from data_prep.examples import Choice, Classify, Span, Tag
from eval.inference.artifacts import Job
from eval.metrics.score_target import figures
from eval.rows import Candidate, Corpora, Loaded, Query, Translation
from eval.suites import TARGETS


def ids(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{i}" for i in range(count))


def job_of(target: str, encoder: str, folder: Path) -> Job:
    return Job(
        target=target, encoder=encoder, head=None, data="", languages=(), examples=None, layer=2, pooling="mean",
        query_length=24, passage_length=40, micro_tokens=120, folder=str(folder),
    )  # fmt: skip


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


@pytest.mark.parametrize("block", [1, 256])
def test_lareqa_ranks_in_the_pool_of_all_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("eval.figures.RANKED", block)
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
