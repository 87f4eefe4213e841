"""Means over languages, targets, groups and suites as the official evaluator takes them, and intervals over seeds."""

import copy
import random
import statistics
from fractions import Fraction
from typing import Any

import pytest

from eval.metrics import aggregate
from eval.suites import GROUPS, LANGUAGES, SUITES, TARGETS, resolve_suite
from tests.support.scores_files import headline, scores

QA = ("xquad", "mlqa", "tydiqa")


def whole(suite: str, seed: int) -> dict[str, Any]:
    return scores(f"run{seed}", suite, seed)


def average(result: dict[str, Any], suite: str) -> dict[str, Any]:
    return aggregate.average(result, suite, resolve_suite(suite)[1])


def official(result: dict[str, Any]) -> dict[str, Fraction]:
    """Task scores from the definition: mean over languages of each metric, then of F1 and EM."""
    tasks = {}
    for target, record in result["targets"].items():
        columns = [[Fraction(one[name]) for one in record["details"].values()] for name in headline(target)]
        tasks[target] = sum(sum(column) / len(column) for column in columns) / len(columns)
    return tasks


@pytest.mark.parametrize("suite", ["xtreme", "xtreme-r"])
def test_average_of_a_complete_suite(suite: str) -> None:
    result = whole(suite, 1)
    tasks, found = official(result), average(result, suite)
    assert len(tasks) == {"xtreme": 9, "xtreme-r": 10}[suite]
    assert found["score"] == pytest.approx(float(sum(tasks.values()) / len(tasks)))
    assert found["targets"] == pytest.approx({name: float(value) for name, value in tasks.items()})
    assert not found["missing"] and found["protocol"]["question_answering"] == "(F1 + EM) / 2"
    for group, members in GROUPS[suite].items():
        expected = float(sum(tasks[name] for name in members) / len(members))
        assert found["groups"][group] == {"score": pytest.approx(expected), "targets": [*members], "missing": []}


def test_what_is_missing_is_named_and_nothing_is_averaged_over_it() -> None:
    result = whole("xtreme", 2)
    del result["targets"]["bucc"]
    gone = result["targets"]["xquad"]
    for code in ("th", "en"):
        del gone["languages"][code], gone["details"][code]
    found = average(result, "xtreme")
    assert found["score"] is None and found["missing"] == {"xquad": "without en th", "bucc": "not run"}
    assert set(found["targets"]) == set(SUITES["xtreme"]) - {"xquad", "bucc"}
    groups = found["groups"]
    assert groups["qa"] == {"score": None, "targets": [*QA], "missing": ["xquad"]}
    assert groups["retrieval"]["score"] is None and groups["retrieval"]["missing"] == ["bucc"]
    assert groups["classification"]["score"] is not None and groups["structured"]["score"] is not None


def test_a_target_counts_over_the_languages_of_the_suite() -> None:
    """One scores.json may hold Tatoeba of XTREME-R's 41 languages: XTREME's average takes its own 36 of them."""
    result, larger = whole("xtreme", 3), whole("xtreme-r", 4)
    own = result["targets"]["tatoeba"]
    larger["targets"]["tatoeba"]["languages"] |= own["languages"]
    larger["targets"]["tatoeba"]["details"] |= own["details"]
    mixed = copy.deepcopy(result)
    mixed["targets"]["tatoeba"] = larger["targets"]["tatoeba"]
    assert average(mixed, "xtreme")["targets"]["tatoeba"] == pytest.approx(float(official(result)["tatoeba"]))
    # The other way round something is missing.
    assert average(result, "xtreme-r")["missing"]["tatoeba"] == "without az lt pl ro uk"


def test_other_suites_have_no_average() -> None:
    result = scores("a", "xnli,xquad", 4, {"xnli": LANGUAGES["xtreme"]["xnli"], "xquad": LANGUAGES["xtreme"]["xquad"]})
    found = average(result, "xnli,xquad")
    assert found["score"] is None and found["groups"] == {}
    # Outside the official suites all languages of both are asked for: Romanian is XTREME-R's.
    assert found["missing"] == {"xquad": "without ro"}
    assert found["targets"] == {"xnli": pytest.approx(float(official(result)["xnli"]))}


