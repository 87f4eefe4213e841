"""Entity F1 and both POS metrics against seqeval, and what happens to words without a prediction."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from common.labels import UPOS
from eval.metrics import tagging

IOB = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-a-b", "I-a-b"]
Tags = list[list[str]]


def seqeval(predictions: Tags, golds: Tags) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of divisions by zero, and of tags that are no entity tags
        scores = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
        return {name: 100 * float(score(golds, predictions)) for name, score in scores.items()}


@st.composite
def tagged(draw, tags: list[str]) -> tuple[list[list[str | None]], Tags]:
    """(predictions, golds): sentences of the same lengths, predictions often equal to the gold and sometimes None."""
    few = draw(st.lists(st.sampled_from(tags), min_size=1, max_size=4))
    golds = draw(st.lists(st.lists(st.sampled_from(few), min_size=1, max_size=8), min_size=1, max_size=4))
    predictions = [[draw(st.sampled_from([tag, tag, None, *few])) for tag in sentence] for sentence in golds]
    return predictions, golds


@settings(max_examples=150)
@given(tagged(IOB))
def test_entities_are_seqevals(pair) -> None:
    """A word without prediction is in no entity."""
    predictions, golds = pair
    outside = [[tag or "O" for tag in sentence] for sentence in predictions]
    assert tagging.entities(predictions, golds).scores() == pytest.approx(seqeval(outside, golds))


@settings(max_examples=150)
@given(tagged([*UPOS, "_"]))
def test_pos_is_seqevals_of_the_time(pair) -> None:
    """Up to 0.0.15 seqeval took a bare tag's first letter for the prefix and the whole tag for the type. Written out

    as PREFIX-TYPE, today's seqeval does the same (with a letter more, since it takes "_" for the type of an O). A word
    without prediction is in no chunk, and wrong.
    """
    predictions, golds = pair
    spelled = [[[f"{t[0]}-{t}x" if t else "O" for t in sentence] for sentence in side] for side in (predictions, golds)]
    found = tagging.pos(predictions, golds).scores()
    flat = [(p, g) for ps, gs in zip(predictions, golds, strict=True) for p, g in zip(ps, gs, strict=True)]
    assert found.pop("accuracy") == pytest.approx(100 * sum(p == g for p, g in flat) / len(flat))
    assert found == pytest.approx(seqeval(*spelled))


def test_pos_known_values() -> None:
    predictions, golds = [["CCONJ", "NOUN"]], [["SCONJ", "NOUN"]]
    assert tagging.pos(predictions, golds).scores()["f1"] == 50.0
    assert seqeval(predictions, golds)["f1"] == 100.0  # seqeval from 0.0.16 on: both are of type "CONJ"


def test_an_i_without_its_b_opens_an_entity() -> None:
    gold = [["O", "B-PER", "I-PER"]]
    assert tagging.entities([["O", "I-PER", "I-PER"]], gold).scores()["f1"] == 100.0
    assert f1_score(gold, [["O", "I-PER", "I-PER"]], mode="strict", scheme=IOB2) == 0.0  # where it would be none
