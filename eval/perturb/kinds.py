"""Noise in a text: typing errors, casing, accents, punctuation, romanisation, code-switching.

    for noise in parse("typo@0.1,romanise"):
        noise.apply("some text", item="7", language="de", lexicon={}, spared=())

A unit is changed with probability `rate`, by random numbers that depend on item, kind and rate alone. Nothing is cut or
inserted within a grapheme cluster (`\\X` of `regex`: UAX 29), and a text without units of its kind stays what it is.

    kind         unit                                  becomes
    typo         word                                  two clusters swapped, one left out, or one doubled
    case         word of a script with two cases       lower or upper case
    accents      Latin, Greek or Cyrillic letter       the letter without its combining marks
    punctuation  mark of punctuation                   nothing
    romanise     run of letters that are not Latin     Latin letters, by uroman (Hermjakob et al. 2018)
    codeswitch   word with a translation in a lexicon  the translation
"""

import functools
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import regex

from common import languages
from common.config_fields import nearest
from common.errors import InputError
from data_prep.formats import readers

Lexicon = Mapping[str, str]  # casefolded word -> translation
# (clusters of a unit, random numbers, language, lexicon) -> the parts that take their place
Edit = Callable[[list[str], Random, str, Lexicon], list[str]]

CLUSTER = regex.compile(r"\X")
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_SPACED_WORD = rf"(?:(?=[\p{{L}}--{_UNSPACED}])\X)+"
# Where words are not set apart, as many clusters as a word has on average, about.
_WORD = rf"(?:(?=[{_UNSPACED}&&\p{{L}}])\X){{1,4}}|{_SPACED_WORD}"
# Georgian capitals (Mtavruli) begin no sentence and no name.
_CASED_WORD = r"(?:(?=[[\p{Lu}\p{Ll}]--\p{Georgian}])\X)+"


def _typo(clusters: list[str], random: Random, *_: object) -> list[str]:
    at = random.randrange(len(clusters))
    before, one, after = clusters[:at], clusters[at : at + 1], clusters[at + 1 :]
    edits = [[*before, *one, *one, *after]]
    if before or after:
        edits.append([*before, *after])
    if after and after[:1] != one:
        edits.append([*before, *after[:1], *one, *after[1:]])
    edits = [edit for edit in edits if CLUSTER.findall("".join(edit)) == edit]
    return random.choice(edits) if edits else clusters


def _case(clusters: list[str], random: Random, language: str, lexicon: Lexicon) -> list[str]:
    word = lower = upper = "".join(clusters)  # as a whole, for the final sigma
    if language in ("az", "tr"):
        lower, upper = lower.replace("İ", "i").replace("I\u0307", "i").replace("I", "ı"), upper.replace("i", "İ")
    return [random.choice([one for one in (lower.lower(), upper.upper()) if one != word] or [word])]


def _accents(clusters: list[str], *_: object) -> list[str]:
    parts = unicodedata.normalize("NFD", clusters[0])
    kept = "".join(c for c in parts if unicodedata.category(c) != "Mn")
    return [unicodedata.normalize("NFC", kept)] if kept != parts else clusters


def _punctuation(clusters: list[str], *_: object) -> list[str]:
    return [] if regex.fullmatch(r"\p{P}+", clusters[0]) else clusters


def _romanise(clusters: list[str], random: Random, language: str, lexicon: Lexicon) -> list[str]:
    return [str(_uroman().romanize_string("".join(clusters), lcode=languages.language(language).iso3))]


@functools.cache
def _uroman() -> Any:
    import uroman  # its tables take seconds to load

    return uroman.Uroman()


def _codeswitch(clusters: list[str], random: Random, language: str, lexicon: Lexicon) -> list[str]:
    word = "".join(clusters)
    return [lexicon.get(word.casefold(), word)]


_KINDS: dict[str, tuple[str, Edit]] = {
    "typo": (_WORD, _typo),
    "case": (_CASED_WORD, _case),
    "accents": (r"(?=[\p{Latin}\p{Greek}\p{Cyrillic}])\X", _accents),
    "punctuation": (r"(?=\p{P})\X", _punctuation),
    # Some vowel signs of Burmese are clusters of their own.
    "romanise": (r"(?=[\p{L}--\p{Latin}])\X(?:(?=[[\p{L}\p{M}]--\p{Latin}])\X)*", _romanise),
    "codeswitch": (_SPACED_WORD, _codeswitch),
}


@functools.cache
def _pattern(kind: str) -> Any:
    """Matches a unit, or else one cluster, so that every match begins and ends between clusters."""
    return regex.compile(rf"(?V1)(?P<unit>{_KINDS[kind][0]})|\X")


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One kind of noise. rate: the probability that a unit is changed, in [0, 1]."""

    kind: str
    rate: float = 1.0

    def __str__(self) -> str:
        return self.kind if self.rate == 1 else f"{self.kind}@{self.rate:g}"

    def apply(self, text: str, item: str, language: str, lexicon: Lexicon, spared: Collection[int]) -> str:
        """`text`, in `language`, with noise; unchanged where clusters would grow together or nothing be left.

        spared: indices into `text` at which no unit begins.
        """
        random, edit = Random(f"{item}\n{self}"), _KINDS[self.kind][1]
        parts: list[str] = []
        for match in _pattern(self.kind).finditer(text):
            clusters = CLUSTER.findall(match[0])
            touched = match["unit"] and match.start() not in spared and random.random() < self.rate
            parts += edit(clusters, random, language, lexicon) if touched else clusters
        changed = "".join(parts)
        whole = CLUSTER.findall(changed) == [one for part in parts for one in CLUSTER.findall(part)]
        return changed if whole and changed.strip() else text


def parse(text: str) -> list[Perturbation]:
    """KIND[@RATE], with commas between; without a rate every unit is changed."""
    found: dict[str, Perturbation] = {}
    for part in (part.strip() for part in text.split(",")):
        match = regex.fullmatch(r"(\w+)(?:@(0|1|[01]?\.\d+))?", part)
        if match is None or float(match[2] or 1) > 1:
            raise InputError(f"--perturb {part}: expected KIND@RATE with a rate from 0 to 1, as in typo@0.1")
        if match[1] not in _KINDS:
            raise InputError(f"--perturb {part}: unknown kind {match[1]!r}; {nearest(match[1], _KINDS)}")
        one = Perturbation(match[1], float(match[2] or 1))
        found[str(one)] = one
    return list(found.values())


def read_lexicon(path: Path) -> tuple[Lexicon, Lexicon]:
    """(to English, from English), of lines `word<TAB>English word`; of several for a word the first counts."""
    to_english: dict[str, str] = {}
    from_english: dict[str, str] = {}
    for number, line in readers.lines(path):
        word, _, english = (part.strip() for part in line.partition("\t"))
        if not (word and english) or "\t" in english:
            raise InputError(f"{path}: line {number}: expected `word<TAB>English word`, found {line[:40]!r}")
        to_english.setdefault(word.casefold(), english)
        from_english.setdefault(english.casefold(), word)
    return to_english, from_english
