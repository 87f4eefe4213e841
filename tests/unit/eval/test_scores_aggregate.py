"""Means over languages, targets, groups and suites as the official evaluator takes them, and intervals over seeds."""

import copy
import math
import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics import aggregate
from eval.official import GROUPS, LANGUAGES
from eval.suites import SUITES, TARGETS, resolve_suite

QA = ("xquad", "mlqa", "tydiqa")


def record(target: str, values: dict[str, dict[str, float]]) -> dict[str, Any]:
    """A target of scores.json as `eval/driver/suite.py` writes it, as far as averages need it."""
    metric = TARGETS[target].metric if target != "tatoeba" else "en->xx"
    languages = {code: one[metric] for code, one in values.items()}
    return {
        "metric": TARGETS[target].metric,
        "score": sum(languages.values()) / len(languages),
        "languages": languages,
        "details": values,
        "protocol": {"split": "test", "seed": 1},
        **aggregate.means(values, languages),
    }


def whole(suite: str, seed: int) -> tuple[dict[str, Any], dict[str, dict[str, dict[str, float]]]]:
    """(scores.json with all of a suite's targets, the figures in it): F1 and EM for QA, one figure for the others."""
    rng = random.Random(seed)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for target, codes in LANGUAGES[suite].items():
        metric = TARGETS[target].metric if target != "tatoeba" else "en->xx"
        names = ("f1", "em") if target in QA else (metric,)
        figures[target] = {code: {name: rng.uniform(0, 100) for name in names} for code in codes}
    targets = {target: record(target, values) for target, values in figures.items()}
    return {"name": f"run{seed}", "suite": suite, "targets": targets}, figures


def official(figures: dict[str, dict[str, dict[str, float]]]) -> dict[str, Fraction]:
    """Task scores from the definition: mean over languages of each figure, then of F1 and EM."""
    result = {}
    for target, values in figures.items():
        columns = [[Fraction(one[name]) for one in values.values()] for name in next(iter(values.values()))]
        result[target] = sum(sum(column) / len(column) for column in columns) / len(columns)
    return result


@pytest.mark.parametrize("suite", ["xtreme", "xtreme-r"])
def test_average_of_a_complete_suite(suite: str) -> None:
    result, figures = whole(suite, 1)
    _, targets = resolve_suite(suite)
    tasks = official(figures)
    average = aggregate.average(result, suite, targets)
    assert len(tasks) == {"xtreme": 9, "xtreme-r": 10}[suite]
    assert average["score"] == pytest.approx(float(sum(tasks.values()) / len(tasks)))
    assert average["targets"] == pytest.approx({name: float(value) for name, value in tasks.items()})
    assert not average["missing"] and average["protocol"]["question_answering"] == "(F1 + EM) / 2"
    for group, members in GROUPS[suite].items():
        expected = float(sum(tasks[name] for name in members) / len(members))
        assert average["groups"][group] == {"score": pytest.approx(expected), "targets": [*members], "missing": []}


def test_what_is_missing_is_named_and_nothing_is_averaged_over_it() -> None:
    result, _ = whole("xtreme", 2)
    _, targets = resolve_suite("xtreme")
    del result["targets"]["bucc"]
    gone = result["targets"]["xquad"]
    for code in ("th", "en"):
        del gone["languages"][code], gone["details"][code]
    average = aggregate.average(result, "xtreme", targets)
    assert average["score"] is None and average["missing"] == {"xquad": "without en th", "bucc": "not run"}
    assert set(average["targets"]) == set(SUITES["xtreme"]) - {"xquad", "bucc"}
    groups = average["groups"]
    assert groups["qa"] == {"score": None, "targets": [*QA], "missing": ["xquad"]}
    assert groups["retrieval"]["score"] is None and groups["retrieval"]["missing"] == ["bucc"]
    assert groups["classification"]["score"] is not None and groups["structured"]["score"] is not None


def test_a_target_counts_over_the_languages_of_the_suite() -> None:
    """One scores.json may hold Tatoeba of XTREME-R's 41 languages: XTREME's average takes its own 36 of them."""
    result, figures = whole("xtreme", 3)
    more = {code: {"en->xx": 0.0} for code in LANGUAGES["xtreme-r"]["tatoeba"]}
    result["targets"]["tatoeba"] = record("tatoeba", {**more, **figures["tatoeba"]})
    average = aggregate.average(result, "xtreme", resolve_suite("xtreme")[1])
    assert average["targets"]["tatoeba"] == pytest.approx(float(official(figures)["tatoeba"]))
    # The other way round something is missing.
    result["targets"]["tatoeba"] = record("tatoeba", figures["tatoeba"])
    missing = aggregate.average(result, "xtreme-r", resolve_suite("xtreme-r")[1])["missing"]
    assert missing["tatoeba"] == "without az lt pl ro uk"


def test_other_suites_have_no_average() -> None:
    result, figures = whole("xtreme", 4)
    name, targets = resolve_suite("xnli,xquad")
    average = aggregate.average(result, name, targets)
    assert average["score"] is None and average["groups"] == {}
    # Outside the official suites all languages of both are asked for: Romanian is XTREME-R's.
    assert average["missing"] == {"xquad": "without ro"}
    assert average["targets"] == {"xnli": pytest.approx(float(official(figures)["xnli"]))}
    toy = {"targets": {"toy_xnli": record("toy_xnli", {"en": {"accuracy": 80.0}, "de": {"accuracy": 40.0}})}}
    average = aggregate.average(toy, "toy", resolve_suite("toy")[1])
    assert average["targets"] == {"toy_xnli": 60.0} and average["score"] is None


