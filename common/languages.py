"""The 50 languages of XTREME-R (the 40 of XTREME among them) by ISO 639-1 code; the table is `languages.csv`.

iso3: as in the names of the Tatoeba files (LASER, XTREME). name: in English, as datasets have it in file names.

Families are those of the common handbooks, with the branches of Indo-European apart, because half of the languages
are Indo-European. Scripts are those of the test data: Kazakh in Cyrillic, Azerbaijani and Malay in Latin, Urdu in
Arabic script, Punjabi in Gurmukhi. Where scholars disagree (Korean and Japonic as isolates or not, Haitian Creole
under French or apart) the smaller claim is made.

syntax: distance from English, 1 - the cosine of URIEL's 103 syntactic features (`syntax_knn` of lang2vec 1.1.2, where
nearest neighbours fill what WALS, SSWL and Ethnologue do not say; Littell et al. 2017; CC BY-SA 4.0).
"""

import csv
import math
from pathlib import Path
from typing import NamedTuple


class Language(NamedTuple):
    iso3: str
    name: str
    family: str
    script: str
    syntax: float = math.nan


with Path(__file__).with_name("languages.csv").open(encoding="utf-8", newline="") as _file:
    LANGUAGES = {
        row.pop("code"): Language(**{**row, "syntax": float(row["syntax"])})  # type: ignore[arg-type]
        for row in csv.DictReader(_file)
    }


def language(code: str) -> Language:
    """What is known of a language; for a code outside the table its code, "unknown" and NaN."""
    return LANGUAGES.get(code, Language(code, code, "unknown", "unknown"))


def codes(*texts: str) -> tuple[str, ...]:
    """The codes in these texts, separated by spaces there, sorted."""
    return tuple(sorted(code for text in texts for code in text.split()))


ISO3 = {code: one.iso3 for code, one in LANGUAGES.items()}

# The names in the configurations `udpos.NAME` of google/xtreme, which holds the 33 languages of XTREME (UD 2.5).
_UD = codes("af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh")
UD_NAMES = {code: LANGUAGES[code].name for code in _UD}

# The language in the ids of TyDiQA's questions ("swahili-1234-0") and in the names of its dev files.
TYDIQA_NAMES = {code: LANGUAGES[code].name.lower() for code in codes("ar bn en fi id ko ru sw te")}
