"""MultiNLI (Williams et al. 2018), and the conversion of every dataset of two sentences and a label."""

from collections.abc import Callable, Mapping
from typing import Any

from common import fields
from common.labels import NLI
from common.languages import codes
from data_prep.datasets.schema import NO_GOLD, Dataset, Dropped, Files, Hub, Task, splits
from data_prep.formats import readers
from tasks.classify.data import Classify

GLUE = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"  # commit of nyu-mll/glue
COLUMNS = ("premise", "hypothesis", "label")


def sentence_pair(
    first: str,
    second: str,
    label: str = "label",
    *,
    order: fields.Labels = (),
    words: Mapping[str, str] | None = None,
    unlabelled: tuple[Any, ...] = (),
    name: str = "id",
) -> Callable[[fields.RawRow, str, fields.Labels], Classify]:
    """What converts a row with these columns.

    The label is a name, a number in `order` (which is the Hub's: a copy may number them in another) or one of `words`;
    rows whose label is among `unlabelled` are dropped.
    """

    def convert(row: fields.RawRow, where: str, labels: fields.Labels) -> Classify:
        value = row.get(label)
        if value in unlabelled:
            raise Dropped(NO_GOLD)
        value = fields.withheld(value, where)
        given = fields.named(value, order, label, where) if order else fields.text(row, label, where)
        number = fields.label((words or {}).get(given, given), where, labels)
        texts = fields.text(row, first, where), fields.text(row, second, where)
        return Classify(str(row.get(name, "")), *texts, number)

    return convert


hub_nli = sentence_pair(*COLUMNS, order=NLI, name="uid")
# MultiNLI and SNLI as released (jsonl), and GLUE's MNLI (tsv).
upstream_nli = sentence_pair("sentence1", "sentence2", "gold_label", unlabelled=("-",), name="pairID")

TRAINING = Dataset(
    "mnli",
    "classify",
    "OANC and others, see the MultiNLI paper",
    "https://cims.nyu.edu/~sbowman/multinli/",
    "392,702 / 9,815",
    (Hub("nyu-mll/glue", "mnli", COLUMNS, hub_nli, GLUE, splits("train", "validation_matched")),),
    (
        Files("multinli_1.0_{split}.jsonl", readers.jsonl, upstream_nli, splits("train", "dev_matched")),
        Files("MNLI/{split}.tsv", readers.tsv, upstream_nli, splits("train", "dev_matched")),
    ),
)
TRANSLATED = codes("ar bg de el es fr hi ru sw th tr ur vi zh")  # in XNLI, see xnli.py
TASKS = Task("mnli", "classify", "accuracy", ("mnli",), NLI, others={code: (f"xnli.{code}",) for code in TRANSLATED})