def test_english_is_counted_where_the_official_list_has_it() -> None:
    for suite, lists in LANGUAGES.items():
        for target, codes in lists.items():
            assert ("en" in codes) == (target not in ("bucc", "tatoeba", "xcopa")), (suite, target)
            assert list(codes) == sorted(set(codes))
    assert [len(codes) for codes in LANGUAGES["xtreme"].values()] == [15, 7, 33, 40, 11, 7, 9, 4, 36]
    assert [len(codes) for codes in LANGUAGES["xtreme-r"].values()] == [15, 11, 38, 48, 12, 7, 9, 41, 11, 11]
    assert len({code for codes in LANGUAGES["xtreme"].values() for code in codes}) == 40
    assert len({code for codes in LANGUAGES["xtreme-r"].values() for code in codes}) == 50
    for suite, groups in GROUPS.items():
        assert sorted(name for members in groups.values() for name in members) == sorted(LANGUAGES[suite])
        assert set(SUITES[suite]) == set(LANGUAGES[suite])


def test_means_and_languages() -> None:
    details = {
        "en": {"f1": 80.0, "em": 60.0, "n": 5, "chance": 1.0},
        "de": {"f1": 40.0, "em": 20.0, "n": 3, "chance": 3.0},
    }
    languages = {"en": 80.0, "de": 40.0}
    assert aggregate.means(details, languages) == {
        "scores": {"f1": 60.0, "em": 40.0}, "chance": 2.0, "score_without_english": 40.0,
    }  # fmt: skip
    assert "score_without_english" not in aggregate.means({"en": details["en"]}, {"en": 80.0})


# Student's t, 97.5 %: from printed tables.
TABLE = {2: 12.7062, 3: 4.3027, 4: 3.1824, 5: 2.7764, 10: 2.2622}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(TABLE)), st.randoms(use_true_random=False))
def test_interval_is_students(n: int, rng: random.Random) -> None:
    values = [rng.uniform(0, 100) for _ in range(n)]
    exact = [Fraction(value) for value in values]
    middle = sum(exact) / n
    error = math.sqrt(sum((value - middle) ** 2 for value in exact) / (n - 1) / n)
    found = aggregate.interval(values)
    assert found["n"] == n and found["mean"] == pytest.approx(float(middle))
    assert found["half"] == pytest.approx(TABLE[n] * error, rel=1e-4)


def test_interval_of_one_and_of_equal_ones() -> None:
    assert aggregate.interval([42.0]) == {"mean": 42.0, "half": None, "n": 1}
    assert aggregate.interval([42.0, 42.0, 42.0]) == {"mean": 42.0, "half": 0.0, "n": 3}


def test_over_seeds() -> None:
    runs = []
    for seed in (1, 2, 3):
        result, _ = whole("xtreme", seed)
        result["average"] = aggregate.average(result, "xtreme", resolve_suite("xtreme")[1])
        result["targets"]["xnli"]["protocol"]["seed"] = seed
        runs.append(result)
    merged = aggregate.over_seeds(runs)
    assert merged["runs"] == ["run1", "run2", "run3"] and merged["missing"] == {} and merged["level"] == 0.95
    assert merged["average"]["score"] == aggregate.interval([one["average"]["score"] for one in runs])
    qa = [one["average"]["groups"]["qa"]["score"] for one in runs]
    assert merged["average"]["groups"]["qa"] == aggregate.interval(qa)
    xquad = merged["targets"]["xquad"]
    assert xquad["languages"]["th"] == aggregate.interval([one["targets"]["xquad"]["languages"]["th"] for one in runs])
    assert xquad["score"]["mean"] == pytest.approx(sum(one["targets"]["xquad"]["score"] for one in runs) / 3)
    assert xquad["scores"]["em"]["n"] == 3 and xquad["missing"] == [] and merged["targets"]["xnli"]["differs"] == []

    # A run with less: what it lacks is named, never averaged over the others.
    poor = copy.deepcopy(runs[2])
    del poor["targets"]["bucc"], poor["targets"]["xquad"]["languages"]["th"]
    poor["targets"]["pawsx"]["protocol"]["split"] = "dev"
    poor["average"] = aggregate.average(poor, "xtreme", resolve_suite("xtreme")[1])
    merged = aggregate.over_seeds([runs[0], runs[1], poor])
    assert merged["missing"] == {"bucc": ["run3"]} and "bucc" not in merged["targets"]
    xquad = merged["targets"]["xquad"]
    assert xquad["missing"] == ["th"] and xquad["score"] is None and "th" not in xquad["languages"]
    assert xquad["languages"]["de"]["n"] == 3 and merged["targets"]["pawsx"]["differs"] == ["split"]
    assert merged["average"]["score"] is None and merged["average"]["groups"]["qa"] is None
    assert merged["average"]["groups"]["structured"]["n"] == 3

    with pytest.raises(ValueError, match="different suites"):
        aggregate.over_seeds([runs[0], {**runs[1], "suite": "xtreme-r"}])
    with pytest.raises(ValueError, match="no run"):
        aggregate.over_seeds([])
