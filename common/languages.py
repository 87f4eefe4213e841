"""The languages of XTREME and XTREME-R by target, and their names in file names.

Codes are ISO 639-1, as in the official evaluator (google-research/xtreme, `evaluate.py`, XTREME_TASK2LANGS and
XTREME_R_TASK2LANGS at 838c13b). It lists no language for LAReQA; its eleven are those of XQuAD-R's files.
"""


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _more(codes: tuple[str, ...], text: str) -> tuple[str, ...]:
    return tuple(sorted((*codes, *text.split())))


_XNLI = _codes("ar bg de el en es fr hi ru sw th tr ur vi zh")
_PAWSX = _codes("de en es fr ja ko zh")
_UDPOS = _codes("af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh")
_PANX = _codes(
    "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl tr ur vi"
    " yo zh"
)
_XQUAD = _codes("ar de el en es hi ru th tr vi zh")
_MLQA = _codes("ar de en es hi vi zh")
_TYDIQA = _codes("ar bn en fi id ko ru sw te")
_BUCC = _codes("de fr ru zh")
_TATOEBA = _codes(
    "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi zh"
)
_XCOPA = _codes("et ht id it qu sw ta th tr vi zh")
_MEWSLIX = _codes("ar de en es fa ja pl ro ta tr uk")

# Target -> suite -> codes.
LANGUAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "xnli": {"xtreme": _XNLI, "xtreme-r": _XNLI},
    "pawsx": {"xtreme": _PAWSX},
    "udpos": {"xtreme": _UDPOS, "xtreme-r": _more(_UDPOS, "lt pl ro uk wo")},
    "panx": {"xtreme": _PANX, "xtreme-r": _more(_PANX, "az gu lt pa pl qu ro uk")},
    "xquad": {"xtreme": _XQUAD, "xtreme-r": _more(_XQUAD, "ro")},
    "mlqa": {"xtreme": _MLQA, "xtreme-r": _MLQA},
    "tydiqa": {"xtreme": _TYDIQA, "xtreme-r": _TYDIQA},
    "bucc": {"xtreme": _BUCC},
    "tatoeba": {"xtreme": _TATOEBA, "xtreme-r": _more(_TATOEBA, "az lt pl ro uk")},
    "xcopa": {"xtreme-r": _XCOPA},
    "lareqa": {"xtreme-r": _XQUAD},
    "mewslix": {"xtreme-r": _MEWSLIX},
}

# The 50 languages of XTREME-R (its 40 of XTREME, with az gu ht lt pa pl qu ro uk wo).
ALL = tuple(sorted({code for suites in LANGUAGES.values() for codes in suites.values() for code in codes}))

# ISO 639-1 codes of the report -> ISO 639-3 codes in the names of the Tatoeba files (LASER, XTREME).
ISO3 = {
    "af": "afr", "ar": "ara", "az": "aze", "bg": "bul", "bn": "ben", "de": "deu", "el": "ell", "en": "eng", "es": "spa",
    "et": "est", "eu": "eus", "fa": "pes", "fi": "fin", "fr": "fra", "gu": "guj", "he": "heb", "hi": "hin", "ht": "hat",
    "hu": "hun", "id": "ind", "it": "ita", "ja": "jpn", "jv": "jav", "ka": "kat", "kk": "kaz", "ko": "kor", "lt": "lit",
    "ml": "mal", "mr": "mar", "ms": "zsm", "my": "mya", "nl": "nld", "pa": "pan", "pl": "pol", "pt": "por", "qu": "que",
    "ro": "ron", "ru": "rus", "sw": "swh", "ta": "tam", "te": "tel", "th": "tha", "tl": "tgl", "tr": "tur", "uk": "ukr",
    "ur": "urd", "vi": "vie", "wo": "wol", "yo": "yor", "zh": "cmn",
}  # fmt: skip

# The names in the configurations `udpos.NAME` of google/xtreme, which holds the 33 languages of XTREME (UD 2.5).
UD_NAMES = {
    "af": "Afrikaans", "ar": "Arabic", "bg": "Bulgarian", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese",
    "kk": "Kazakh", "ko": "Korean", "mr": "Marathi", "nl": "Dutch", "pt": "Portuguese", "ru": "Russian",
    "ta": "Tamil", "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "ur": "Urdu",
    "vi": "Vietnamese", "yo": "Yoruba", "zh": "Chinese",
}  # fmt: skip

# The language in the ids of TyDiQA's questions ("swahili-1234-0") and in the names of its dev files.
TYDIQA_NAMES = {
    "ar": "arabic", "bn": "bengali", "en": "english", "fi": "finnish", "id": "indonesian", "ko": "korean",
    "ru": "russian", "sw": "swahili", "te": "telugu",
}  # fmt: skip
