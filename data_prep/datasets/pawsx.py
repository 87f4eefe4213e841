"""PAWS-X (Yang et al. 2019), trained on its English part, or on its machine translation."""

from dataclasses import replace
from functools import partial

from common.labels import PAWSX
from common.languages import codes
from data_prep.datasets.schema import Dataset, Files, Hub, Task, by_language, in_languages, splits
from data_prep.datasets.sentence_pair import sentence_pair
from data_prep.formats import readers

COLUMNS = ("sentence1", "sentence2", "label")
REVISION = "4cd8187c404bda33cb1f62b49b001115862acf37"
X_FINAL = splits("train", "dev_2k", "dev_2k", "test_2k")
TRANSLATED = codes("de es fr ja ko zh")
WORDS = {"0": "not_paraphrase", "1": "paraphrase"}


pawsx = sentence_pair(*COLUMNS, order=PAWSX, words=WORDS)  # of the Hub, x-final and XTREME

ENGLISH = Dataset(
    "pawsx",
    "classify",
    "PAWS licence (any purpose, with acknowledgement)",
    "https://github.com/google-research-datasets/paws/tree/master/pawsx",
    "49,401 / 2,000",
    (Hub("google-research-datasets/paws-x", "{code}", ("id", *COLUMNS), pawsx, REVISION),),
    (
        Files("{code}/{split}.tsv", readers.tsv, pawsx, X_FINAL, within="x-final"),
        Files("{split}-{code}.tsv", partial(readers.quoted_tsv, columns=COLUMNS), pawsx, within="pawsx"),
    ),
)
TEST = replace(
    ENGLISH,
    rows="2,000 (dev 2,000)",
    labels=PAWSX,
    splits=("test", "validation"),
    layout="x-final/xx/{test,dev}_2k.tsv; XTREME's pawsx/{test,dev}-xx.tsv",
    suites={"xtreme": codes("en", *TRANSLATED)},
)
MT = replace(ENGLISH.files[0], splits=splits("translated_train", "dev_2k"))
TRAINING = (ENGLISH, *in_languages(replace(ENGLISH, files=(MT,), translated="Google, 2019; dev by people"), TRANSLATED))
TASKS = Task("pawsx", "classify", "accuracy", ("pawsx",), PAWSX, others=by_language(TRAINING[1:]))
