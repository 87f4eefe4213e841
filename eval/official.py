"""The official suites: which targets in which languages, and the groups that are averaged apart.

Languages stand in `data_prep/datasets/`. Source: google-research/xtreme at 838c13b, `evaluate.py`. LAReQA
has no languages there and is in no group, so that script can compute no average of XTREME-R; here it has the eleven
languages of XQuAD-R and belongs to retrieval, as in Ruder et al. 2021.
"""

from data_prep.datasets import TEST_SETS

# Suite -> target -> languages, in the order of the papers' tables.
LANGUAGES: dict[str, dict[str, tuple[str, ...]]] = {
    suite: {target: TEST_SETS[target].suites[suite] for target in targets}
    for suite, targets in {
        "xtreme": ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc", "tatoeba"),
        "xtreme-r": (
            "xnli", "xcopa", "udpos", "panx", "xquad", "mlqa", "tydiqa", "tatoeba", "lareqa", "mewslix",
        ),
    }.items()
}  # fmt: skip

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
