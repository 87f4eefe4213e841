"""The table of targets: XTREME's nine, XTREME-R's ten, and the toy world's three. Data, not classes.

Languages and metrics are those of the official evaluator (google-research/xtreme, `evaluate.py`). A target that is
not built yet stands here with the reason, so that a suite names it instead of leaving it out.
"""

from dataclasses import dataclass, field

from data_prep.errors import InputError

# ISO 639-1 codes of the report -> ISO 639-3 codes in the names of the Tatoeba files (LASER, XTREME).
ISO3 = {
    "af": "afr", "ar": "ara", "az": "aze", "bg": "bul", "bn": "ben", "de": "deu", "el": "ell", "en": "eng", "es": "spa",
    "et": "est", "eu": "eus", "fa": "pes", "fi": "fin", "fr": "fra", "he": "heb", "hi": "hin", "hu": "hun", "id": "ind",
    "it": "ita", "ja": "jpn", "jv": "jav", "ka": "kat", "kk": "kaz", "ko": "kor", "lt": "lit", "ml": "mal", "mr": "mar",
    "nl": "nld", "pl": "pol", "pt": "por", "ro": "ron", "ru": "rus", "sw": "swh", "ta": "tam", "te": "tel", "th": "tha",
    "tl": "tgl", "tr": "tur", "uk": "ukr", "ur": "urd", "vi": "vie", "zh": "cmn",
}  # fmt: skip


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_XNLI = _codes("ar bg de el en es fr hi ru sw th tr ur vi zh")
_XQUAD = _codes("ar de el en es hi ru th tr vi zh")
_TATOEBA = _codes(
    "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl pt ru sw ta te th tl tr ur vi zh"
)


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

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("xnli", "classify", "accuracy", {"xtreme": _XNLI, "xtreme-r": _XNLI}, _NLI_HEADS),
        Target("pawsx", None, "accuracy", not_built=_TRAINED),
        Target("udpos", None, "f1", not_built=_TRAINED),
        Target("panx", None, "f1", not_built=_TRAINED),
        Target("xquad", "span", "f1", {"xtreme": _XQUAD, "xtreme-r": tuple(sorted((*_XQUAD, "ro")))}, _QA_HEADS),
        Target("mlqa", None, "f1", not_built=_TRAINED),
        Target("tydiqa", None, "f1", not_built=_TRAINED),
        Target("bucc", None, "f1", not_built="not built yet: it needs margin mining over the BUCC 2018 corpora"),
        Target(
            "tatoeba", "retrieval", "accuracy",
            {"xtreme": _TATOEBA, "xtreme-r": tuple(sorted((*_TATOEBA, "az", "lt", "pl", "ro", "uk")))},
        ),
        Target("xcopa", None, "accuracy", not_built=_TRAINED),
        Target("lareqa", None, "map@20", not_built="not built yet: it needs a dual encoder trained on SQuAD"),
        Target("mewslix", None, "map@20", not_built="not built yet: it needs a dual encoder trained on mentions"),
        # The same readers and protocols on the folder of `python -m data_prep.toyworld`.
        Target("toy_tatoeba", "retrieval", "accuracy"),
        Target("toy_xnli", "classify", "accuracy", heads=_NLI_HEADS),
        Target("toy_xquad", "span", "f1", heads=_QA_HEADS),
    )
}  # fmt: skip

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
