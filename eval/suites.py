"""The table of targets: XTREME's nine, XTREME-R's ten, and the toy world's. Data, not classes.

Metrics are those of the official evaluator (google-research/xtreme, `evaluate.py`). Languages, test data and their
sources are in `data_prep/datasets/`.
"""

from dataclasses import dataclass, field

from common.errors import InputError
from common.labels import NLI, PAWSX, QQP
from eval.official import LANGUAGES, languages_of


@dataclass(frozen=True, slots=True)
class Target:
    """One target.

    kind: `translation`, `mining` (sentence vectors of the encoder as it is), `classify`, `span`, `choice`, `tag` (a
    head), `answers`, `entities` (vectors of a dual encoder).
    training: configs of configs/targets, each going on from the one before; () for none.
    direct: intermediate tasks whose head predicts it without target training (the first one present), and the
    target's name of each of that head's labels.
    languages: by suite; empty: whatever the data folder holds (toy). data: whose test data it reads, if not its own.
    """

    name: str
    kind: str
    metric: str
    training: tuple[str, ...] = ()
    direct: dict[str, dict[str, str]] = field(default_factory=dict)
    languages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    data: str = ""

    @property
    def query_length(self) -> int:
        """Maximum tokens of a sentence or query to embed, as in the scripts of XTREME and XTREME-R."""
        return {"answers": 96, "entities": 64}.get(self.kind, 512)

    @property
    def retrieval(self) -> bool:
        """Whether it is scored by vectors, not by the predictions of a head."""
        return self.kind in ("translation", "mining", "answers", "entities")

    def of_suite(self, suite: str) -> tuple[str, ...]:
        """Languages in `suite`; outside the two official suites all that any of them asks for."""
        if suite in self.languages:
            return self.languages[suite]
        return tuple(sorted({code for codes in self.languages.values() for code in codes}))


_SAME = {name: name for name in NLI}
_NLI_HEADS = {"mnli": _SAME, "anli_plus": _SAME}
_QA_HEADS: dict[str, dict[str, str]] = {"squad_v1": {}, "squad_v2": {}}
_QQP_HEAD = {"qqp": dict(zip(QQP, PAWSX, strict=True))}

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("xnli", "classify", "accuracy", ("xnli",), _NLI_HEADS, languages_of("xnli")),
        Target("pawsx", "classify", "accuracy", ("pawsx",), _QQP_HEAD, languages_of("pawsx")),
        Target("udpos", "tag", "f1", ("udpos",), {}, languages_of("udpos")),
        Target("panx", "tag", "f1", ("panx",), {}, languages_of("panx")),
        Target("xquad", "span", "f1", ("squad",), _QA_HEADS, languages_of("xquad")),
        Target("mlqa", "span", "f1", ("squad",), _QA_HEADS, languages_of("mlqa")),
        Target("tydiqa", "span", "f1", ("tydiqa",), _QA_HEADS, languages_of("tydiqa")),
        Target("bucc", "mining", "f1", (), {}, languages_of("bucc")),
        Target("tatoeba", "translation", "accuracy", (), {}, languages_of("tatoeba")),
        Target("xcopa", "choice", "accuracy", ("siqa", "copa"), {}, languages_of("xcopa")),
        Target("lareqa", "answers", "map@20", ("lareqa",), {}, languages_of("lareqa")),
        Target("mewslix", "entities", "map@20", ("mewslix",), {}, languages_of("mewslix")),
        # The same readers and protocols on the folder of `python -m examples.toyworld`.
        Target("toy_tatoeba", "translation", "accuracy", data="tatoeba"),
        Target("toy_xnli", "classify", "accuracy", ("toy_xnli",), _NLI_HEADS, data="xnli"),
        Target("toy_xquad", "span", "f1", ("toy_squad",), _QA_HEADS, data="xquad"),
    )
}

SUITES: dict[str, tuple[str, ...]] = {
    **{suite: tuple(targets) for suite, targets in LANGUAGES.items()},
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
