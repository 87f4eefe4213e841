"""CommonsenseQA (Talmor et al. 2019), the random split."""

from common import fields
from data_prep.datasets.schema import Dataset, Files, Hub
from data_prep.formats import readers
from tasks.choice.data import Choice
from tasks.task import Task

COLUMNS = ("id", "question", "choices", "answerKey")
REVISION = "94630fe30dad47192a8546eb75f094926d47e155"


def hub_commonsenseqa(row: fields.RawRow, where: str, labels: fields.Labels) -> Choice:
    choices = fields.get(row, "choices", where)
    if not isinstance(choices, dict):
        raise fields.wrong(where, "choices", "lists `label` and `text`", choices)
    letters, texts = fields.texts(choices, "label", where), fields.texts(choices, "text", where)
    return _commonsenseqa(row, fields.text(row, "question", where), letters, texts, where)


def upstream_commonsenseqa(row: fields.RawRow, where: str, labels: fields.Labels) -> Choice:
    question = fields.get(row, "question", where)
    choices = question.get("choices") if isinstance(question, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise fields.wrong(where, "question", "{stem, choices: [{label, text}]}", question)
    letters = [fields.text(choice, "label", where) for choice in choices]
    texts = [fields.text(choice, "text", where) for choice in choices]
    return _commonsenseqa(row, fields.text(question, "stem", where), letters, texts, where)


def _commonsenseqa(row: fields.RawRow, stem: str, letters: list[str], texts: list[str], where: str) -> Choice:
    if len(letters) != 5 or len(texts) != 5:
        raise fields.wrong(where, "choices", "5", len(texts))
    answer = fields.withheld(row.get("answerKey"), where)
    if answer not in letters:
        raise fields.wrong(where, "answerKey", f"one of {', '.join(letters)}", answer)
    return Choice(fields.text(row, "id", where), stem, tuple(texts), letters.index(answer))


TRAINING = Dataset(
    "commonsenseqa",
    "choice",
    "MIT",
    "https://www.tau-nlp.org/commonsenseqa",
    "9,741 / 1,221",
    (Hub("tau/commonsense_qa", "default", COLUMNS, hub_commonsenseqa, REVISION),),
    (Files("{split}_rand_split.jsonl", readers.jsonl, upstream_commonsenseqa),),
)
TASKS = Task("commonsenseqa", "choice", "accuracy", ("commonsenseqa",))
