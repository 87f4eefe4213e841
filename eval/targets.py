"""The table of targets: XTREME's nine, XTREME-R's ten, and the toy world's three. Data, not classes.

Languages and metrics are those of the official evaluator (google-research/xtreme, `evaluate.py`). A target that is
not built yet stands here with the reason, so that a suite names it instead of leaving it out.
"""

from dataclasses import dataclass, field

from data_prep.errors import InputError
from eval.official import languages_of

# ISO 639-1 codes of the report -> ISO 639-3 codes in the names of the Tatoeba files (LASER, XTREME).
ISO3 = {
    "af": "afr", "ar": "ara", "az": "aze", "bg": "bul", "bn": "ben", "de": "deu", "el": "ell", "en": "eng", "es": "spa",
    "et": "est", "eu": "eus", "fa": "pes", "fi": "fin", "fr": "fra", "he": "heb", "hi": "hin", "hu": "hun", "id": "ind",
    "it": "ita", "ja": "jpn", "jv": "jav", "ka": "kat", "kk": "kaz", "ko": "kor", "lt": "lit", "ml": "mal", "mr": "mar",
    "nl": "nld", "pl": "pol", "pt": "por", "ro": "ron", "ru": "rus", "sw": "swh", "ta": "tam", "te": "tel", "th": "tha",
    "tl": "tgl", "tr": "tur", "uk": "ukr", "ur": "urd", "vi": "vie", "zh": "cmn",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """One target.

    kind: `retrieval` (sentence vectors), `classify` or `span` (by a head), None while it is not built.
    languages: by suite; empty: whatever the data folder holds (toy).
    heads: tasks whose head predicts it directly, the first one present is used.
    """

    name: str
    kind: str | None
    metric: str
    languages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    not_built: str = ""

    def of_suite(self, suite: str) -> tuple[str, ...]:
        """Languages in `suite`; outside the two official suites all that any of them asks for."""
        if suite in self.languages:
            return self.languages[suite]
        return tuple(sorted({code for codes in self.languages.values() for code in codes}))


_NLI_HEADS = ("mnli", "anli_plus")
_QA_HEADS = ("squad_v1", "squad_v2")
_TRAINED = "not built yet: it needs training on the target's English data"
_MINING = "not built yet: it needs margin mining over the BUCC 2018 corpora"
_DUAL = "not built yet: it needs a dual encoder trained on"

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("xnli", "classify", "accuracy", languages_of("xnli"), _NLI_HEADS),
        Target("pawsx", None, "accuracy", languages_of("pawsx"), not_built=_TRAINED),
        Target("udpos", None, "f1", languages_of("udpos"), not_built=_TRAINED),
        Target("panx", None, "f1", languages_of("panx"), not_built=_TRAINED),
        Target("xquad", "span", "f1", languages_of("xquad"), _QA_HEADS),
        Target("mlqa", None, "f1", languages_of("mlqa"), not_built=_TRAINED),
        Target("tydiqa", None, "f1", languages_of("tydiqa"), not_built=_TRAINED),
        Target("bucc", None, "f1", languages_of("bucc"), not_built=_MINING),
        Target("tatoeba", "retrieval", "accuracy", languages_of("tatoeba")),
        Target("xcopa", None, "accuracy", languages_of("xcopa"), not_built=_TRAINED),
        Target("lareqa", None, "map@20", languages_of("lareqa"), not_built=f"{_DUAL} SQuAD"),
        Target("mewslix", None, "map@20", languages_of("mewslix"), not_built=f"{_DUAL} mentions"),
        # The same readers and protocols on the folder of `python -m data_prep.toyworld`.
        Target("toy_tatoeba", "retrieval", "accuracy"),
        Target("toy_xnli", "classify", "accuracy", heads=_NLI_HEADS),
        Target("toy_xquad", "span", "f1", heads=_QA_HEADS),
    )
}

SUITES: dict[str, tuple[str, ...]] = {
    "xtreme": ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc", "tatoeba"),
    "xtreme-r": ("xnli", "xcopa", "udpos", "panx", "xquad", "mlqa", "tydiqa", "tatoeba", "lareqa", "mewslix"),
    "retrieval": ("bucc", "tatoeba"),
    "toy": ("toy_tatoeba", "toy_xnli", "toy_xquad"),
}
OFFICIAL = ("xtreme", "xtreme-r", "retrieval")  # whose average over targets is defined


def resolve_suite(text: str) -> tuple[str, list[Target]]:
    """(name of the suite, its targets) of `--suite`: one of `SUITES`, or names of targets with commas between."""
    if text in SUITES:
        return text, [TARGETS[name] for name in SUITES[text]]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in TARGETS:
            known = f"a suite ({', '.join(SUITES)}) or targets ({', '.join(TARGETS)})"
            raise InputError(f"--suite {text}: unknown name {name!r}; expected {known}")
    if not names:
        raise InputError(f"--suite: give a suite ({', '.join(SUITES)}) or names of targets")
    return ",".join(dict.fromkeys(names)), [TARGETS[name] for name in dict.fromkeys(names)]
