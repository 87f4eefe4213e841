"""Rows of SQuAD and of Mewsli-X's Wikipedia pairs to (query, passage) pairs, for the dual encoders of XTREME-R.

LAReQA (Roy et al. 2020): query is the question, passage the answer's sentence with its paragraph (`passages.py`); of
several answers the first counts. Mewsli-X: query is the mention in its sentence, passage the entity's description.
"""

from typing import Any

from common import fields
from common.errors import InputError
from common.fields import Labels, shorten
from data_prep import convert, mewsli
from data_prep.convert import Dropped
from data_prep.passages import passage_text
from data_prep.sentences import sentence_at
from tasks.base import Example
from tasks.pair.data import Pair
from tasks.registry import TASK_TYPES
from tasks.span.data import Span

NO_SENTENCE = "the answer begins in no sentence"


def hub_squad(row: dict[str, Any], where: str, labels: Labels) -> Example:
    return _answer_pair(convert.hub_squad(row, where, labels), where)


def upstream_squad(row: dict[str, Any], where: str, labels: Labels) -> Example:
    return _answer_pair(convert.upstream_squad(row, where, labels), where)


def _answer_pair(span: Example, where: str) -> Pair:
    assert isinstance(span, Span)
    TASK_TYPES["span"].validate(span, where)
    if not span.answers:
        raise InputError(f"{where}: no answer; expected SQuAD v1.1, in which every question has one")
    sentence = sentence_at(span.context, span.answers[0][1])
    if sentence is None:
        raise Dropped(NO_SENTENCE)
    return Pair(span.id, span.question, passage_text(sentence, span.context))


def mewslix(row: dict[str, Any], where: str, labels: Labels) -> Example:
    """The makers' rows, {contextual_mention: {context, mention}, entity}, or the Hub's, with texts already made."""
    if "contextual_mention" not in row:
        name = str(row.get("example_id") or "")
        return Pair(name, fields.text(row, "mention", where), fields.text(row, "entity", where))
    match row:
        case {
            "contextual_mention": {"context": dict() as context, "mention": dict() as mention},
            "entity": dict() as one,
        }:
            query = mewsli.mention_text(context, mention, where)
            return Pair(fields.text(mention, "example_id", where), query, mewsli.entity_text(one, where))
    expected = "{contextual_mention: {context, mention}, entity}"
    raise InputError(f"{where}: expected {expected}, found {shorten(row)}")
