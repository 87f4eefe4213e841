"""Scores of a target from its vectors or predictions, which are written here so that the right answer is known; and

the files of every item's outcome, from whose columns alone they are computed again.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import feather
from sklearn.metrics import average_precision_score

from common.labels import PAWSX, QQP
from eval.driver.suite import score_job
from eval.inference.artifacts import Job, Options
from eval.metrics import items, score_target
from eval.metrics.aggregate import metric_names
from eval.perturb import queries
from eval.retrieval import mining
from eval.retrieval.neighbors import top_k
from eval.rows import Candidate, Corpora, Corpus, Loaded, Query, Translation
from eval.suites import TARGETS, Target, by_protocol
from tasks.choice.data import Choice
from tasks.classify.data import Classify
from tasks.span.data import Span
from tasks.tag.data import Tag


def job_in(folder: Path, target: str, artifacts: dict[str, Any]) -> Job:
    """A job whose vectors (arrays) and predictions (lists) are `artifacts`."""
    for name, values in artifacts.items():
        if isinstance(values, np.ndarray):
            np.save(folder / f"{name}.npy", values.astype(np.float32))
        else:
            (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    return Job(target, "", None, 2, "mean", 24, 40, folder, Options())


def scored(target: str | Target, loaded: Loaded, folder: Path, artifacts: dict[str, Any], names: Any = None) -> Any:
    """details, submission, extra of a target from these artifacts."""
    about = TARGETS[target] if isinstance(target, str) else target
    return score_job(about, job_in(folder, about.name, artifacts), loaded, names or {})


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_tatoeba_by_nlu_evals_counts_equal_sentences(tmp_path: Path) -> None:
    """Query in the other language, index the distinct English sentences; no submission."""
    rng = np.random.default_rng(0)
    rows = [Translation(f"english {i % 30}", f"other {i}") for i in range(40)]
    distinct = rng.normal(size=(30, 8))
    other = np.concatenate([distinct, distinct[:10]]) + rng.normal(size=(40, 8))
    vectors = {"de.en": np.concatenate([distinct, distinct[:10]]), "de.xx": other}
    target = by_protocol(TARGETS["tatoeba"], "nlu-evals")
    found = scored(target, Loaded("test", {"de": rows}, {}), tmp_path, vectors)
    expected = 100 * ((unit(other) @ unit(distinct).T).argmax(axis=1) == np.arange(40) % 30).mean()
    details = {"accuracy": pytest.approx(expected), "n": 40, "chance": 100 / 30}
    assert 0 < expected < 100 and found.details["de"] == details and not found.submission


@pytest.mark.parametrize("target", ["bucc", "lareqa"])
def test_noise_changes_the_queries_alone(tmp_path: Path, target: str) -> None:
    """Noisy scores are those of a job whose query vectors are the noisy ones; BUCC's threshold is that of clean dev.

    Mining itself: test_scores_retrieval.py.
    """
    rng = np.random.default_rng(1)
    ids, words = [f"i{k}" for k in range(40)], [f"word {k} x" for k in range(40)]
    gold = tuple(zip(ids, ids, strict=True))
    corpus, splits = Corpus(ids, words), ("validation", "test")
    loaded = Loaded("test", {"de": [Corpora(split, {"xx": corpus, "en": corpus}, gold) for split in splits]}, {})
    names = [f"de.{split}.{side}" for split in splits for side in ("xx", "en")]
    query = "de.test.xx"
    if target == "lareqa":
        rows = [Query(f"{one}_de", text, (one,)) for one, text in zip(ids, words, strict=True)]
        loaded = Loaded("validation", {"de": rows}, {}, pool=[Candidate(one, "", "de") for one in ids])
        names, query = ["pool", "de"], "de"
    meaning = rng.normal(size=(40, 8))
    vectors = {name: meaning + 0.5 * rng.normal(size=(40, 8)) for name in names}
    clean = scored(target, loaded, tmp_path, vectors)
    if target == "bucc":
        mined = {}
        for split in splits:
            sides = [unit(vectors[f"de.{split}.{side}"]) for side in ("xx", "en")]
            near = [top_k(one, two, 4) for one, two in (sides, sides[::-1])]
            mined[split] = mining.mine(*near, corpus, corpus)
        threshold = mining.best_threshold(mined["validation"], gold)
        assert threshold != pytest.approx(mining.best_threshold(mined["test"], gold))
        assert clean.submission["de"] == mining.extract(mined["test"], threshold) != list(mined["test"].pairs)
        assert clean.extra["threshold_from"] == {"de": "validation"} and clean.extra["scored_on"] == {"de": "test"}
    queries.perturb(TARGETS[target], loaded, "typo@0.3", {})
    (((noise, metric), sides),) = loaded.perturbed.items()
    assert list(sides) == [query] and 0 < len(sides[query]) < 40
    noisy = vectors[query].copy()
    noisy[list(sides[query])] = rng.normal(size=(len(sides[query]), 8))
    job = job_in(tmp_path, target, {f"{query}~typo@0.3": noisy[list(sides[query])]})
    records, outcomes = queries.measure(TARGETS[target], job, loaded, clean.items)
    (tmp_path / "other").mkdir()
    expected = scored(target, loaded, tmp_path / "other", {**vectors, query: noisy})
    found = records[noise][metric]
    assert found["noisy"] == pytest.approx(expected.details["de"][metric]) and found["noisy"] < found["clean"]
    assert found["clean"] == pytest.approx(clean.details["de"][metric])
    assert outcomes[noise]["de"].scores() == expected.items["de"].scores()
    assert found["interval"][0] < found["drop"] < found["interval"][1] and found["worst"] == "de"


@pytest.mark.parametrize("seed", range(3))
def test_map_within_across_and_over_all_languages(seed: int, tmp_path: Path) -> None:
    """As in MLQA-R questions have right candidates in some languages only; AP is scikit-learn's, from all scores."""
    rng = np.random.default_rng(seed)
    codes, loaded, vectors = ("de", "en", "sw"), Loaded("validation", {}, {}), {"pool": rng.normal(size=(60, 8))}
    loaded.pool = [Candidate(f"c{i}", f"text {i}", codes[i // 20]) for i in range(60)]
    questions = [sorted(rng.choice(3, size=rng.integers(2, 4), replace=False)) for _ in range(20)]
    if seed == 0:
        questions[19] = questions[19][:1]  # with one right candidate, which is in no distance
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

        within = {c: mean_ap(slice(20 * number, 20 * number + 20)) for number, c in enumerate(codes)}
        expected = {"map_mono": within.pop(code), "map_multi": mean_ap(slice(None))}
        expected["map_cross"] = np.mean(list(within.values()))
        assert {name: found.details[code][name] for name in expected} == pytest.approx(expected, rel=1e-5)
        places = 1 + np.argsort(np.argsort(-cosine[code], axis=1), axis=1)
        spans.append(np.mean([np.ptp(one[r]) for one, r in zip(places, right, strict=True) if r.sum() > 1]))
    over = {} if seed else {"rank_distance_over": "all but 1 questions, which have one answer"}
    assert found.extra == {"pool": 60, "rank_distance": pytest.approx(np.mean(spans)), **over}


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


# Outcomes of every item


LANGUAGES, N = ("de", "en", "sw"), 30
TAGS = {"udpos": ("NOUN", "VERB", "SCONJ", "SYM"), "panx": ("O", "B-PER", "I-PER", "B-LOC")}
WORDS = ["the house", "house", "a red house", "river", "the red river"]


def drawn(target: str, rng: random.Random, noise: np.random.Generator) -> tuple[Loaded, dict[str, Any]]:
    """Rows of three languages and finished artifacts, some right and some wrong."""
    kind, loaded, found = TARGETS[target].kind, Loaded("test", {}, {}), {}
    if kind in ("answers", "entities"):
        loaded.pool = [Candidate(f"c{i}", f"text {i}", LANGUAGES[i % 3]) for i in range(N)]
        found["pool"] = noise.normal(size=(N, 8))
    for code in LANGUAGES:
        rows: list[Any]
        if kind in ("classify", "choice"):
            count = len(score_target.labels_of(TARGETS[target])) if kind == "classify" else 2
            gold = [rng.randrange(count) for _ in range(N)]
            said: Any = [rng.choice([label, rng.randrange(count)]) for label in gold]
            if kind == "classify":
                rows = [Classify("", "a", "b", label) for label in gold]
                said = [score_target.labels_of(TARGETS[target])[label] for label in said]
            else:
                rows = [Choice(str(i), "a", ("b", "c"), label) for i, label in enumerate(gold)]
        elif kind == "span":
            rows = [Span(f"q{i}", "?", "x", ((rng.choice(WORDS), 0), (rng.choice(WORDS), 0))) for i in range(N)]
            said = [rng.choice([rng.choice(WORDS), row.answers[0][0]]) for row in rows]
        elif kind == "tag":
            lengths = [rng.randrange(1, 9) for _ in range(N)]
            rows = [Tag("", ("w",) * n, tuple(rng.choices(TAGS[target], k=n))) for n in lengths]
            said = [[rng.choice([tag, tag, None, *TAGS[target]]) for tag in row.tags] for row in rows]
        elif kind == "translation":
            rows, x = [Translation(f"{code} {i}", "x") for i in range(N)], noise.normal(size=(N, 8))
            found |= {f"{code}.en": x, f"{code}.xx": x + 0.7 * noise.normal(size=x.shape)}
        elif kind == "mining":
            ids, x = tuple(f"s{i}" for i in range(N)), noise.normal(size=(N, 8))
            sides = dict.fromkeys(("xx", "en"), Corpus(ids, [f"{code} {i}" for i in range(N)]))
            rows = [Corpora("test", sides, tuple((one, one) for one in ids[: N // 2]))]
            found |= {f"{code}.test.en": x, f"{code}.test.xx": x + 0.7 * noise.normal(size=x.shape)}
        else:
            rows = [
                Query(f"q{i}_{code}", "?", tuple(f"c{n}" for n in rng.sample(range(N), 1 + (kind == "answers"))))
                for i in range(N)
            ]
            said = found["pool"][[int(row.gold[0][1:]) for row in rows]] + noise.normal(size=(N, 8))
        loaded.rows[code] = rows
        if kind not in ("translation", "mining"):
            found[code] = said
    return loaded, found


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_scores_are_those_of_the_files(target: str, tmp_path: Path) -> None:
    """Means of a column, and F1, precision, recall and shares from sums of counts; ids of translations are the same."""
    loaded, found = drawn(target, random.Random(target), np.random.default_rng(0))
    names = {label: label for label in score_target.labels_of(TARGETS[target])}
    scores = scored(target, loaded, tmp_path, found, names)
    assert scores.details.keys() == scores.submission.keys() == loaded.rows.keys()
    items.write(tmp_path / "out", target, {"xx": scores.items["de"]}, "of an earlier run")
    items.write(tmp_path / "out", target, scores.items, "f")
    folder = tmp_path / "out/items" / target
    assert sorted(path.name for path in folder.iterdir()) == [f"{code}.arrow" for code in LANGUAGES]

    ids = []
    for code in LANGUAGES:
        table = feather.read_table(folder / f"{code}.arrow")
        columns = {name: table[name].to_numpy() for name in table.column_names}
        ids.append(columns.pop("id").tolist())
        if "correct" in columns:
            right, said, gold = (columns[name].sum() for name in ("correct", "predicted", "gold"))
            expected = {"precision": 100 * right / said, "recall": 100 * right / gold}
            expected["f1"] = 200 * right / (said + gold)
            if target == "udpos":
                expected["accuracy"] = 100 * columns["correct_words"].sum() / columns["words"].sum()
        elif target == "pawsx":
            expected = {"accuracy": 100 * columns["accuracy"].mean()}
            for part in ("distractor", "other"):
                expected[f"{part}_accuracy"] = 100 * columns[f"{part}_right"].sum() / columns[part].sum()
        else:
            expected = {name: 100 * column.mean() for name, column in columns.items()}
        details = {name: value for name, value in scores.details[code].items() if name not in ("n", "chance")}
        assert details == pytest.approx(expected, abs=1e-9) and 0 < details[next(iter(details))] < 100
        assert set(json.loads(table.schema.metadata[b"metrics"])) == set(details) == set(metric_names(TARGETS[target]))
        whole = items.read(tmp_path / "out", target, code, "f")
        assert whole is not None and whole.scores() == pytest.approx(expected, abs=1e-9)
        assert items.read(tmp_path / "out", target, code, "other scores") is None
    if TARGETS[target].kind in ("classify", "choice", "span", "answers"):
        assert ids[0] == ids[1] == ids[2] and len(set(ids[0])) == N
    else:
        assert not set(ids[0]) & set(ids[1])
