"""SNLI (Bowman et al. 2015); part of the task `anli_plus`."""

from common import fields
from data_prep.datasets import mnli
from data_prep.datasets.schema import NO_GOLD, Dataset, Dropped, Files, Hub
from data_prep.formats import readers
from tasks.base import Example


def hub_snli(row: fields.RawRow, where: str, labels: fields.Labels) -> Example:
    if fields.get(row, "label", where) in (None, -1):
        raise Dropped(NO_GOLD)
    return mnli.hub_nli(row, where, labels)


TRAINING = Dataset(
    "snli",
    "classify",
    "CC BY-SA 4.0",
    "https://nlp.stanford.edu/projects/snli/",
    "550,152 / 10,000",
    (Hub("stanfordnlp/snli", "plain_text", mnli.COLUMNS, hub_snli, "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b"),),
    (Files("snli_1.0_{split}.jsonl", readers.jsonl, mnli.upstream_nli),),
)
