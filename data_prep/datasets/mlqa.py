"""MLQA (Lewis et al. 2020), whose encoder trains on SQuAD 1.1, and its machine translation of SQuAD 1.1.

The translations have the questions whose answer was found again: 76,285 (zh) to 84,816 (vi) of 87,599.
"""

from common.languages import codes
from data_prep.datasets import squad
from data_prep.datasets.schema import Dataset, Files, Hub, Published, in_languages
from data_prep.formats import readers

ARCHIVE = "mlqa-translate-train.tar.gz"
SHA256 = "e510277b0bc3c0639f53839aba8591aebfe803b8b84c5c2ef0513768b86b7cf9"
PAIR = "context-{context}-question-{question}"
LANGUAGES = codes("en", *squad.TRANSLATED)
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
TRAINING = in_languages(
    Dataset(
        "squad_v1",
        "span",
        "CC BY-SA 3.0",
        f"https://github.com/facebookresearch/MLQA ({ARCHIVE})",
        "76,285 to 84,816 / 9,512 to 10,356",
        files=(Files("{code}_squad-translate-train-{split}-v1.1.json", readers.squad_json, squad.translated_squad),),
        published=(Published(f"mlqa/{ARCHIVE}", (f"https://dl.fbaipublicfiles.com/MLQA/{ARCHIVE}",), SHA256),),
        translated="Facebook, 2019",
    ),
    squad.TRANSLATED,
)
