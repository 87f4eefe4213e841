"""tasks/span/squad.py against the definitions, written out slowly here, and against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.span import squad


def slow_normal(text: str) -> list[str]:
    """SQuAD's normaliser word by word: lower, drop ASCII punctuation, articles become spaces, split."""
    text = "".join(
        c for c in text.lower() if not ("!" <= c <= "/" or ":" <= c <= "@" or "[" <= c <= "`" or "{" <= c <= "~")
    )
    words, word = [], ""
    for c in text + " ":
        if c.isalnum() or c == "_":
            word += c
            continue
        words.append(" " if word in ("a", "an", "the") else word)
        words.append(c)
        word = ""
    return "".join(words).split()


def slow_f1(prediction: str, gold: str) -> float:
    left, right = slow_normal(prediction), slow_normal(gold)
    rest, shared = list(right), 0
    for word in left:
        if word in rest:
            rest.remove(word)
            shared += 1
    return 2 * shared / (len(left) + len(right)) if shared else 0.0


ANSWERS = st.lists(
    st.sampled_from(
        ["a", "an", "the", "The", "theatre", "cat", "Cat,", "U.S.", "$3", "日本", "¿qué?", "un", "l'eau", "—", "AN."]
    ),
    max_size=6,
).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(ANSWERS, ANSWERS)
def test_metrics_follow_the_definition(prediction: str, gold: str) -> None:
    assert squad.normalize_answer(prediction).split() == slow_normal(prediction)
    assert squad.exact_match(prediction, gold) == float(slow_normal(prediction) == slow_normal(gold))
    assert squad.f1(prediction, gold) == pytest.approx(slow_f1(prediction, gold))
    if slow_normal(prediction) and slow_normal(gold):
        assert squad.f1(prediction, gold, v2=True) == squad.f1(prediction, gold)


def test_known_values() -> None:
    assert squad.normalize_answer("The  Cat's, an apple!") == "cats apple"
    assert squad.f1("in the year 1999", "1999") == pytest.approx(0.5)
    assert squad.squad_scores("1999", ["in 1999", "1999."]) == (1.0, 1.0)
    # "the" leaves no word: v1.1 gives F1 0, v2.0 gives 1 against another empty one.
    assert (squad.exact_match("the", "an"), squad.f1("the", "an"), squad.f1("the", "an", v2=True)) == (1.0, 0.0, 1.0)
    assert squad.squad_scores("", [], v2=True) == (1.0, 1.0)
    assert squad.squad_scores("cat", [], v2=True) == (0.0, 0.0)
    assert squad.squad_scores("", ["cat"], v2=True) == (0.0, 0.0)
    # v2.0 leaves out a gold answer without a word ("the"), unless there is no other.
    assert squad.squad_scores("", ["the", "cat"], v2=True) == (0.0, 0.0)
    assert squad.squad_scores("", ["the"], v2=True) == (1.0, 1.0)
    with pytest.raises(ValueError, match="without a gold answer"):
        squad.squad_scores("cat", [])


def brute_force(windows, n_best, longest):
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


@pytest.mark.parametrize("seed", range(40))
def test_best_answers_is_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    longest, n_best = int(rng.integers(1, 8)), int(rng.integers(1, 9))
    starts, ends, begin, stop, owner = [], [], [], [], []
    for _ in range(7):
        size = int(rng.integers(5, 30))
        # Whole numbers, so that equal scores occur.
        starts.append(rng.integers(-4, 5, size).astype(np.float32))
        ends.append(rng.integers(-4, 5, size).astype(np.float32))
        inside = np.arange(size) >= 3
        begin.append(np.where(inside, 2 * np.arange(size), -1))
        stop.append(np.where(inside, 2 * np.arange(size) + 1, -1))
        owner.append(int(rng.integers(0, 3)))
    found = squad.best_answers(
        starts,
        ends,
        begin,
        stop,
        owner,
        n_best=n_best,
        max_answer_length=longest,
        null_allowed=True,
        null_threshold=0.5,
    )
    assert set(found) == set(owner)
    for question, answer in found.items():
        mine = [w for w in range(7) if owner[w] == question]
        windows = [(starts[w], ends[w], begin[w] >= 0) for w in mine]
        best = brute_force(windows, n_best, longest) or brute_force(windows, None, longest)
        assert best is not None
        negative, w, s, e = best
        assert (answer.score, answer.start, answer.end) == (-negative, begin[mine[w]][s], stop[mine[w]][e])
        null = min(float(starts[w][0] + ends[w][0]) for w in mine)
        assert answer.null_score == null
        assert answer.null == (null + negative > 0.5)
        assert answer.text("x" * 100) == ("" if answer.null else "x" * (answer.end - answer.start))


def test_without_null_there_is_always_a_span() -> None:
    starts, ends = np.array([9.0, 0, 0, 1, 5]), np.array([9.0, 0, 0, 5, 1])
    inside = np.array([-1, -1, -1, 0, 4])
    # The one best start lies after the one best end: the limit of one is dropped rather than no answer given.
    found = squad.best_answers([starts], [ends], [inside], [inside + 3], [7], n_best=1)
    assert (found[7].start, found[7].end, found[7].null) == (0, 3, False)


def test_no_context_token_gives_the_empty_text() -> None:
    nothing = np.full(4, -1)
    found = squad.best_answers([np.zeros(4)], [np.zeros(4)], [nothing], [nothing], [0])
    assert found[0].score == -np.inf and found[0].text("context") == ""
