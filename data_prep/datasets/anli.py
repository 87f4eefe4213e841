"""Adversarial NLI, rounds 1 to 3 (Nie et al. 2020)."""

from common.labels import NLI
from data_prep.datasets import mnli
from data_prep.datasets.schema import Dataset, Files, Hub, Task, splits
from data_prep.datasets.sentence_pair import sentence_pair
from data_prep.formats import readers

ROUNDS = splits("train_r1 train_r2 train_r3", "dev_r1 dev_r2 dev_r3")
WORDS = {"e": "entailment", "n": "neutral", "c": "contradiction"}


upstream_anli = sentence_pair("context", "hypothesis", words=WORDS, name="uid")

TRAINING = Dataset(
    "anli",
    "classify",
    "CC BY-NC 4.0",
    "https://github.com/facebookresearch/anli",
    "162,865 / 3,200",
    (Hub("facebook/anli", "plain_text", ("uid", *mnli.COLUMNS), mnli.hub_nli, splits=ROUNDS),),
    (Files("R{split}.jsonl", readers.jsonl, upstream_anli, splits("1/train 2/train 3/train", "1/dev 2/dev 3/dev")),),
)
# ANLI+ is MNLI + SNLI + ANLI rounds 1-3 on one head (Phang et al. 2020, table 1).
TASKS = Task("anli_plus", "classify", "accuracy", ("mnli", "snli", "anli"), NLI)
