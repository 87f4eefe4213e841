"""Rows of the known datasets to examples.

One function per dataset and layout, `convert(row, where, labels) -> Example`; `labels` are the task's label names in
id order. Labels go by *name*: a Hub number has become a name in the reader, a file's word is looked up here. `Dropped`
marks a row that the dataset's makers left without a label that annotators agree on; it is counted, not an error.
"""

from collections.abc import Callable
from typing import Any

from common import fields
from common.errors import InputError
from common.fields import EmptyText, Labels, shorten
from tasks.base import Example
from tasks.choice.data import Choice
from tasks.classify.data import Classify
from tasks.span.data import Span
from tasks.tag.data import Tag

Convert = Callable[[dict[str, Any], str, Labels], Example]


class Dropped(Exception):
    """A row to leave out; its text is the reason under which it is counted."""


NO_GOLD = "no gold label"

# Label words of upstream files -> names of common/task_table.py.
ANLI_WORDS = {"e": "entailment", "n": "neutral", "c": "contradiction"}
QQP_WORDS = {"0": "not_duplicate", "1": "duplicate"}

# The Hub's own order, for copies whose Parquet files have lost the label names.
HUB_NLI = ("entailment", "neutral", "contradiction")
HUB_QQP = ("not_duplicate", "duplicate")


def hub_nli(row: dict[str, Any], where: str, labels: Labels) -> Example:
    label = fields.label(_hub_name(row, where, HUB_NLI), where, labels)
    return Classify(
        str(row.get("uid", "")), fields.text(row, "premise", where), fields.text(row, "hypothesis", where), label
    )


def hub_snli(row: dict[str, Any], where: str, labels: Labels) -> Example:
    if fields.get(row, "label", where) in (None, -1):
        raise Dropped(NO_GOLD)
    return hub_nli(row, where, labels)


def hub_qqp(row: dict[str, Any], where: str, labels: Labels) -> Example:
    label = fields.label(_hub_name(row, where, HUB_QQP), where, labels)
    return Classify("", fields.text(row, "question1", where), fields.text(row, "question2", where), label)


def upstream_nli(row: dict[str, Any], where: str, labels: Labels) -> Example:
    """MultiNLI and SNLI as released (jsonl), and GLUE's MNLI (tsv): sentence1, sentence2, gold_label, `-` for none."""
    name = fields.text(row, "gold_label", where)
    if name == "-":
        raise Dropped(NO_GOLD)
    pair = str(row.get("pairID", ""))
    return Classify(
        pair,
        fields.text(row, "sentence1", where),
        fields.text(row, "sentence2", where),
        fields.label(name, where, labels),
    )


def upstream_anli(row: dict[str, Any], where: str, labels: Labels) -> Example:
    name = fields.word(row, "label", where, ANLI_WORDS)
    premise, hypothesis = fields.text(row, "context", where), fields.text(row, "hypothesis", where)
    return Classify(str(row.get("uid", "")), premise, hypothesis, fields.label(name, where, labels))


def glue_qqp(row: dict[str, Any], where: str, labels: Labels) -> Example:
    name = fields.word(row, "is_duplicate", where, QQP_WORDS)
    question1, question2 = fields.text(row, "question1", where), fields.text(row, "question2", where)
    return Classify(str(row.get("id", "")), question1, question2, fields.label(name, where, labels))


def hub_squad(row: dict[str, Any], where: str, labels: Labels) -> Example:
    answers = fields.get(row, "answers", where)
    try:
        texts, starts = answers["text"], answers["answer_start"]
        pairs = tuple((str(text), int(start)) for text, start in zip(texts, starts, strict=True))
    except (TypeError, KeyError, ValueError):
        found = shorten(answers)
        expected = "equal lists `text` and `answer_start`"
        raise InputError(f"{where}: field `answers`: expected {expected}, found {found}") from None
    return Span(
        fields.text(row, "id", where), fields.text(row, "question", where), fields.text(row, "context", where), pairs
    )


