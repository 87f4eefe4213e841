"""What the official evaluators fix for each target: languages, group, and the folder of a submission. Data only.

Source: google-research/xtreme at 838c13b, `evaluate.py` (`XTREME_TASK2LANGS`, `XTREME_R_TASK2LANGS`,
`*_GROUP2TASK`). Languages stand in alphabetical order. Two things differ from the script, both for LAReQA in XTREME-R:
the script leaves its language list empty and its group without it, so that its overall score can never be computed;
here are the eleven languages of XQuAD-R (google-research-datasets/lareqa) and the paper's group (Ruder et al. 2021).
"""


def _codes(text: str) -> tuple[str, ...]:
    return tuple(sorted(text.split()))


_XNLI = _codes("ar bg de el en es fr hi ru sw th tr ur vi zh")
_PAWSX = _codes("de en es fr ja ko zh")
_UDPOS = _codes("af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh")
_PANX = _codes(
    "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl tr ur "
    "vi yo zh"
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

# English stands in a list where the script counts it: not in BUCC and Tatoeba, whose other side it is, nor in XCOPA.
LANGUAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "xtreme": {
        "xnli": _XNLI,
        "pawsx": _PAWSX,
        "udpos": _UDPOS,
        "panx": _PANX,
        "xquad": _XQUAD,
        "mlqa": _MLQA,
        "tydiqa": _TYDIQA,
        "bucc": _BUCC,
        "tatoeba": _TATOEBA,
    },
    "xtreme-r": {
        "xnli": _XNLI,
        "xcopa": _XCOPA,
        "udpos": tuple(sorted((*_UDPOS, *_codes("lt pl ro uk wo")))),
        "panx": tuple(sorted((*_PANX, *_codes("az gu lt pa pl qu ro uk")))),
        "xquad": tuple(sorted((*_XQUAD, "ro"))),
        "mlqa": _MLQA,
        "tydiqa": _TYDIQA,
        "tatoeba": tuple(sorted((*_TATOEBA, *_codes("az lt pl ro uk")))),
        "lareqa": _XQUAD,
        "mewslix": _MEWSLIX,
    },
}

# The script calls the second group "tagging".
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


def languages_of(target: str) -> dict[str, tuple[str, ...]]:
    """Languages of `target` by suite; suites without it are left out."""
    return {suite: targets[target] for suite, targets in LANGUAGES.items() if target in targets}
