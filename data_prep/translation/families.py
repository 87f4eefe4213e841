"""Families of translation models: how a language is named, and where that stands. A model is of the family that has its
`model_type` and whose token for English it knows: M2M100 and NLLB share a type.
"""

from collections.abc import Callable
from dataclasses import dataclass

from common.languages import language

# Where NLLB has a single language of what ISO 639-1 and `common/languages.csv` take together.
_NLLB_ISO3 = {"ar": "arb", "az": "azj", "qu": "quy", "zh": "zho"}
_MADLAD_NAMES = {"he": "iw", "jv": "jw", "tl": "fil"}


@dataclass(frozen=True)
class Family:
    """One family. licence: of the published models, and with them of what they translate; types: `model_type` of their
    config.json.

    tokens: code (as in `common/languages.py`) -> tokens that may stand for the language, the likeliest first; in_text:
    whether the target's stands before each text. Otherwise the tokenizer puts the source's into the input, and the
    target's is generated first.
    """

    licence: str
    types: tuple[str, ...]
    tokens: Callable[[str], tuple[str, ...]]
    in_text: bool = False


def _nllb(code: str) -> tuple[str, ...]:
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

    iso3 = _NLLB_ISO3.get(code, language(code).iso3)
    return tuple(name for name in FAIRSEQ_LANGUAGE_CODES if name == code or name.startswith(f"{iso3}_"))


FAMILIES = (
    # M2M100 (Fan et al. 2020): 100 languages, among them all of XTREME's but Basque, Quechua and Telugu.
    Family("MIT", ("m2m_100",), lambda code: (f"__{code}__",)),
    # NLLB-200 (NLLB Team 2022): 200 languages by ISO 639-3 code and script.
    Family("CC-BY-NC-4.0: non-commercial use only", ("m2m_100", "nllb-moe"), _nllb),
    # MADLAD-400 (Kudugunta et al. 2023): a T5 that finds the target language in its input, `<2de> Good morning.`
    Family("Apache-2.0", ("t5",), lambda code: (f"<2{code}>", f"<2{_MADLAD_NAMES.get(code, code)}>"), in_text=True),
)
