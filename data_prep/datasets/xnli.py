"""XNLI (Conneau et al. 2018): trained on MultiNLI, selected on XNLI's own English dev set."""

from dataclasses import replace
from functools import partial

from common import fields
from common.labels import NLI
from data_prep.datasets import mnli
from data_prep.datasets.schema import Dataset, Files, Hub
from data_prep.datasets.sentence_pair import sentence_pair
from data_prep.formats import readers
from tasks.task import Task

LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")


upstream_xnli = sentence_pair(
    "sentence1", "sentence2", "gold_label", words={"contradictory": "contradiction"}, unlabelled=("-",), name="pairID"
)
xtreme_xnli = sentence_pair(*mnli.COLUMNS, words={"contradictory": "contradiction"}, unlabelled=("-",))


def of_language(row: fields.RawRow, split: str, language: str) -> bool:
    return row.get("language") == language


TEST = Dataset(
    "xnli",
    "classify",
    "CC BY-NC 4.0",
    "https://github.com/facebookresearch/XNLI",
    "5,010 (dev 2,490)",
    (Hub("facebook/xnli", "{code}", mnli.COLUMNS, mnli.hub_nli, "b8dd5d7af51114dbda02c0e3f6133f332186418e"),),
    (
        Files("xnli.{split}.tsv", readers.tsv, upstream_xnli, label="gold_label", select=of_language),
        Files("xnli.{split}.jsonl", readers.jsonl, upstream_xnli, label="gold_label", select=of_language),
        Files("{split}-{code}.tsv", partial(readers.quoted_tsv, columns=mnli.COLUMNS), xtreme_xnli, within="xnli"),
    ),
    labels=NLI,
    splits=("test", "validation"),
    layout="XNLI-1.0/xnli.{test,dev}.{tsv,jsonl}; XTREME's xnli/{test,dev}-xx.tsv",
    suites={"xtreme": LANGUAGES, "xtreme-r": LANGUAGES},
)
TRAINING = replace(
    TEST, licence="MultiNLI's and CC BY-NC 4.0", rows="392,702 / 2,490", splits=("dev",), train_from="mnli", suites={}
)
TASKS = Task("xnli", "classify", "accuracy", ("xnli",), NLI)
