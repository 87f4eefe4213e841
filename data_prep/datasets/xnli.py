"""XNLI (Conneau et al. 2018): trained on MultiNLI, selected on XNLI's own English dev set.

In other languages trained on XNLI's machine translation of MultiNLI; the dev sets were translated by people.
"""

from dataclasses import replace
from functools import partial

from common import fields
from common.labels import NLI
from common.languages import codes
from data_prep.datasets import mnli
from data_prep.datasets.schema import Dataset, Files, Hub, Task, by_language, in_languages, splits
from data_prep.datasets.sentence_pair import sentence_pair
from data_prep.formats import readers
from tasks.classify.data import Classify

LANGUAGES = codes("en", *mnli.TRANSLATED)
WORDS = {"contradictory": "contradiction"}

upstream_xnli = sentence_pair("sentence1", "sentence2", "gold_label", words=WORDS, unlabelled=("-",), name="pairID")
xtreme_xnli = sentence_pair(*mnli.COLUMNS, words=WORDS, unlabelled=("-",))
upstream_translation = sentence_pair("premise", "hypo", "label", words=WORDS)


def upstream(row: fields.RawRow, where: str, labels: fields.Labels) -> Classify:
    """A row of XNLI-MT 1.0's training files or of XNLI 1.0's dev file."""
    return (upstream_translation if "hypo" in row else upstream_xnli)(row, where, labels)


def of_language(row: fields.RawRow, split: str, language: str) -> bool:
    """Of a file of one language all rows."""
    return row.get("language", language) == language


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
ENGLISH = replace(
    TEST, licence="MultiNLI's and CC BY-NC 4.0", rows="392,702 / 2,490", splits=("dev",), train_from="mnli", suites={}
)
MT = Files("{split}.tsv", readers.tsv, upstream, splits("multinli.train.{code}", "xnli.dev"), select=of_language)
WHOLE = replace(ENGLISH, splits=("train", "dev"), train_from="", files=(MT,), translated="XNLI-MT 1.0, 2018")
TRAINING = (ENGLISH, *in_languages(WHOLE, mnli.TRANSLATED))
TASKS = Task("xnli", "classify", "accuracy", ("xnli",), NLI, others=by_language(TRAINING[1:]))
