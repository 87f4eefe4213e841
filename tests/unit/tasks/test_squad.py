"""SQuAD's metrics against their definition, and the best answer against a search of all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.span import squad
from tests.support.slow_text import slow_f1, slow_words

ANSWERS = st.lists(
    st.sampled_from(
        ["a", "an", "the", "The", "theatre", "cat", "Cat,", "U.S.", "$3", "日本", "¿qué?", "un", "l'eau", "—", "AN."]
    ),
    max_size=6,
).map(" ".join)


def words(text: str) -> list[str]:
    return slow_words(text, {"a", "an", "the"}, unicode_punctuation=False)


@settings(max_examples=200)
@given(ANSWERS, ANSWERS)
def test_metrics_follow_the_definition(prediction: str, gold: str) -> None:
    left, right = words(prediction), words(gold)
    assert squad.squad_scores(prediction, [gold]) == (float(left == right), pytest.approx(slow_f1(left, right)))
    if left and right:
        assert squad.squad_scores(prediction, [gold], v2=True) == squad.squad_scores(prediction, [gold])


def test_known_values() -> None:
    assert squad.squad_scores("The  Cat's, an apple!", ["cats apple"]) == (1.0, 1.0)
    assert squad.squad_scores("in the year 1999", ["1999"]) == (0.0, pytest.approx(0.5))
    assert squad.squad_scores("1999", ["in 1999", "1999."]) == (1.0, 1.0)
    # "the" leaves no word: v1.1 gives F1 0, v2.0 gives 1 against another empty one.
    assert squad.squad_scores("the", ["an"]) == (1.0, 0.0)
    assert squad.squad_scores("", [], v2=True) == (1.0, 1.0)
    assert squad.squad_scores("cat", [], v2=True) == (0.0, 0.0)
    assert squad.squad_scores("", ["cat"], v2=True) == (0.0, 0.0)
    # v2.0 leaves out a gold answer without a word ("the"), unless there is no other.
    assert squad.squad_scores("", ["the", "cat"], v2=True) == (0.0, 0.0)
    assert squad.squad_scores("", ["the"], v2=True) == (1.0, 1.0)
    with pytest.raises(ValueError, match="without a gold answer"):
        squad.squad_scores("cat", [])


def best_of_all(windows, n_best, longest):
    """All pairs of all windows, the first of the highest in (window, start, end) order."""
    best = None
    for w, (starts, ends, allowed) in enumerate(windows):
        tokens = [t for t in range(len(starts)) if allowed[t]]
        first = sorted(tokens, key=lambda t: (-starts[t], t))[:n_best]
        last = sorted(tokens, key=lambda t: (-ends[t], t))[:n_best]
        for s in first:
            for e in last:
                if s <= e < s + longest:
                    key = (-(starts[s] + ends[e]), w, s, e)
                    best = min(best, key) if best else key
    return best


@pytest.mark.parametrize("seed", range(20))
def test_the_best_answer_is_the_best_of_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    longest, n_best = int(rng.integers(1, 8)), int(rng.integers(1, 9))
    sizes = rng.integers(5, 30, 7)
    # Whole numbers, so that equal scores occur.
    starts, ends = ([rng.integers(-4, 5, size).astype(np.float32) for size in sizes] for _ in range(2))
    begin = [np.where(np.arange(size) >= 3, 2 * np.arange(size), -1) for size in sizes]
    stop = [np.where(first >= 0, first + 1, -1) for first in begin]
    owner = rng.integers(0, 3, 7).tolist()
    settings = {"n_best": n_best, "max_answer_length": longest, "null_allowed": True, "null_threshold": 0.5}
    found = squad.best_answers(starts, ends, begin, stop, owner, **settings)
    assert set(found) == set(owner)
    for question, answer in found.items():
        mine = [w for w in range(7) if owner[w] == question]
        windows = [(starts[w], ends[w], begin[w] >= 0) for w in mine]
        best = best_of_all(windows, n_best, longest) or best_of_all(windows, None, longest)
        assert best is not None
        negative, w, s, e = best
        assert (answer.score, answer.start, answer.end) == (-negative, begin[mine[w]][s], stop[mine[w]][e])
        null = min(float(starts[w][0] + ends[w][0]) for w in mine)
        assert (answer.null_score, answer.null) == (null, null + negative > 0.5)
        assert answer.text("x" * 100) == ("" if answer.null else "x" * (answer.end - answer.start))


def test_without_null_there_is_always_a_span() -> None:
    starts, ends = np.array([9.0, 0, 0, 1, 5]), np.array([9.0, 0, 0, 5, 1])
    inside = np.array([-1, -1, -1, 0, 4])
    # The one best start lies after the one best end: the limit of one is dropped rather than no answer given.
    found = squad.best_answers([starts], [ends], [inside], [inside + 3], [7], n_best=1)
    assert (found[7].start, found[7].end, found[7].null) == (0, 3, False)
    nothing = np.full(4, -1)  # no token of the context in the window: the empty text
    found = squad.best_answers([np.zeros(4)], [np.zeros(4)], [nothing], [nothing], [0])
    assert found[0].score == -np.inf and found[0].text("context") == ""
