"""XQuAD (Artetxe et al. 2020), whose encoder trains on SQuAD 1.1."""

from common.languages import codes
from data_prep.datasets import squad
from data_prep.datasets.schema import Dataset, Files, Hub, splits
from data_prep.formats import readers

REVISION = "51adfef1c1287aab1d2d91b5bead9bcfb9c68583"
LANGUAGES = codes("ar de el en es hi ru th tr vi zh")
TEST = Dataset(
    "xquad",
    "span",
    "CC BY-SA 4.0",
    "https://github.com/google-deepmind/xquad",
    "1,190 questions",
    (Hub("google/xquad", "xquad.{code}", squad.COLUMNS, squad.stripped_squad, REVISION, label="answers"),),
    (Files("xquad.{code}.json", readers.squad_json, squad.upstream_squad, splits(validation="all"), label="answers"),),
    splits=("validation",),
    layout="xquad.xx.json",
    suites={"xtreme": LANGUAGES, "xtreme-r": codes(*LANGUAGES, "ro")},
)
