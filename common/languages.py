"""The languages of XTREME and XTREME-R, and their names in file names. Codes are ISO 639-1."""


def codes(*texts: str) -> tuple[str, ...]:
    """The codes in these texts, separated by spaces there, sorted."""
    return tuple(sorted(code for text in texts for code in text.split()))


# ISO 639-1 codes of the report -> ISO 639-3 codes in the names of the Tatoeba files (LASER, XTREME).
ISO3 = {
    "af": "afr", "ar": "ara", "az": "aze", "bg": "bul", "bn": "ben", "de": "deu", "el": "ell", "en": "eng", "es": "spa",
    "et": "est", "eu": "eus", "fa": "pes", "fi": "fin", "fr": "fra", "gu": "guj", "he": "heb", "hi": "hin", "ht": "hat",
    "hu": "hun", "id": "ind", "it": "ita", "ja": "jpn", "jv": "jav", "ka": "kat", "kk": "kaz", "ko": "kor", "lt": "lit",
    "ml": "mal", "mr": "mar", "ms": "zsm", "my": "mya", "nl": "nld", "pa": "pan", "pl": "pol", "pt": "por", "qu": "que",
    "ro": "ron", "ru": "rus", "sw": "swh", "ta": "tam", "te": "tel", "th": "tha", "tl": "tgl", "tr": "tur", "uk": "ukr",
    "ur": "urd", "vi": "vie", "wo": "wol", "yo": "yor", "zh": "cmn",
}  # fmt: skip

# The 50 languages of XTREME-R (its 40 of XTREME, with az gu ht lt pa pl qu ro uk wo).
ALL = tuple(sorted(ISO3))

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
