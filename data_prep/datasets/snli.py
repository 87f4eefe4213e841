"""SNLI (Bowman et al. 2015); part of the task `anli_plus`."""

from common.labels import NLI
from data_prep.datasets import mnli
from data_prep.datasets.schema import Dataset, Files, Hub
from data_prep.datasets.sentence_pair import sentence_pair
from data_prep.formats import readers

hub_snli = sentence_pair(*mnli.COLUMNS, order=NLI, unlabelled=(None, -1))

TRAINING = Dataset(
    "snli",
    "classify",
    "CC BY-SA 4.0",
    "https://nlp.stanford.edu/projects/snli/",
    "550,152 / 10,000",
    (Hub("stanfordnlp/snli", "plain_text", mnli.COLUMNS, hub_snli, "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b"),),
    (Files("snli_1.0_{split}.jsonl", readers.jsonl, mnli.upstream_nli),),
)
