"""The lexicon: which word form a concept takes in a language, in a role, in a clause.

`form(lang, clause, slot)` is all that the grammars and the code-switcher need. Agreement is looked up here: German and
Russian accusative, Spanish, Russian and Hindi gender, Swahili noun classes, verb forms. All forms are NFKC-normalised,
as the tokenizer would, so that character offsets never move.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from examples.toyworld import concepts as c
from examples.toyworld.meanings import Clause

FINITE, INFINITIVE, NEGATIVE = 0, 1, 2


def _table(text: str, columns: int) -> dict[str, list[str]]:
    rows = {}
    for line in unicodedata.normalize("NFKC", text).strip().splitlines():
        key, cells = line.split(":", 1)
        rows[key] = [cell.strip() for cell in cells.split("|")]
        assert len(rows[key]) == columns, line
    return rows


_NOUNS = {
    key: dict(zip(c.LANGUAGES[1:], row, strict=True))
    for text in (c.NOUNS, c.ROLES, c.ANIMALS, c.KINDS)
    for key, row in _table(text, 6).items()
}
_PLACES = {key: dict(zip(c.LANGUAGES, row, strict=True)) for key, row in _table(c.PLACES, 7).items()}
_DAYS = {key: dict(zip(c.LANGUAGES, row, strict=True)) for key, row in _table(c.DAYS, 7).items()}
_ADJECTIVES = {key: dict(zip(c.LANGUAGES[1:], row, strict=True)) for key, row in _table(c.ADJECTIVES, 6).items()}
_VERBS = {key: dict(zip(c.LANGUAGES[1:], row, strict=True)) for key, row in _table(c.VERBS, 6).items()}
_STATES = {key: dict(zip(c.LANGUAGES[1:], row, strict=True)) for key, row in _table(c.STATES, 6).items()}
_BE = {
    "en": ("is", "be"),
    "de": ("ist", "sein"),
    "es": ("está", "estar"),
    "ru": ("находится", "находиться"),
    "hi": ("है", "होना"),
    "sw": ("yuko", "kuwa", "hayuko"),
    "ja": ("いる", "い", "いない"),
}

NOUNS = tuple(_NOUNS)
STATES = tuple(_STATES)
VERBS = tuple(_VERBS)


def concept_count() -> int:
    return (
        len(_NOUNS)
        + len(_PLACES)
        + len(_DAYS)
        + len(_ADJECTIVES)
        + len(_VERBS)
        + len(_STATES)
        + 1
        + len(c.FEMALE_NAMES + c.MALE_NAMES)
        + len(c.HOURS)
    )


@cache
def gender(lang: str, concept: str) -> str:
    """m, f or n (Swahili: m, ji, ki, n) of a noun or a name in a language."""
    if concept in c.FEMALE_NAMES or concept in c.MALE_NAMES:
        return "f" if concept in c.FEMALE_NAMES and lang != "sw" else "m"
    cell = _NOUNS[concept][lang]
    if lang in ("de", "es"):
        return {"der": "m", "die": "f", "das": "n", "el": "m", "la": "f"}[cell.split()[0]]
    return cell.split()[-1]


def english(concept: str, synonyms: bool = False) -> str:
    word = c.ENGLISH.get(concept, concept)
    return c.SYNONYMS.get(word, word) if synonyms else word


def third_person(verb: str) -> str:
    return (
        verb + "es"
        if verb.endswith(("s", "sh", "ch", "ss", "x"))
        else verb[:-1] + "ies"
        if verb.endswith("y") and verb[-2] not in "aeiou"
        else verb + "s"
    )


def is_state(clause: Clause) -> bool:
    return clause.verb in _STATES


def noun(lang: str, concept: str, accusative: bool = False) -> str:
    """The noun alone, without article."""
    if concept in c.FEMALE_NAMES or concept in c.MALE_NAMES:
        return concept
    cell = _NOUNS[concept][lang].split()
    if lang in ("de", "es"):
        return cell[1]
    word = cell[0]
    if lang == "ru" and accusative and cell[1] == "f":
        return word[:-1] + {"а": "у", "я": "ю"}.get(word[-1], word[-1])
    return word


def _verb(lang: str, clause: Clause) -> str:
    if clause.verb == "be":
        be = _BE[lang]
        return be[NEGATIVE] if clause.neg and len(be) > NEGATIVE else be[FINITE]
    if is_state(clause):
        forms = _STATES[clause.verb][lang].split()
        if lang in ("sw", "ja"):
            return forms[clause.neg].replace("_", " ")
        return forms[-1] if gender(lang, clause.subj) == "f" else forms[0]
    cell = _VERBS[clause.verb][lang]
    feminine = lang == "hi" and gender(lang, clause.subj) == "f"
    if lang == "hi":
        return cell + ("ना" if clause.want else "ती" if feminine else "ता")
    if lang == "ja":
        plain, stem, negative = cell.split()
        return stem + "たがっている" if clause.want else negative if clause.neg else plain
    if lang == "sw":
        forms = cell.split() if " " in cell else ["ana" + cell, "ku" + cell, "ha" + cell[:-1] + "i"]
        return forms[INFINITIVE if clause.want else NEGATIVE if clause.neg else FINITE].replace("_", " ")
    return cell.split()[INFINITIVE if clause.want else FINITE]


def _adjective(lang: str, clause: Clause) -> str:
    forms = _ADJECTIVES[clause.adj or ""][lang].split()
    kind = gender(lang, clause.obj or "")
    if lang == "de":
        return forms[0] + ("en" if kind == "m" else "e")
    order = {"es": "mf", "hi": "mf", "ru": "mfn", "ja": ""}.get(lang)
    if len(forms) == 1:
        return forms[0]
    return forms[("m", "ji", "ki", "n").index(kind) if order is None else order.index(kind)]


def form(lang: str, clause: Clause, slot: str, synonyms: bool = False) -> str:
    """The content word(s) of a slot of a clause in a language: inflected, without articles or prepositions."""
    value = getattr(clause, slot)
    if slot in ("hour", "mate"):
        return value
    if slot in ("place", "day"):
        if lang == "en":
            return english(value, synonyms)
        words = (_PLACES if slot == "place" else _DAYS)[value][lang].split()
        return words[0 if lang == "hi" else -1]
    if lang == "en":
        word = english(value, synonyms)
        plain = slot != "verb" or clause.neg or clause.want or is_state(clause)
        return word if plain else "is" if word == "be" else third_person(word)
    if slot == "verb":
        return _verb(lang, clause)
    return _adjective(lang, clause) if slot == "adj" else noun(lang, value, accusative=slot == "obj")


def adposition(lang: str, slot: str, value: str) -> list[str]:
    """Words around a place or a day: prepositions and articles before it (Hindi: the postposition after it)."""
    words = (_PLACES if slot == "place" else _DAYS)[value][lang].split()
    return words[1:] if lang == "hi" else words[:-1]