def upstream_squad(row: dict[str, Any], where: str, labels: Labels) -> Example:
    """SQuAD 1.1 and 2.0; in 2.0 `is_impossible` goes with an empty list of answers."""
    pairs = fields.answers(row, "answer_start", where)
    impossible = row.get("is_impossible")
    if impossible is not None and bool(impossible) != (not pairs):
        raise InputError(f"{where}: field `is_impossible` is {impossible}, but there are {len(pairs)} answers")
    return Span(
        fields.text(row, "id", where), fields.text(row, "question", where), fields.text(row, "context", where), pairs
    )


def hellaswag(row: dict[str, Any], where: str, labels: Labels) -> Example:
    """Hub (label "0" to "3") and upstream (0 to 3) alike: ctx_a is the prompt, ctx_b opens every ending."""
    opening = fields.text(row, "ctx_b", where)
    endings = fields.texts(row, "endings", where)
    label = fields.withheld(fields.get(row, "label", where), where)
    choices = tuple(f"{opening} {ending}" if opening else ending for ending in endings)
    if len(choices) != 4:
        raise InputError(f"{where}: field `endings`: expected 4, found {len(choices)}")
    return Choice(
        str(row.get("ind", "")), fields.text(row, "ctx_a", where), choices, fields.number(label, "label", where)
    )


def cosmosqa(row: dict[str, Any], where: str, labels: Labels) -> Example:
    context, question = fields.text(row, "context", where), fields.text(row, "question", where)
    if not context.strip() or not question.strip():
        raise EmptyText(f"{where}: field `{'question' if context.strip() else 'context'}`: expected a text, found none")
    choices = tuple(fields.text(row, f"answer{i}", where) for i in range(4))
    label = fields.withheld(fields.get(row, "label", where), where)
    prompt = f"{context} {question}"
    return Choice(fields.text(row, "id", where), prompt, choices, fields.number(label, "label", where))


def hub_commonsenseqa(row: dict[str, Any], where: str, labels: Labels) -> Example:
    choices = fields.get(row, "choices", where)
    if not isinstance(choices, dict):
        raise InputError(f"{where}: field `choices`: expected lists `label` and `text`, found {shorten(choices)}")
    letters, texts = fields.texts(choices, "label", where), fields.texts(choices, "text", where)
    return _commonsenseqa(row, fields.text(row, "question", where), letters, texts, where)


def upstream_commonsenseqa(row: dict[str, Any], where: str, labels: Labels) -> Example:
    question = fields.get(row, "question", where)
    choices = question.get("choices") if isinstance(question, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        found = shorten(question)
        raise InputError(f"{where}: field `question`: expected {{stem, choices: [{{label, text}}]}}, found {found}")
    letters = [fields.text(choice, "label", where) for choice in choices]
    texts = [fields.text(choice, "text", where) for choice in choices]
    return _commonsenseqa(row, fields.text(question, "stem", where), letters, texts, where)


def _commonsenseqa(row: dict[str, Any], stem: str, letters: list[str], texts: list[str], where: str) -> Example:
    if len(letters) != 5 or len(texts) != 5:
        raise InputError(f"{where}: field `choices`: expected 5, found {len(texts)}")
    answer = fields.withheld(row.get("answerKey"), where)
    if answer not in letters:
        raise InputError(f"{where}: field `answerKey`: expected one of {', '.join(letters)}, found {shorten(answer)}")
    return Choice(fields.text(row, "id", where), stem, tuple(texts), letters.index(answer))


def tag(row: dict[str, Any], where: str, labels: Labels) -> Example:
    return Tag(
        str(row.get("id") or ""), tuple(fields.texts(row, "words", where)), tuple(fields.texts(row, "tags", where))
    )


def _hub_name(row: dict[str, Any], where: str, order: Labels) -> str:
    """The label's name: from the reader if the file has names, else by the Hub's documented order."""
    value = fields.withheld(fields.get(row, "label", where), where)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < len(order):
            expected = f"0 to {len(order) - 1} ({', '.join(order)})"
            raise InputError(f"{where}: field `label`: expected {expected}, found {value}")
        return order[value]
    return fields.text(row, "label", where)
