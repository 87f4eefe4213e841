"""CommonsenseQA (Talmor et al. 2019), the random split."""

from typing import Any

from common import fields
from common.errors import InputError
from common.fields import Labels, shorten
from data_prep.datasets.schema import Dataset, Files, Hub
from data_prep.formats import readers
from tasks.base import Example
from tasks.choice.data import Choice
from tasks.task import Task

COLUMNS = ("id", "question", "choices", "answerKey")


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


TRAINING = Dataset(
    "commonsenseqa",
    "choice",
    "MIT",
    "https://www.tau-nlp.org/commonsenseqa",
    "9,741 / 1,221",
    (
        Hub(
            "tau/commonsense_qa",
            "default",
            COLUMNS,
            hub_commonsenseqa,
            "94630fe30dad47192a8546eb75f094926d47e155",
        ),
    ),
    (Files("{split}_rand_split.jsonl", readers.jsonl, upstream_commonsenseqa),),
)
TASKS = Task("commonsenseqa", "choice", "accuracy", ("commonsenseqa",))
