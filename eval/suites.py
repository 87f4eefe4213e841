"""What is evaluated and on which data: the official suites, the table of targets, `--suite` and `--data`.

Suites, groups and metrics are those of the official evaluator (google-research/xtreme at 838c13b, `evaluate.py`).
LAReQA has no languages there and is in no group, so that script can compute no average of XTREME-R; here it has the
eleven languages of XQuAD-R and belongs to retrieval, as in Ruder et al. 2021. Languages and test data are described in
`data_prep/datasets/`.

    parse_data("hub")    parse_data("DIR")    parse_data("udpos=UD_2.5")    parse_data("udpos:lt,pl,ro,uk,wo=UD_2.7")
    groups(sources, target, codes)      [(languages, the places to look for them, in order), ...]
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from common.errors import InputError
from common.labels import NLI, PAWSX, QQP
from data_prep.datasets import TEST_SETS
from data_prep.sources.folders import check_folders

MAX_LENGTH = 512  # tokens of a sentence including special ones: the limit of XTREME and of XLM-R
PROTOCOLS = ("xtreme", "nlu-evals")  # the second: github.com/izhx/nlu-evals, the scripts of mGTE's and mmBERT's papers
TOP_K = 20  # candidates of a query that are scored and submitted

# Suite -> group -> targets, in the order of the papers' tables. The script calls the second group "tagging".
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "xtreme": {
        "classification": ("xnli", "pawsx"),
        "structured": ("udpos", "panx"),
        "qa": ("xquad", "mlqa", "tydiqa"),
        "retrieval": ("bucc", "tatoeba"),
    },
    "xtreme-r": {
        "classification": ("xnli", "xcopa"),
        "structured": ("udpos", "panx"),
        "qa": ("xquad", "mlqa", "tydiqa"),
        "retrieval": ("tatoeba", "lareqa", "mewslix"),
    },
}
# Suite -> target -> languages.
LANGUAGES: dict[str, dict[str, tuple[str, ...]]] = {
    suite: {target: TEST_SETS[target].suites[suite] for target in chain(*groups.values())}
    for suite, groups in GROUPS.items()
}


@dataclass(frozen=True, slots=True)
class Target:
    """One target.

    kind: `translation`, `mining` (sentence vectors of the encoder as it is), `classify`, `span`, `choice`, `tag` (a
    head), `answers`, `entities` (vectors of a dual encoder, with `--direct` of the encoder as it is).
    training: configs of configs/targets, each going on from the one before; () for none.
    direct: intermediate tasks whose head predicts it without target training (the first one present), and the
    target's name of each of that head's labels.
    data: whose test data it reads, if not its own.
    protocol: "" for that of XTREME, or the other of `PROTOCOLS`.
    """

    name: str
    kind: str
    metric: str
    training: tuple[str, ...] = ()
    direct: dict[str, dict[str, str]] = field(default_factory=dict)
    data: str = ""
    protocol: str = ""

    @property
    def languages(self) -> dict[str, tuple[str, ...]]:
        """By official suite; none: whatever the data folder holds (toy)."""
        return {suite: targets[self.name] for suite, targets in LANGUAGES.items() if self.name in targets}

    @property
    def query_length(self) -> int:
        """Maximum tokens of a sentence or query to embed, as in the scripts of XTREME and XTREME-R."""
        return {"answers": 96, "entities": 64}.get(self.kind, MAX_LENGTH)

    @property
    def retrieval(self) -> bool:
        """Whether it is scored by vectors, not by the predictions of a head."""
        return self.kind in ("translation", "mining", "answers", "entities")

    @property
    def dev(self) -> bool:
        """Whether it has dev data in its languages."""
        return not self.retrieval and len(TEST_SETS[self.data or self.name].splits) > 1

    def of_suite(self, suite: str) -> tuple[str, ...]:
        """Languages in `suite`; outside the official suites all that its test data have, () for toy targets."""
        suite = "xtreme" if suite == "retrieval" else suite  # whose group it is
        if suite in self.languages:
            return self.languages[suite]
        return () if self.data else TEST_SETS[self.name].languages


def by_protocol(target: Target, protocol: str) -> Target:
    """The target as one of `PROTOCOLS` trains and scores it; `InputError` if that one does not have it."""
    if protocol == PROTOCOLS[0]:
        return target
    if target.kind not in ("translation", "answers") or target.name == "mlqar":
        raise InputError(f"--protocol {protocol}: defined for tatoeba and lareqa, not for {target.name}")
    return replace(target, protocol=protocol, training=("lareqa_nlu_evals",) if target.training else ())


_SAME = {name: name for name in NLI}
_NLI_HEADS = {"mnli": _SAME, "anli_plus": _SAME}
_QA_HEADS: dict[str, dict[str, str]] = {"squad_v1": {}, "squad_v2": {}}
_CHOICE_HEADS = ("cosmosqa", "hellaswag", "commonsenseqa")
_QQP_HEAD = {"qqp": dict(zip(QQP, PAWSX, strict=True))}

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("xnli", "classify", "accuracy", ("xnli",), _NLI_HEADS),
        Target("pawsx", "classify", "accuracy", ("pawsx",), _QQP_HEAD),
        Target("udpos", "tag", "f1", ("udpos",)),
        Target("panx", "tag", "f1", ("panx",)),
        Target("xquad", "span", "f1", ("squad",), _QA_HEADS),
        Target("mlqa", "span", "f1", ("squad",), _QA_HEADS),
        Target("tydiqa", "span", "f1", ("tydiqa",), _QA_HEADS),
        Target("bucc", "mining", "f1"),
        Target("tatoeba", "translation", "accuracy"),
        Target("xcopa", "choice", "accuracy", ("siqa", "copa"), {head: {} for head in _CHOICE_HEADS}),
        Target("lareqa", "answers", "map@20", ("lareqa",)),
        Target("mlqar", "answers", "map@20", ("lareqa",)),
        Target("mewslix", "entities", "map@20", ("mewslix",)),
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
    for name in names or [text]:
        if name not in TARGETS:
            known = f"a suite ({', '.join(SUITES)}) or targets ({', '.join(TARGETS)})"
            raise InputError(f"--suite {text}: unknown name {name!r}; expected {known}")
    return ",".join(dict.fromkeys(names)), [TARGETS[name] for name in dict.fromkeys(names)]


Group = tuple[tuple[str, ...], list[str]]  # languages, and the places to look for them


@dataclass(frozen=True, slots=True)
class Source:
    """`hub` or a folder. `target`: the only one that it serves, "" for all; `languages`: of it, () for the others."""

    place: str
    target: str = ""
    languages: tuple[str, ...] = ()


def parse_data(text: str) -> Source:
    """One `--data`; `InputError` for an unknown target, a language that it has not, or a folder that is not there."""
    named = None if Path(text).is_dir() else re.fullmatch(r"(\w+)(?::([\w,-]+))?=(.+)", text)
    if named is None:
        check_folders("--data", [text])
        return Source(text)
    name, codes, place = named[1], tuple((named[2] or "").split(",")) if named[2] else (), named[3]
    if name not in TARGETS:
        raise InputError(f"--data {text}: unknown target {name!r}; expected one of {', '.join(TARGETS)}")
    known = TARGETS[name].of_suite("")
    if unknown := [code for code in codes if code not in known]:
        raise InputError(f"--data {text}: {name} has no language {unknown[0]!r}; it has {' '.join(known) or 'no list'}")
    if codes and TARGETS[name].kind in ("answers", "entities"):
        raise InputError(f"--data {text}: {name} has one pool for all languages; give --data {name}={place}")
    check_folders("--data", [place])
    return Source(place, name, codes)


def shared_places(sources: Sequence[Source]) -> list[str]:
    """The places that serve every target, in order; `hub` where there is none."""
    return [source.place for source in sources if not source.target] or ["hub"]


def groups(sources: Sequence[Source], target: Target, codes: Sequence[str]) -> list[Group]:
    """Each of `codes` (() for all that a folder holds) in one group; a target's own places go before the others."""
    own = [source for source in sources if source.target == target.name]
    served: dict[tuple[str, ...], list[str]] = {}
    for code in codes:
        if places := tuple(source.place for source in own if code in source.languages):
            served.setdefault(places, []).append(code)
    found = [(tuple(some), list(places)) for places, some in served.items()]
    rest = tuple(code for code in codes if not any(code in some for some, _ in found))
    if rest or not codes:
        found.append((rest, [source.place for source in own if not source.languages] or shared_places(sources)))
    return found
