"""The table of targets: XTREME's nine, XTREME-R's ten, and the toy world's three. Data, not classes.

Languages and metrics are those of the official evaluator (google-research/xtreme, `evaluate.py`). A target that is
not built yet stands here with the reason, so that a suite names it instead of leaving it out.
"""

from dataclasses import dataclass, field

from data_prep.catalogue.languages import ISO3, LANGUAGES
from data_prep.errors import InputError

__all__ = ["ISO3", "OFFICIAL", "SUITES", "TARGETS", "Target", "resolve_suite"]


@dataclass(frozen=True, slots=True)
class Target:
    """One target.

    kind: `retrieval` (sentence vectors), `classify` or `span` (by a head), None while it is not built.
    languages: by suite; empty: whatever the data folder holds (toy).
    heads: tasks whose head predicts it directly, the first one present is used.
    data: the test data that it reads (`data_prep/catalogue/evaluation.py`), where that is not its own name.
    """

    name: str
    kind: str | None
    metric: str
    languages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    not_built: str = ""
    data: str = ""

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
        Target("xnli", "classify", "accuracy", LANGUAGES["xnli"], _NLI_HEADS),
        Target("pawsx", None, "accuracy", LANGUAGES["pawsx"], not_built=_TRAINED),
        Target("udpos", None, "f1", LANGUAGES["udpos"], not_built=_TRAINED),
        Target("panx", None, "f1", LANGUAGES["panx"], not_built=_TRAINED),
        Target("xquad", "span", "f1", LANGUAGES["xquad"], _QA_HEADS),
        Target("mlqa", None, "f1", LANGUAGES["mlqa"], not_built=_TRAINED),
        Target("tydiqa", None, "f1", LANGUAGES["tydiqa"], not_built=_TRAINED),
        Target(
            "bucc", None, "f1", LANGUAGES["bucc"],
            not_built="not built yet: it needs margin mining over the BUCC 2018 corpora",
        ),
        Target("tatoeba", "retrieval", "accuracy", LANGUAGES["tatoeba"]),
        Target("xcopa", None, "accuracy", LANGUAGES["xcopa"], not_built=_TRAINED),
        Target(
            "lareqa", None, "map@20", LANGUAGES["lareqa"],
            not_built="not built yet: it needs a dual encoder trained on SQuAD",
        ),
        Target(
            "mewslix", None, "map@20", LANGUAGES["mewslix"],
            not_built="not built yet: it needs a dual encoder trained on mentions",
        ),
        # The same readers and protocols on the folder of `python -m data_prep.toyworld`.
        Target("toy_tatoeba", "retrieval", "accuracy", data="tatoeba"),
        Target("toy_xnli", "classify", "accuracy", heads=_NLI_HEADS, data="xnli"),
        Target("toy_xquad", "span", "f1", heads=_QA_HEADS, data="xquad"),
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
