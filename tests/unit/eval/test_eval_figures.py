"""Scores of a target from its vectors or predictions, which are written here so that the right answer is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from common.labels import PAWSX, QQP
from eval.driver.suite import score_job
from eval.inference.artifacts import Job, Options
from eval.perturb import queries
from eval.retrieval import mining
from eval.retrieval.neighbors import top_k
from eval.rows import Candidate, Corpora, Corpus, Loaded, Query, Translation
from eval.suites import TARGETS, by_protocol
from tasks.classify.data import Classify
from tasks.span.data import Span


def scored(target: str, loaded: Loaded, folder: Path, artifacts: dict[str, Any], names: Any = None) -> Any:
    """details, submission, extra of a target whose vectors (arrays) and predictions (lists) are `artifacts`."""
    for name, values in artifacts.items():
        if isinstance(values, np.ndarray):
            np.save(folder / f"{name}.npy", values.astype(np.float32))
        else:
            (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    job = Job(target, "", None, 2, "mean", 24, 40, folder, Options())
    found = score_job(TARGETS[target], job, loaded, names or {})
    assert found.details.keys() == found.submission.keys() == loaded.rows.keys()
    return found


def test_tatoeba_by_nlu_evals_counts_equal_sentences(tmp_path: Path) -> None:
    """Query in the other language, index the distinct English sentences; no submission."""
    rng = np.random.default_rng(0)
    rows = [Translation(f"english {i % 30}", f"other {i}") for i in range(40)]
    distinct = rng.normal(size=(30, 8))
    english = distinct[[i % 30 for i in range(40)]]
    other = english + rng.normal(size=(40, 8))
    for name, vectors in (("en", english), ("xx", other)):
        np.save(tmp_path / f"de.{name}.npy", vectors.astype(np.float32))
    job = Job("tatoeba", "", None, 2, "cls", 24, 40, tmp_path, Options())
    target = by_protocol(TARGETS["tatoeba"], "nlu-evals")
    found = score_job(target, job, Loaded("test", {"de": rows}, {}), {})
    cosines = (other / np.linalg.norm(other, axis=1, keepdims=True)) @ (
        distinct / np.linalg.norm(distinct, axis=1, keepdims=True)
    ).T
    expected = 100 * (cosines.argmax(axis=1) == np.arange(40) % 30).mean()
    assert 0 < expected < 100 and found.details["de"] == {
        "accuracy": pytest.approx(expected),
        "n": 40,
        "chance": 100 / 30,
    }
    assert not found.submission


@pytest.mark.parametrize("target", ["bucc", "lareqa"])
def test_noise_changes_the_queries_alone(tmp_path: Path, target: str) -> None:
    """Noisy scores are those of a job whose query vectors are the noisy ones; BUCC's threshold is that of clean dev."""
    rng = np.random.default_rng(1)
    ids, words = [f"i{k}" for k in range(40)], [f"word {k} x" for k in range(40)]
    gold = tuple(zip(ids, ids, strict=True))
    loaded = Loaded(
        "test", {"de": [Corpora(split, ids, words, ids, words, gold) for split in ("validation", "test")]}, {}
    )
    names = [f"de.{split}.{side}" for split in ("validation", "test") for side in ("xx", "en")]
    query = "de.test.xx"
    if target == "lareqa":
        rows = [Query(f"{one}_de", text, (one,)) for one, text in zip(ids, words, strict=True)]
        loaded = Loaded("validation", {"de": rows}, {}, pool=[Candidate(one, "", "de") for one in ids])
        names, query = ["pool", "de"], "de"
    meaning = rng.normal(size=(40, 8))
    vectors = {name: meaning + 0.5 * rng.normal(size=(40, 8)) for name in names}
    clean = scored(target, loaded, tmp_path, vectors)
    queries.perturb(TARGETS[target], loaded, "typo@0.3", {})
    (((noise, metric), sides),) = loaded.perturbed.items()
    assert list(sides) == [query] and 0 < len(sides[query]) < 40
    noisy = vectors[query].copy()
    noisy[list(sides[query])] = rng.normal(size=(len(sides[query]), 8))
    np.save(tmp_path / f"{query}~typo@0.3.npy", noisy[list(sides[query])].astype(np.float32))
    job = Job(target, "", None, 2, "mean", 24, 40, tmp_path, Options())
    records, outcomes = queries.measure(TARGETS[target], job, loaded, clean.items)
    (tmp_path / "other").mkdir()
    expected = scored(target, loaded, tmp_path / "other", {**vectors, query: noisy})
    found = records[noise][metric]
    assert found["noisy"] == pytest.approx(expected.details["de"][metric]) and found["noisy"] < found["clean"]
    assert found["clean"] == pytest.approx(clean.details["de"][metric])
    assert outcomes[noise]["de"].scores() == expected.items["de"].scores()
    assert found["interval"][0] < found["drop"] < found["interval"][1] and found["worst"] == "de"


