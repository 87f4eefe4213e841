"""MultiNLI (Williams et al. 2018)."""

from common.labels import NLI
from common.languages import codes
from data_prep.datasets.schema import Dataset, Files, Hub, Task, splits
from data_prep.datasets.sentence_pair import sentence_pair
from data_prep.formats import readers

GLUE = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"  # commit of nyu-mll/glue
COLUMNS = ("premise", "hypothesis", "label")


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
