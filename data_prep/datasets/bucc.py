"""BUCC 2018 (Zweigenbaum et al. 2018): translations to be found in two corpora, in LIMSI's format.

The shared task's test gold was never published: as in XTREME, "test" is the official training set and "validation" the
official sample. No checksum of its archives was published; that of the first download is kept.
"""

from pathlib import Path

from common.errors import InputError
from data_prep.datasets.schema import Dataset, Files, Published, no_example, splits
from data_prep.formats import readers

NAMES = (splits(validation="sample", test="training"), splits(validation="dev", test="test"))  # LIMSI's and XTREME's
LANGUAGES = ("de", "fr", "ru", "zh")


def id_sentence(path: Path) -> readers.Rows:
    """`id<TAB>sentence`, or `id<TAB>id` of the gold, as {"id", "text"}; the text may hold tabs of its own."""
    for number, line in readers.lines(path):
        if not line:
            continue
        first, tab, second = line.partition("\t")
        if not tab or not first or not second.strip():
            raise InputError(f"{path}: line {number}: expected `id<TAB>sentence` (gold: `id<TAB>id`)")
        yield f"{path}: line {number}", {"id": first, "text": second}


TEST = Dataset(
    "bucc",
    "mining",
    "research use, not stated",
    "https://comparable.limsi.fr/bucc2018/",
    "1,896 to 14,330 pairs among many more sentences",
    files=tuple(Files("{code}-en.{split}.{code}", id_sentence, no_example, names, beside=".en") for names in NAMES),
    splits=("test", "validation"),
    published=tuple(
        Published(f"bucc/{name}", (f"https://comparable.limsi.fr/bucc2018/{name}",), None)
        for code in LANGUAGES
        for name in (f"bucc2018-{code}-en.sample-gold.tar.bz2", f"bucc2018-{code}-en.training-gold.tar.bz2")
    ),
    layout="xx-en.{training,sample}.{xx,en,gold}; XTREME's xx-en.{test,dev}.{xx,en,gold}",
    suites={"xtreme": LANGUAGES},
)
