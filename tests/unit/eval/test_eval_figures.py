"""Scores of a target from its vectors or predictions, which are written here so that the right answer is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.labels import PAWSX, QQP
from eval.inference.artifacts import Job
from eval.metrics.score_target import figures
from eval.rows import Candidate, Corpora, Loaded, Query, Translation
from eval.suites import TARGETS
from tasks.choice.data import Choice
from tasks.classify.data import Classify
from tasks.span.data import Span
from tasks.tag.data import Tag


def scored(target: str, loaded: Loaded, folder: Path, artifacts: dict[str, Any], **options: Any) -> Any:
    """details, submission, extra of a target whose vectors (arrays) and predictions (lists) are `artifacts`."""
    for name, values in artifacts.items():
        if isinstance(values, np.ndarray):
            np.save(folder / f"{name}.npy", values.astype(np.float32))
        else:
            (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    job = Job(target, "", None, "", (), None, 2, "mean", 24, 40, 120, str(folder))
    names, centre = options.get("names", {}), options.get("centre", False)
    found = figures(TARGETS[target], job, loaded, names, centre, "cpu")
    assert found.details.keys() == found.submission.keys() == loaded.rows.keys()
    return found


def test_tatoeba_in_both_directions(tmp_path: Path) -> None:
    loaded = Loaded("test", {"de": [Translation(a, f"{a}!") for a in "abcd"]}, {})
    english = np.array([[1, 0.0], [0, 1], [-1, 0], [0, -1]])
    # b's translation lies nearest to a, and further from a than a's own; c's and d's are exchanged.
    other = np.array([[1, 0.0], [1, 0.9], [0, -1], [-1, 0]])
    found = scored("tatoeba", loaded, tmp_path, {"de.en": english, "de.xx": other})
    # From English: a finds a, b finds b (the nearest to (0, 1) is (1, 0.9)), c and d find each other's.
    # To English: a finds a, b finds a, c and d as before.
    assert found.details["de"] == {"en->xx": 50.0, "xx->en": 25.0, "n": 4, "chance": 25.0}
    assert found.submission["de"] == [("a", 0), ("b", 1), ("c", 3), ("d", 2)]
    # What all sentences of a language share is in the way, and is taken out by centring.
    apart = {"de.en": english + np.array([0, 9]), "de.xx": english + np.array([9, 0])}
    assert scored("tatoeba", loaded, tmp_path, apart).details["de"]["en->xx"] < 100
    assert scored("tatoeba", loaded, tmp_path, apart, centre=True).details["de"]["en->xx"] == 100.0


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
        other, english = ([f"{name} {side}{i}" for i in range(count)] for side in "xy")
        ids = [tuple(f"{side}{i}" for i in range(count)) for side in "xy"]
        return Corpora(name, ids[0], tuple(other), (*ids[1], "again"), (*english, english[0]), tuple(gold))

    # Pairs in order of their margin, with the best F1 after the fourth: 3 right of 4, all 3 of the gold found.
    dev_cosines = [0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5]
    dev = split("validation", 7, [("x1", "y1"), ("x2", "y2"), ("x4", "y4")])
    threshold = (margin(0.7) + margin(0.6)) / 2
    # On test five pairs lie above that (and the repeated one), two below; four of the five are right, of six.
    test_cosines = [0.99, 0.93, 0.91, 0.85, 0.75, 0.68, 0.62, 0.5]
    assert sum(margin(c) >= threshold for c in test_cosines[1:]) == 5
    test = split("test", 8, [*((f"x{i}", f"y{i}") for i in (1, 2, 4, 5, 6)), ("x7", "y0")])
    artifacts = {}
    for one, cosines in ((dev, dev_cosines), (test, test_cosines)):
        x, y = bitext(cosines)
        artifacts |= {f"de.{one.split}.xx": 3 * x, f"de.{one.split}.en": y}
    found = scored("bucc", Loaded("test", {"de": [dev, test]}, {}), tmp_path, artifacts)
    precision, recall = 4 / 5, 4 / 6
    f1 = 2 * precision * recall / (precision + recall)
    expected = {"precision": 100 * precision, "recall": 100 * recall, "f1": 100 * f1, "n": 6}
    assert found.details["de"] == pytest.approx(expected)
    assert found.submission["de"] == [(f"x{i}", f"y{i}") for i in range(1, 6)]
    assert found.extra["threshold"]["de"] == pytest.approx(threshold, rel=1e-5)
    assert found.extra["threshold_from"] == {"de": "validation"} and found.extra["scored_on"] == {"de": "test"}
    # The threshold that is best for test itself would take six: it is not that one.
    alone = scored("bucc", Loaded("test", {"de": [test]}, {}), tmp_path, {})
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
    found = scored("lareqa", Loaded("test", rows, {}, [], pool), tmp_path, {"pool": np.eye(30), **vectors})
    first, second = (1 / 1 + 2 / 4) / 2, (1 / 2 + 2 / 3) / 2
    assert found.details["en"] == {"map@20": pytest.approx(100 * (first + second) / 2), "n": 2}
    assert found.details["de"] == {"map@20": pytest.approx(100 * (1 / 1) / 2), "n": 1}
    assert found.submission["en"]["q0"][:4] == ["c0", "c1", "c2", "c20"]
    assert [len(ranked) for ranked in found.submission["de"].values()] == [20]
    assert found.extra == {"pool": 30, "rank_distance": pytest.approx(((4 - 1) + (3 - 2) + (22 - 1)) / 3)}


def test_labels_go_by_name_not_by_number(tmp_path: Path) -> None:
    """Whatever the order of the head's labels; the gold are the numbers of the test data."""
    loaded = Loaded("test", {"de": [Classify("", "a", "b", label) for label in (0, 0, 1)]}, {})
    said = {"de": ["duplicate", "not_duplicate", "duplicate"]}
    for names in (dict(zip(QQP, PAWSX, strict=True)), dict(zip(QQP[::-1], PAWSX[::-1], strict=True))):
        found = scored("pawsx", loaded, tmp_path, said, names=names)
        assert found.details["de"] == {"accuracy": pytest.approx(200 / 3), "n": 3, "chance": pytest.approx(200 / 3)}
        assert found.submission["de"] == [1, 0, 1]
    said = {"de": ["contradiction", "entailment", "neutral"]}
    names = {label: label for label in ("neutral", "contradiction", "entailment")}
    found = scored("xnli", loaded, tmp_path, said, names=names)
    assert found.details["de"]["accuracy"] == pytest.approx(200 / 3)  # entailment, entailment, neutral are right
    assert found.submission["de"] == said["de"]


