"""Texts from translated sentences, and an answer found again in its context: mark, then translate.

Systems drop sentences of a longer input, so each is translated by itself. The source is English; its sentences are
found by the rules of `data_prep/sentences.py`, and what stands between them (spaces, empty lines) is kept.

An answer is put in brackets in its sentence, and that is translated (EasyProject, Chen et al. 2023, arXiv 2211.15613).
It is kept if the translation has exactly one pair of brackets, and what is inside agrees with the answer translated by
itself, as nothing else in the sentence does: as many words, each with a common part of more than half of the longer one
(for inflection), digits the same; in scripts without spaces the same characters. An English article at its start stays
outside, as SQuAD's metric does not count it.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from difflib import SequenceMatcher

from common.languages import language
from data_prep.sentences import sentence_breaks
from data_prep.translation.checks import UNSPACED
from tasks.base import LeftOut

_ARTICLE = re.compile(r"(?:a|an|the)\s+(?=\S)", re.IGNORECASE)
_FULLWIDTH = str.maketrans("［］", "[]")
_MARKED = re.compile(r"([^\[\]]*)\[([^\[\]]+)\]([^\[\]]*)", re.DOTALL)


class Texts:
    """A `tasks.base.Translation` into language `code`; `lookup` translates a sentence or raises `LeftOut`.

    Which sentences a row needs does not depend on what `lookup` returns, as long as it returns: one that records and
    returns its argument collects them.
    """

    def __init__(self, code: str, lookup: Callable[[str], str]) -> None:
        self._code, self._lookup = code, lookup

    def text(self, text: str) -> str:
        return self._pieces(text, sentence_breaks(text), 0, len(text))

    def span(self, context: str, answer: str, start: int) -> tuple[str, str, int]:
        article = _ARTICLE.match(answer)
        first, last = start + (article.end() if article else 0), start + len(answer)
        sentences = list(sentence_breaks(context))
        touched = [number for number, (a, b) in enumerate(sentences) if a < last and first < b]
        if len(touched) != 1:
            raise LeftOut("answer in more than one sentence")
        number = touched[0]
        a, b = sentences[number]
        first, last = max(a, first), min(b, last)
        if set("[]［］") & set(context[a:b]):
            raise LeftOut("brackets in the sentence of the answer")
        before = self._pieces(context, sentences[:number], 0, a)
        marked = self._lookup(f"{context[a:first]}[{context[first:last]}]{context[last:b]}")
        alone = self._lookup(context[first:last])
        after = self._pieces(context, sentences[number + 1 :], b, len(context))
        left, found, right = _unmarked(marked, context[first:last])
        if not _agree(found, alone, self._code):
            raise LeftOut("marked text is not the answer translated by itself")
        if _occurs(alone, left, self._code) or _occurs(alone, right, self._code):
            raise LeftOut("answer occurs twice in its sentence")
        return f"{before}{left}{found}{right}{after}", found, len(before) + len(left)

    def _pieces(self, text: str, sentences: Iterable[tuple[int, int]], start: int, end: int) -> str:
        """text[start:end], its `sentences` translated."""
        parts = []
        for a, b in sentences:
            parts += [text[start:a], self._lookup(text[a:b])]
            start = b
        return "".join([*parts, text[start:end]])


def _unmarked(text: str, answer: str) -> tuple[str, str, str]:
    """What is left of, inside and right of the one pair of brackets, without them.

    The middle has no space at its ends, nor a punctuation mark where `answer`, the source, has none.
    """
    text = text.translate(_FULLWIDTH)
    match = _MARKED.fullmatch(text)
    if match is None:
        raise LeftOut("markers doubled or broken" if set("[]") & set(text) else "markers dropped")
    left, inside, right = match.groups()
    start, end = 0, len(inside)
    while start < end and (inside[start].isspace() or _punctuation(inside[start]) > _punctuation(answer[0])):
        start += 1
    while start < end and (inside[end - 1].isspace() or _punctuation(inside[end - 1]) > _punctuation(answer[-1])):
        end -= 1
    if start == end:
        raise LeftOut("markers around nothing")
    left, right = left + inside[:start], inside[end:] + right
    return re.sub(r" {2,}$", " ", left), inside[start:end], re.sub(r"^ {2,}", " ", right)


def _punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] == "P"


def _agree(found: str, alone: str, code: str) -> bool:
    """Whether two translations of an answer into language `code`, in its sentence and by itself, are the same words."""
    one, two = _words(found), _words(alone)
    if language(code).script in UNSPACED:
        return bool(one) and one == two
    return bool(one) and len(one) == len(two) and all(map(_same, one, two))


def _occurs(alone: str, text: str, code: str) -> bool:
    """Whether words of `text` agree with an answer translated by itself; as inflected words may do by chance."""
    if language(code).script in UNSPACED:
        return "".join(_words(alone)) in "".join(_words(text))
    words, length = text.split(), len(_words(alone))
    return any(_agree(" ".join(words[at : at + length]), alone, code) for at in range(len(words) - length + 1))


def _words(text: str) -> list[str]:
    """The words in lower case, without punctuation marks and symbols."""
    kept = (c for c in unicodedata.normalize("NFKC", text).casefold() if unicodedata.category(c)[0] not in "PS")
    return "".join(kept).split()


def _same(one: str, two: str) -> bool:
    if one == two or any(c.isdigit() for c in one + two):
        return one == two
    common = SequenceMatcher(None, one, two, autojunk=False).find_longest_match()
    return 2 * common.size > max(len(one), len(two))