def test_the_official_languages() -> None:
    for suite, lists in LANGUAGES.items():
        for target, codes in lists.items():
            assert ("en" in codes) == (target not in ("bucc", "tatoeba", "xcopa")), (suite, target)
            assert list(codes) == sorted(set(codes))
        assert sorted(name for members in GROUPS[suite].values() for name in members) == sorted(lists)
        assert set(SUITES[suite]) == set(lists) <= set(TARGETS)
    assert [len(codes) for codes in LANGUAGES["xtreme"].values()] == [15, 7, 33, 40, 11, 7, 9, 4, 36]
    assert [len(codes) for codes in LANGUAGES["xtreme-r"].values()] == [15, 11, 38, 48, 12, 7, 9, 41, 11, 11]
    everything = [{code for codes in lists.values() for code in codes} for lists in LANGUAGES.values()]
    assert [len(codes) for codes in everything] == [40, 50]


# Student's t, 97.5 %, by n: from printed tables.
@pytest.mark.parametrize(("n", "t"), [(2, 12.7062), (3, 4.3027), (4, 3.1824), (5, 2.7764), (10, 2.2622)])
def test_interval_is_students(n: int, t: float) -> None:
    rng = random.Random(n)
    values = [rng.uniform(0, 100) for _ in range(n)]
    half = t * statistics.stdev(values) / n**0.5
    assert aggregate.interval(values) == {
        "mean": pytest.approx(statistics.fmean(values)), "half": pytest.approx(half, rel=1e-4), "n": n,
    }  # fmt: skip
    assert aggregate.interval(values[:1]) == {"mean": values[0], "half": None, "n": 1}
    assert aggregate.interval([42.0] * n) == {"mean": 42.0, "half": 0.0, "n": n}


def test_over_seeds() -> None:
    runs = [whole("xtreme", seed) for seed in (1, 2, 3)]
    merged = aggregate.over_seeds(runs)
    assert merged["runs"] == ["run1", "run2", "run3"] and merged["missing"] == {} and merged["level"] == 0.95
    assert merged["average"]["score"] == aggregate.interval([one["average"]["score"] for one in runs])
    qa = [one["average"]["groups"]["qa"]["score"] for one in runs]
    assert merged["average"]["groups"]["qa"] == aggregate.interval(qa)
    xquad = merged["targets"]["xquad"]
    assert xquad["languages"]["th"] == aggregate.interval([one["targets"]["xquad"]["languages"]["th"] for one in runs])
    assert xquad["score"]["mean"] == pytest.approx(sum(one["targets"]["xquad"]["score"] for one in runs) / 3)
    # Seeds are no difference of settings.
    assert xquad["scores"]["em"]["n"] == 3 and xquad["missing"] == [] and merged["targets"]["xnli"]["differs"] == []

    # A run with less: what it lacks is named, never averaged over the others.
    poor = copy.deepcopy(runs[2])
    del poor["targets"]["bucc"], poor["targets"]["xquad"]["languages"]["th"]
    poor["targets"]["pawsx"]["protocol"]["split"] = "dev"
    poor["average"] = average(poor, "xtreme")
    merged = aggregate.over_seeds([runs[0], runs[1], poor])
    assert merged["missing"] == {"bucc": ["run3"]} and "bucc" not in merged["targets"]
    xquad = merged["targets"]["xquad"]
    assert xquad["missing"] == ["th"] and xquad["score"] is None and "th" not in xquad["languages"]
    assert xquad["languages"]["de"]["n"] == 3 and merged["targets"]["pawsx"]["differs"] == ["split"]
    assert merged["average"]["score"] is None and merged["average"]["groups"]["qa"] is None
    assert merged["average"]["groups"]["structured"]["n"] == 3

    with pytest.raises(ValueError, match="different suites"):
        aggregate.over_seeds([runs[0], {**runs[1], "suite": "xtreme-r"}])
