"""Tatoeba, as in LASER (Artetxe and Schwenk 2019): sentences in English and another language, to be found by vectors.

XTREME's copy, `tatoeba/{xx}-en.{xx}` and `.en`, has its English side sorted, which hides the alignment; `eval/read.py`
puts it back into order where the labels are there.
"""

from pathlib import Path

from common.languages import codes
from data_prep.datasets.schema import Dataset, Files, Hub, no_example, splits
from data_prep.formats import readers

REVISION = "69e8f12da6e31d59addadda9a9c8a2e601a0e282"
ALL = splits(test="all")
LANGUAGES = codes(
    "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi zh"
)


def line_pairs(path: Path) -> readers.Rows:
    """Line i of NAME.xx belongs to line i of NAME.eng (LASER) or NAME.en (XTREME): {"sentence1", "sentence2"}."""
    english = path.with_suffix(".eng" if path.name.startswith("tatoeba.") else ".en")
    for where, row in readers.parallel(path, english):
        yield where, {"sentence1": row["query"], "sentence2": row["passage"]}


TEST = Dataset(
    "tatoeba",
    "translation",
    "CC BY 2.0 FR",
    "https://github.com/facebookresearch/LASER (data/tatoeba/v1)",
    "1,000 pairs, some fewer",
    (
        Hub("mteb/tatoeba-bitext-mining", "{iso3}-eng", ("sentence1", "sentence2"), no_example, REVISION),
        Hub("google/xtreme", "tatoeba.{iso3}", ("source_sentence", "target_sentence"), no_example),
    ),
    (
        Files("tatoeba.{iso3}-eng.{iso3}", line_pairs, no_example, ALL, beside=".eng", always=True),
        Files("{code}-en.{code}", line_pairs, no_example, ALL, within="tatoeba", beside=".en", always=True),
    ),
    splits=("test", "validation"),
    layout="tatoeba.xxx-eng.{xxx,eng}",
    suites={"xtreme": LANGUAGES, "xtreme-r": codes(*LANGUAGES, "az lt pl ro uk")},
)
