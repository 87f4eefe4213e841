"""Means over languages, targets, groups and suites as the official evaluator takes them.

Intervals over seeds, and what they are not taken over: test_report.py.
"""

import copy
from fractions import Fraction
from typing import Any

import pytest

from eval.metrics import aggregate
from eval.suites import GROUPS, LANGUAGES, SUITES, TARGETS, resolve_suite
from tests.support.scores_files import headline, scores


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
    assert {name: group["missing"] for name, group in found["groups"].items() if group["score"] is None} == {
        "qa": ["xquad"], "retrieval": ["bucc"],
    }  # fmt: skip


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
