"""Quora Question Pairs, in GLUE's split."""

from dataclasses import replace

from common import fields
from common.labels import QQP
from data_prep.datasets import mnli
from data_prep.datasets.schema import ON_HUB, Dataset, Files
from data_prep.formats import readers
from tasks.classify.data import Classify
from tasks.task import Task

COLUMNS = ("question1", "question2", "label")
WORDS = {"0": "not_duplicate", "1": "duplicate"}


def hub_qqp(row: fields.RawRow, where: str, labels: fields.Labels) -> Classify:
    label = fields.label(mnli.hub_label(row, where, QQP), where, labels)
    return Classify("", fields.text(row, "question1", where), fields.text(row, "question2", where), label)


def glue_qqp(row: fields.RawRow, where: str, labels: fields.Labels) -> Classify:
    name = fields.word(row, "is_duplicate", where, WORDS)
    question1, question2 = fields.text(row, "question1", where), fields.text(row, "question2", where)
    return Classify(str(row.get("id", "")), question1, question2, fields.label(name, where, labels))


TRAINING = Dataset(
    "qqp",
    "classify",
    "Quora terms, non-commercial",
    "https://gluebenchmark.com/tasks (QQP-clean.zip)",
    "363,846 / 40,430",
    (replace(mnli.TRAINING.hub[0], config="qqp", columns=COLUMNS, convert=hub_qqp, splits=ON_HUB),),
    (Files("QQP/{split}.tsv", readers.tsv, glue_qqp),),
)
TASKS = Task("qqp", "classify", "accuracy", ("qqp",), QQP)
