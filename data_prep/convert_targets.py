"""Rows of the target tasks' data (PAWS-X, XNLI, POS, NER, TyDiQA, Social IQa, COPA, XCOPA) to examples.

Functions as in `convert.py`, for training and for evaluation alike, so that a model is tested on texts put together as
those it was trained on. How COPA's prompt is made is XTREME's choice (`third_party/run_xcopa.py`).
"""

from typing import Any

from common import fields
from common.errors import InputError
from common.fields import Labels, shorten
from common.labels import NER, UPOS
from data_prep import convert
from data_prep.convert import Dropped
from tasks.base import Example
from tasks.choice.data import Choice
from tasks.classify.data import Classify
from tasks.span.data import Span
from tasks.tag.data import Tag

NO_WORDS = "words withheld by the treebank's licence"
PAWSX_WORDS = {"0": "not_paraphrase", "1": "paraphrase"}


def xnli(row: dict[str, Any], where: str, labels: Labels) -> Example:
    """XNLI-1.0 and XTREME's TSV, which name the fields differently; the makers' files also say `contradictory`."""
    first, second, name = (
        ("sentence1", "sentence2", "gold_label") if "gold_label" in row else ("premise", "hypothesis", "label")
    )
    word = fields.withheld(row.get(name), where)
    if word == "-":
        raise Dropped(convert.NO_GOLD)
    word = "contradiction" if word == "contradictory" else word
    pair = str(row.get("pairID") or "")
    return Classify(
        pair, fields.text(row, first, where), fields.text(row, second, where), fields.label(word, where, labels)
    )


def pawsx(row: dict[str, Any], where: str, labels: Labels) -> Example:
    """The Hub, x-final and XTREME's TSV: sentence1, sentence2, label 0 or 1 (a number, or a word)."""
    value = str(fields.withheld(row.get("label"), where))
    if value not in PAWSX_WORDS:
        raise InputError(f"{where}: field `label`: expected 0 or 1, found {shorten(value)}")
    name = str(row["id"]) if row.get("id") is not None else ""
    label = fields.label(PAWSX_WORDS[value], where, labels)
    return Classify(name, fields.text(row, "sentence1", where), fields.text(row, "sentence2", where), label)


def tagged(row: dict[str, Any], where: str, labels: Labels) -> Example:
    """Words and tags from a file of one word a line (`tagged.py`)."""
    words = fields.texts(row, "words", where)
    blanks = words.count("_")
    if blanks and blanks >= len(words) - 1:  # XTREME leaves these sentences out as well
        raise Dropped(NO_WORDS)
    if "tags" not in row:
        raise InputError(f"{where}: this copy has no labels, only words: a test split? expected `word<TAB>TAG`")
    return Tag("", tuple(words), tuple(fields.texts(row, "tags", where)))


def hub_pos(row: dict[str, Any], where: str, labels: Labels) -> Example:
    return _hub_tags(row, "pos_tags", where, UPOS)


def hub_ner(row: dict[str, Any], where: str, labels: Labels) -> Example:
    return _hub_tags(row, "ner_tags", where, NER)


def _hub_tags(row: dict[str, Any], column: str, where: str, order: Labels) -> Example:
    """`order` is the Hub's, for copies whose Parquet files have lost the label names."""
    tags = fields.get(row, column, where)
    if isinstance(tags, list) and any(tag in (None, -1) for tag in tags):
        raise InputError(f"{where}: field `{column}`: this copy has no labels; expected a tag for every word")
    if isinstance(tags, list) and all(type(tag) is int and 0 <= tag < len(order) for tag in tags):
        row = {**row, column: [order[tag] for tag in tags]}
    return Tag("", tuple(fields.texts(row, "tokens", where)), tuple(fields.texts(row, column, where)))


def goldp(row: dict[str, Any], where: str, labels: Labels) -> Example:
    """A question of XTREME's TyDiQA files. Their ids were cut down and occur many times; the place is added."""
    span = convert.upstream_squad(row, where, labels)
    assert isinstance(span, Span)
    return Span(f"{span.id}@{where.rpartition(': ')[2]}", span.question, span.context, span.answers)


def stripped_squad(row: dict[str, Any], where: str, labels: Labels) -> Example:
    """`hub_squad` of a copy that has lost spaces around contexts and answers, while its offsets still count them.

    The scripts that made the Hub's TyDiQA, XQuAD and XTREME did this (`strip()`). An answer that does not stand where
    it should is looked for nearby: the nearest place counts, the one to the left of two.
    """
    span = convert.hub_squad(row, where, labels)
    assert isinstance(span, Span)
    answers = []
    for answer, start in span.answers:
        if answer and not span.context.startswith(answer, start):
            left, right = span.context.rfind(answer, 0, start + len(answer)), span.context.find(answer, start)
            places = [place for place in (left, right) if place >= 0]
            start = min(places, key=lambda place: abs(place - start), default=start)
        answers.append((answer, start))
    return Span(span.id, span.question, span.context, tuple(answers))


SIQA_LETTERS = {"A": 0, "B": 1, "C": 2, "1": 0, "2": 1, "3": 2}


def siqa(row: dict[str, Any], where: str, labels: Labels) -> Example:
    """Social IQa: the Hub (`label` "1" to "3") and v1.4 (`correct` "A" to "C"). Prompt: context and question."""
    name = "correct" if "correct" in row else "label"
    value = str(fields.withheld(row.get(name), where))
    if value not in SIQA_LETTERS:
        raise InputError(f"{where}: field `{name}`: expected A to C or 1 to 3, found {shorten(value)}")
    prompt = f"{fields.text(row, 'context', where)} {fields.text(row, 'question', where)}"
    choices = tuple(fields.text(row, f"answer{letter}", where) for letter in "ABC")
    return Choice("", prompt, choices, SIQA_LETTERS[value])


def copa(row: dict[str, Any], where: str, labels: Labels) -> Example:
    """COPA and XCOPA: two choices, `label` 0 or 1 (or their names). Prompt: "PREMISE What was the cause?"."""
    value = fields.withheld(row.get("label"), where)
    if value in ("choice1", "choice2"):
        value = int(value == "choice2")
    asked = fields.text(row, "question", where)
    if asked not in ("cause", "effect"):
        raise InputError(f"{where}: field `question`: expected cause or effect, found {shorten(asked)}")
    prompt = f"{fields.text(row, 'premise', where)} What was the {asked}?"
    choices = (fields.text(row, "choice1", where), fields.text(row, "choice2", where))
    return Choice(str(row.get("idx", "")), prompt, choices, fields.number(value, "label", where))
