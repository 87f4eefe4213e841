"""Quora Question Pairs, in GLUE's split."""

from common.labels import QQP
from data_prep.datasets import mnli
from data_prep.datasets.schema import Dataset, Files, Hub, Task
from data_prep.datasets.sentence_pair import sentence_pair
from data_prep.formats import readers

COLUMNS = ("question1", "question2", "label")
WORDS = {"0": "not_duplicate", "1": "duplicate"}


hub_qqp = sentence_pair(*COLUMNS, order=QQP)
glue_qqp = sentence_pair("question1", "question2", "is_duplicate", words=WORDS)

TRAINING = Dataset(
    "qqp",
    "classify",
    "Quora terms, non-commercial",
    "https://gluebenchmark.com/tasks (QQP-clean.zip)",
    "363,846 / 40,430",
    (Hub("nyu-mll/glue", "qqp", COLUMNS, hub_qqp, mnli.GLUE),),
    (Files("QQP/{split}.tsv", readers.tsv, glue_qqp),),
)
TASKS = Task("qqp", "classify", "accuracy", ("qqp",), QQP)