def test_the_other_heads(tmp_path: Path) -> None:
    choices = [Choice("", "p", ("a", "b"), label) for label in (0, 1, 1)]
    found = scored("xcopa", Loaded("test", {"et": choices}, {}), tmp_path, {"et": [0, 1, 0]})
    assert found.details["et"] == {"accuracy": pytest.approx(200 / 3), "n": 3, "chance": pytest.approx(200 / 3)}
    assert found.submission["et"] == [0, 1, 0]

    tags = [Tag("", ("a", "b", "c"), ("B-PER", "I-PER", "O")), Tag("", ("d",), ("B-LOC",))]
    found = scored("panx", Loaded("test", {"de": tags}, {}), tmp_path, {"de": [["B-PER", "I-PER", "O"], ["O"]]})
    assert found.details["de"]["f1"] == pytest.approx(100 * 2 / 3) and found.details["de"]["n"] == 2
    words = Loaded("test", {"de": [Tag("", ("a", "b"), ("NOUN", "VERB"))]}, {})
    assert scored("udpos", words, tmp_path, {"de": [["NOUN", "ADJ"]]}).details["de"]["accuracy"] == 50.0

    # MLQA knows the articles of the language, SQuAD's script those of English only.
    spans = [Span("q1", "?", "der Hund", (("der Hund", 0),)), Span("q2", "?", "the dog", (("the dog", 0),))]
    for target, em in (("mlqa", (1, 0)), ("xquad", (0, 1))):
        found = scored(target, Loaded("test", {"de": spans}, {}), tmp_path, {"de": ["Hund", "dog"]})
        assert found.details["de"]["em"] == pytest.approx(100 * sum(em) / 2)
        assert found.submission["de"] == {"q1": "Hund", "q2": "dog"}
