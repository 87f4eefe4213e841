"""MultiNLI (Williams et al. 2018)."""

from common import fields
from common.labels import NLI
from data_prep.datasets.schema import NO_GOLD, Dataset, Dropped, Files, Hub, splits
from data_prep.formats import readers
from tasks.classify.data import Classify
from tasks.task import Task

COLUMNS = ("premise", "hypothesis", "label")


def hub_label(row: fields.RawRow, where: str, order: fields.Labels) -> str:
    """The label's name: from the reader if the file has names, else by the Hub's documented order.

    Labels go by name: a copy may number them in another order.
    """
    return fields.named(fields.withheld(fields.get(row, "label", where), where), order, "label", where)


def hub_nli(row: fields.RawRow, where: str, labels: fields.Labels) -> Classify:
    label = fields.label(hub_label(row, where, NLI), where, labels)
    premise, hypothesis = fields.text(row, "premise", where), fields.text(row, "hypothesis", where)
    return Classify(str(row.get("uid", "")), premise, hypothesis, label)


def upstream_nli(row: fields.RawRow, where: str, labels: fields.Labels) -> Classify:
    """MultiNLI and SNLI as released (jsonl), and GLUE's MNLI (tsv): sentence1, sentence2, gold_label, `-` for none."""
    name = fields.text(row, "gold_label", where)
    if name == "-":
        raise Dropped(NO_GOLD)
    first, second = fields.text(row, "sentence1", where), fields.text(row, "sentence2", where)
    return Classify(str(row.get("pairID", "")), first, second, fields.label(name, where, labels))


TRAINING = Dataset(
    "mnli",
    "classify",
    "OANC and others, see the MultiNLI paper",
    "https://cims.nyu.edu/~sbowman/multinli/",
    "392,702 / 9,815",
    (
        Hub(
            "nyu-mll/glue",
            "mnli",
            COLUMNS,
            hub_nli,
            "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
            splits("train", "validation_matched"),
        ),
    ),
    (
        Files("multinli_1.0_{split}.jsonl", readers.jsonl, upstream_nli, splits("train", "dev_matched")),
        Files("MNLI/{split}.tsv", readers.tsv, upstream_nli, splits("train", "dev_matched")),
    ),
)
TASKS = Task("mnli", "classify", "accuracy", ("mnli",), NLI)
