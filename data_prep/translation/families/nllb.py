"""NLLB-200 (NLLB Team 2022): 200 languages by ISO 639-3 code and script, for non-commercial use."""

from common.languages import language
from data_prep.translation.families.base import Family

# Where NLLB has a single language of what ISO 639-1 and `common/languages.csv` take together.
_ISO3 = {"ar": "arb", "az": "azj", "qu": "quy", "zh": "zho"}
_SCRIPTS = {
    "Arabic": "Arab", "Bengali": "Beng", "Burmese": "Mymr", "Cyrillic": "Cyrl", "Devanagari": "Deva",
    "Georgian": "Geor", "Greek": "Grek", "Gujarati": "Gujr", "Gurmukhi": "Guru", "Han": "Hans", "Hangul": "Hang",
    "Hebrew": "Hebr", "Japanese": "Jpan", "Latin": "Latn", "Malayalam": "Mlym", "Tamil": "Taml", "Telugu": "Telu",
    "Thai": "Thai",
}  # fmt: skip


class Nllb(Family):
    licence = "CC-BY-NC-4.0: non-commercial use only"

    def tokens(self, code: str) -> tuple[str, ...]:
        known = language(code)
        return f"{_ISO3.get(code, known.iso3)}_{_SCRIPTS.get(known.script, '')}", code