def test_bucc_threshold_from_validation_scores_from_test(tmp_path: Path) -> None:
    """Mining itself: test_scores_retrieval.py. A repeated sentence is embedded once, and in no pair."""
    rng = np.random.default_rng(0)
    rows, artifacts, mined = [], {}, {}
    for name, count in (("validation", 30), ("test", 40)):
        x = rng.normal(size=(count, 8))
        y = x + 0.7 * rng.normal(size=(count, 8))
        other, english = (
            Corpus([f"{s}{i}" for i in range(count)], [f"{name} {s}{i}" for i in range(count)]) for s in "xy"
        )
        gold = tuple((f"x{i}", f"y{i}") for i in range(0, count, 2))
        again = Corpus((*english.ids, "again"), (*english.sentences, english.sentences[0]))
        rows.append(Corpora(name, other.ids, other.sentences, again.ids, again.sentences, gold))
        artifacts |= {f"de.{name}.xx": 3 * x, f"de.{name}.en": y}
        near = [top_k(unit(one), unit(two), 4) for one, two in ((x, y), (y, x))]
        mined[name] = mining.mine(*near, other, again)
    threshold = mining.best_threshold(mined["validation"], rows[0].gold)
    assert threshold != pytest.approx(mining.best_threshold(mined["test"], rows[1].gold))
    found = scored("bucc", Loaded("test", {"de": rows}, {}), tmp_path, artifacts)
    pairs = mining.extract(mined["test"], threshold)
    assert found.submission["de"] == pairs and 0 < len(pairs) < len(mined["test"].pairs)
    assert found.details["de"] == pytest.approx({**mining.f1(pairs, rows[1].gold).scores(), "n": 20})
    assert found.extra["threshold"]["de"] == pytest.approx(threshold, rel=1e-5)
    assert found.extra["threshold_from"] == {"de": "validation"} and found.extra["scored_on"] == {"de": "test"}


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
    assert found.details["en"]["map@20"] == pytest.approx(100 * (first + second) / 2) and found.details["en"]["n"] == 2
    assert found.details["de"]["map@20"] == pytest.approx(100 * (1 / 1) / 2) and found.details["de"]["n"] == 1
    assert found.submission["en"]["q0"][:4] == ["c0", "c1", "c2", "c20"]
    assert [len(ranked) for ranked in found.submission["de"].values()] == [20]
    assert found.extra == {"pool": 30, "rank_distance": pytest.approx((((4 - 1) + (3 - 2)) / 2 + (22 - 1)) / 2)}


@pytest.mark.parametrize("seed", range(3))
def test_map_within_across_and_over_all_languages(seed: int, tmp_path: Path) -> None:
    """As in MLQA-R questions have right candidates in some languages only; AP is scikit-learn's, from all scores."""
    rng = np.random.default_rng(seed)
    codes, loaded, vectors = ("de", "en", "sw"), Loaded("validation", {}, {}), {"pool": rng.normal(size=(60, 8))}
    loaded.pool = [Candidate(f"c{i}", f"text {i}", codes[i // 20]) for i in range(60)]
    questions = [sorted(rng.choice(3, size=rng.integers(2, 4), replace=False)) for _ in range(20)]
    gold = [{f"c{20 * code + i}" for code in asked} | {f"c{20 * asked[0] + 19}"} for i, asked in enumerate(questions)]
    for number, code in enumerate(codes):
        own = [i for i, asked in enumerate(questions) if number in asked]
        loaded.rows[code] = [Query(f"q{i}_{code}", "?", tuple(sorted(gold[i]))) for i in own]
        vectors[code] = vectors["pool"][[20 * number + i for i in own]] + rng.normal(size=(len(own), 8))
    found = scored("mlqar", loaded, tmp_path, vectors)

    cosine = {code: unit(vectors[code]) @ unit(vectors["pool"]).T for code in codes}
    spans = []
    for code, asked in loaded.rows.items():
        right = np.array([[c.id in query.gold for c in loaded.pool] for query in asked])

        def mean_ap(part: slice, code: str = code, right: np.ndarray = right) -> float:
            each = zip(right[:, part], cosine[code][:, part], strict=True)
            return 100 * float(np.mean([average_precision_score(r, x) for r, x in each if r.any()]))

        mono, cross = (
            mean_ap(language_slice(codes, code)),
            [mean_ap(language_slice(codes, c)) for c in codes if c != code],
        )
        expected = {"map_mono": mono, "map_cross": np.mean(cross), "map_multi": mean_ap(slice(None))}
        assert {name: found.details[code][name] for name in expected} == pytest.approx(expected, rel=1e-5)
        places = 1 + np.argsort(np.argsort(-cosine[code], axis=1), axis=1)
        spans.append(np.mean([one[r].max() - one[r].min() for one, r in zip(places, right, strict=True)]))
    assert found.extra["rank_distance"] == pytest.approx(np.mean(spans))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def language_slice(codes: tuple[str, ...], code: str) -> slice:
    return slice(20 * codes.index(code), 20 * codes.index(code) + 20)


def test_labels_go_by_name_not_by_number(tmp_path: Path) -> None:
    """Whatever the order of the head's labels; the gold are the numbers of the test data."""
    loaded = Loaded("test", {"de": [Classify("", "a", "b", label) for label in (0, 0, 1)]}, {})
    said = {"de": ["duplicate", "not_duplicate", "duplicate"]}
    for names in (dict(zip(QQP, PAWSX, strict=True)), dict(zip(QQP[::-1], PAWSX[::-1], strict=True))):
        found = scored("pawsx", loaded, tmp_path, said, names)
        parts = {"distractor_accuracy": 50.0, "other_accuracy": 100.0, "n": 3}
        assert found.details["de"] == {**parts, "accuracy": pytest.approx(200 / 3), "chance": pytest.approx(200 / 3)}
        assert found.submission["de"] == [1, 0, 1]


def test_answers_by_language(tmp_path: Path) -> None:
    # MLQA knows the articles of the language, SQuAD's script those of English only.
    spans = [Span("q1", "?", "der Hund", (("der Hund", 0),)), Span("q2", "?", "the dog", (("the dog", 0),))]
    for target, em in (("mlqa", (1, 0)), ("xquad", (0, 1))):
        found = scored(target, Loaded("test", {"de": spans}, {}), tmp_path, {"de": ["Hund", "dog"]})
        assert found.details["de"]["em"] == pytest.approx(100 * sum(em) / 2)
        assert found.submission["de"] == {"q1": "Hund", "q2": "dog"}
