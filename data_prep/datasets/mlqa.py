"""MLQA (Lewis et al. 2020), whose encoder trains on SQuAD 1.1."""

from data_prep.datasets import squad
from data_prep.datasets.schema import Dataset, Files, Hub
from data_prep.formats import readers

PAIR = "context-{context}-question-{question}"
LANGUAGES = ("ar", "de", "en", "es", "hi", "vi", "zh")
TEST = Dataset(
    "mlqa",
    "span",
    "CC BY-SA 3.0",
    "https://github.com/facebookresearch/MLQA",
    "4,517 to 11,590 questions",
    (Hub("google/xtreme", "MLQA.{context}.{question}", squad.COLUMNS, squad.stripped_squad, label="answers"),),
    (Files(f"{{split}}-{PAIR}.json", readers.squad_json, squad.upstream_squad, label="answers"),),
    splits=("test", "validation"),
    layout="MLQA_V1/{test,dev}/{test,dev}-context-xx-question-xx.json",
    suites={"xtreme": LANGUAGES, "xtreme-r": LANGUAGES},
)
