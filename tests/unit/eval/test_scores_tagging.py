"""Entity F1 and both POS figures against seqeval, and what happens to words without a prediction."""

import itertools
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from common.labels import UPOS
from eval.metrics import tagging

IOB = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-a-b", "I-a-b"]


def seqeval(predictions: list[list[str]], golds: list[list[str]]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of divisions by zero, and of tags that are no entity tags
        return {
            "f1": 100 * float(f1_score(golds, predictions)),
            "precision": 100 * float(precision_score(golds, predictions)),
            "recall": 100 * float(recall_score(golds, predictions)),
        }


@st.composite
def tagged(draw, tags: list[str]) -> tuple[list[list[str]], list[list[str]]]:
    """(predictions, golds): sentences of the same lengths, predictions often equal to the gold."""
    few = draw(st.lists(st.sampled_from(tags), min_size=1, max_size=4))
    golds = draw(st.lists(st.lists(st.sampled_from(few), min_size=1, max_size=8), min_size=1, max_size=4))
    predictions = [[draw(st.sampled_from([tag, tag, *few])) for tag in sentence] for sentence in golds]
    return predictions, golds


@settings(max_examples=400, deadline=None)
@given(tagged(IOB))
def test_entities_are_seqevals(pair) -> None:
    predictions, golds = pair
    assert tagging.entities(predictions, golds) == pytest.approx(seqeval(predictions, golds))


@settings(max_examples=400, deadline=None)
@given(tagged([*UPOS, "_"]))
def test_pos_is_seqevals_of_the_time(pair) -> None:
    """Up to 0.0.15 seqeval took a bare tag's first letter for the prefix and the whole tag for the type. Written out

    as PREFIX-TYPE, today's seqeval does the same (with a letter more, since it takes "_" for the type of an O).
    """
    predictions, golds = pair
    spelled = [[[f"{tag[0]}-{tag}x" for tag in sentence] for sentence in side] for side in (predictions, golds)]
    found = tagging.pos(predictions, golds)
    flat = [(p, g) for ps, gs in zip(predictions, golds, strict=True) for p, g in zip(ps, gs, strict=True)]
    assert found.pop("accuracy") == pytest.approx(100 * sum(p == g for p, g in flat) / len(flat))
    assert found == pytest.approx(seqeval(*spelled))


def test_the_two_definitions_of_pos_differ() -> None:
    predictions, golds = [["CCONJ", "NOUN"]], [["SCONJ", "NOUN"]]
    assert tagging.pos(predictions, golds)["f1"] == 50.0
    assert seqeval(predictions, golds)["f1"] == 100.0  # seqeval from 0.0.16 on: both are of type "CONJ"


def test_pos_known_values() -> None:
    # Equal tags are one chunk: one wrong word in a run of three loses the run, though two words of three are right.
    found = tagging.pos([["NOUN", "NOUN", "VERB"]], [["NOUN", "NOUN", "NOUN"]])
    assert found == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": pytest.approx(200 / 3)}
    # Tags with S are chunks of one word.
    found = tagging.pos([["SYM", "SYM", "X"]], [["SYM", "SYM", "SYM"]])
    assert (found["precision"], found["recall"]) == (pytest.approx(200 / 3), pytest.approx(200 / 3))
    with pytest.raises(ValueError, match="'NN'"):
        tagging.pos([["NN"]], [["NOUN"]])
    with pytest.raises(ValueError, match="no word"):
        tagging.pos([[]], [[]])


def test_an_i_without_its_b_opens_an_entity() -> None:
    gold = [["O", "B-PER", "I-PER"]]
    assert tagging.entities([["O", "I-PER", "I-PER"]], gold)["f1"] == 100.0
    assert f1_score(gold, [["O", "I-PER", "I-PER"]], mode="strict", scheme=IOB2) == 0.0  # where it would be none
    # After another type too; and a B- always begins a new one.
    assert tagging.entities([["B-LOC", "I-PER", "I-PER"]], [["B-LOC", "B-PER", "I-PER"]])["f1"] == 100.0
    assert tagging.entities([["B-PER", "B-PER"]], [["B-PER", "I-PER"]])["f1"] == 0.0
    with pytest.raises(ValueError, match="'PER'"):
        tagging.entities([["PER"]], [["O"]])


@settings(max_examples=200, deadline=None)
@given(tagged(IOB), st.integers(0, 2**32 - 1))
def test_a_word_without_prediction_is_in_no_entity(pair, bits: int) -> None:
    predictions, golds = pair
    words = itertools.count()
    cut = [[None if bits >> next(words) & 1 else tag for tag in sentence] for sentence in predictions]
    outside = [["O" if tag is None else tag for tag in sentence] for sentence in cut]
    assert tagging.entities(cut, golds) == pytest.approx(seqeval(outside, golds))


def test_a_word_without_prediction_is_wrong() -> None:
    # The gold has two chunks; without its last word the second is missed, never left out of the count.
    assert tagging.entities([["B-PER", "B-LOC", None]], [["B-PER", "B-LOC", "I-LOC"]])["recall"] == 50.0
    found = tagging.pos([["NOUN", None, None]], [["NOUN", "VERB", "VERB"]])
    assert found == {
        "f1": pytest.approx(200 / 3), "precision": 100.0, "recall": 50.0, "accuracy": pytest.approx(100 / 3),
    }  # fmt: skip
    with pytest.raises(ValueError, match="sentence 1: 1 predictions for 2 words"):
        tagging.pos([["NOUN"], ["NOUN"]], [["NOUN"], ["NOUN", "VERB"]])
    with pytest.raises(ValueError, match="1 predicted sentences for 2"):
        tagging.entities([["O"]], [["O"], ["O"]])


def test_real_tags(shared) -> None:
    """WikiANN's own tags, I- without B- among them; the prediction of a sentence is that of the next one, cut."""
    import pyarrow.parquet as pq

    names, orphans = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"], 0
    for path in sorted((shared / "data" / "hub" / "unimelb-nlp" / "wikiann").glob("*/train-*.parquet")):
        golds = [[names[tag] for tag in row] for row in pq.read_table(path).column("ner_tags").to_pylist()]
        for tags in golds:
            orphans += sum(t[0] == "I" and p[2:] != t[2:] for p, t in zip(["O", *tags], tags, strict=False))
        predictions = [(b * len(a))[: len(a)] for a, b in zip(golds, golds[1:] + golds[:1], strict=True)]
        assert tagging.entities(predictions, golds) == pytest.approx(seqeval(predictions, golds))
        assert tagging.entities(golds, golds)["f1"] == 100.0
    assert orphans > 0
