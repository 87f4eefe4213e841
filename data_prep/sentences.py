"""Sentence boundaries of English paragraphs, for LAReQA's training pairs (the passage of an answer is its sentence).

SQuAD has none. A sentence ends at `.`, `!` or `?` (with closing quotes and brackets) before white space and something
that can begin a sentence, unless the full stop belongs to an abbreviation or an initial; an empty line always ends one.
Rules and not a model, because the same input must give the same pairs everywhere. Measured on the English paragraphs
of XQuAD-R, whose boundaries are published: `tests/unit/data_prep/test_sentences.py` asks for an F1 of 0.985.
"""

import re
from collections.abc import Iterator
from itertools import pairwise


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What is written with a full stop and does not end a sentence, in lower case.
_ALWAYS = _words(
    "mr mrs ms messrs dr prof rev hon sr st mt ft gen col lt maj capt cmdr adm sgt gov sen rep pres fr v vs no nos op"
    " vol fig figs pp p ed eds trans cf ca c approx jan feb mar apr jun jul aug sept sep oct nov dec e.g i.e"
)
# These may end one: they do before a word that often begins a sentence and seldom goes on with a name.
_SOMETIMES = _words("jr etc inc corp co ltd al a.m p.m b.c a.d u.s u.k u.n d.c ph.d b.a m.a bros")
_STARTERS = _words(
    "The In It He She They This These Those That There A An At On By For From With After Before When While As But And"
    " However Although Since During His Her Its Their We I If Some Most Many One Both Each To Of Other Another All"
    " Such"
)
_END = re.compile(r"""[.!?]+["'”’»)\]]*(?:\[[^\]\s]{1,12}\])*(?=\s+["'“‘«(\[]*[A-Z0-9À-ÞА-Я$£€¥])|\n{2,}""")
_WORD = re.compile(r"[^\s(\[\"'“‘]+$")
_NEXT = re.compile(r"\s+[\"'“‘«(\[]*([^\s,.;:]+)")


def sentence_breaks(paragraph: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each sentence, without the white space around it; every other character is in one of them."""
    ends = [m.end() for m in _END.finditer(paragraph) if m[0][0] != "." or _ends(paragraph, m.start(), m.end())]
    for start, end in pairwise([0, *ends, len(paragraph)]):
        text = paragraph[start:end]
        if text.strip():
            yield start + len(text) - len(text.lstrip()), start + len(text.rstrip())


def sentence_at(paragraph: str, place: int) -> str | None:
    """The sentence that holds the character at `place`; None between two."""
    return next((paragraph[a:b] for a, b in sentence_breaks(paragraph) if a <= place < b), None)


def _ends(paragraph: str, stop: int, after: int) -> bool:
    """Whether the full stop at `stop`, with its quotes up to `after`, ends a sentence."""
    word = _WORD.search(paragraph[max(0, stop - 30) : stop])
    following = _NEXT.match(paragraph, after)
    if word is None or following is None:
        return True
    before = word[0]
    if before.lower() in _ALWAYS and not (before.lower() == "no" and following[1][0].isalpha()):
        return False
    initial = len(before) == 1 and before.isalpha() and before.isupper()
    dotted = re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", before) is not None
    if initial or dotted or before.lower() in _SOMETIMES:
        return following[1] in _STARTERS
    return True
