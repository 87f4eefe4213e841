"""Name, family and script of the 50 languages of XTREME-R, for the bars by family and by script.

Families are those of the common handbooks, with the branches of Indo-European apart, because half of the languages
are Indo-European. Scripts are those of the test data: Kazakh in Cyrillic, Azerbaijani and Malay in Latin, Urdu in
Arabic script, Punjabi in Gurmukhi. Where scholars disagree (Korean and Japonic as isolates or not, Haitian Creole
under French or apart) the smaller claim is made. The table is `families.csv`.
"""

import csv
from pathlib import Path
from typing import NamedTuple


class Language(NamedTuple):
    name: str
    family: str
    script: str


with Path(__file__).with_name("families.csv").open(encoding="utf-8", newline="") as _file:
    LANGUAGES = {row.pop("code"): Language(**row) for row in csv.DictReader(_file)}


def language(code: str) -> Language:
    """What is known of a language; for a code outside the table its code, and "unknown"."""
    return LANGUAGES[code] if code in LANGUAGES else Language(code, "unknown", "unknown")
