"""Distractor accuracy: which pairs it is over."""

from eval.metrics import score
from eval.metrics.distractors import overlap, with_distractors
from tasks.classify.data import Classify


def test_the_half_of_the_negative_pairs_that_share_most() -> None:
    assert overlap("abcd", "ABCD") == 1 and overlap("abcd", "efgh") == 0 == overlap("a", "b")
    assert overlap("abab", "abx") == 1 / 4  # ab of ab ba ab, and bx
    other = {"1": "flights from Paris to Rome", "2": "flights to Rome from Paris", "3": "trains", "4": "Rome", "5": "x"}
    labels = {"1": 1, "2": 0, "3": 0, "4": 0, "5": 0}
    rows = [Classify(name, "flights from Paris to Rome", text, labels[name]) for name, text in other.items()]
    found = with_distractors(score.accuracy([1, 1, 0, 0, 1], [row.label for row in rows]), rows).scores()
    # Distractors: 2 (wrong) and 4 (right), out of 2 to 5.
    assert found == {"accuracy": 60.0, "distractor_accuracy": 50.0, "other_accuracy": 200 / 3}
