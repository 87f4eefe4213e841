"""NLLB-200 (NLLB Team 2022): 200 languages by ISO 639-3 code and script, for non-commercial use."""

from common.languages import language
from data_prep.translation.families.base import Family

# Where NLLB has a single language of what ISO 639-1 and `common/languages.csv` take together.
_ISO3 = {"ar": "arb", "az": "azj", "qu": "quy", "zh": "zho"}


class Nllb(Family):
    licence = "CC-BY-NC-4.0: non-commercial use only"

    def tokens(self, code: str) -> tuple[str, ...]:
        from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

        iso3 = _ISO3.get(code, language(code).iso3)
        return *(name for name in FAIRSEQ_LANGUAGE_CODES if name.startswith(f"{iso3}_")), code
