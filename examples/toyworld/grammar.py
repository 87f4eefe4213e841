"""Grammars: clause -> words, for the six languages other than English (that one is english.py, with CCG categories).

Word order: German verb-second with the infinitive last; Spanish and Russian SVO with fronted questions; Hindi and
Japanese verb-last with the question word in place; Swahili SVO with the question word in place. A question asks for
one slot of the clause (`ask`), which is then shown as a question word.
"""

from __future__ import annotations

from typing import NamedTuple

from examples.toyworld import english, lexicon
from examples.toyworld.lexicon import adposition, form, gender
from examples.toyworld.meanings import NAMES, Clause


class Word(NamedTuple):
    """A word of a sentence.

    slot: the slot of the clause that it expresses ("" for function words); phrase: the slot of the adjunct phrase that
    it belongs to, function words included, or "?" for the words of a question.
    """

    text: str
    slot: str = ""
    phrase: str = ""


# Question words by slot; German, Russian and Hindi "which" agree with the noun (masculine, feminine, neuter).
# fmt: off
_SLOTS = ("subj", "obj", "adj", "place", "day", "hour", "mate")
_QUESTIONS = {lang: dict(zip(_SLOTS, cells.split(" | "), strict=True)) for lang, cells in {
    "en": "who | what | which | where | when | at what hour | with whom",
    "de": "wer | was | welchen/welche/welches | wo | wann | um wie viel Uhr | mit wem",
    "es": "quién | qué | qué | dónde | cuándo | a qué hora | con quién",
    "ru": "кто | что | какой/какую/какое | где | когда | во сколько | с кем",
    "hi": "कौन | क्या | कौन सा/कौन सी | कहाँ | कब | कितने बजे | किसके साथ",
    "sw": "nani | nini | gani | wapi | lini | saa ngapi | na nani",
    "ja": "誰 | 何 | どの | どこ で | いつ | 何時 に | 誰 と",
}.items()}
# Words before and after an hour and a companion; other adjuncts have theirs in the lexicon.
_AROUND = {
    "hour": {"de": ("um", "Uhr"), "es": ("a las", ""), "ru": ("в", "часов"), "hi": ("", "बजे"), "sw": ("saa", ""),
             "ja": ("", "時 に")},
    "mate": {"de": ("mit", ""), "es": ("con", ""), "ru": ("с", ""), "hi": ("", "के साथ"), "sw": ("na", ""),
             "ja": ("", "と")},
}
# fmt: on


def _f(*texts: str) -> list[Word]:
    return [Word(t) for t in texts if t]


def _w(lang: str, c: Clause, slot: str) -> list[Word]:
    return [Word(form(lang, c, slot), slot)]


def question_words(lang: str, c: Clause, ask: str) -> list[Word]:
    """The words that ask for a slot, without punctuation and particles of the sentence."""
    forms = _QUESTIONS[lang][ask].split("/")
    kind = gender(lang, c.obj) if ask == "adj" and len(forms) > 1 and c.obj else "m"
    asked = forms["mfn".index(kind)]
    if lang == "ja" and ask == "place" and c.verb == "be":
        asked = "どこ に"
    return [Word(text, phrase="?") for text in asked.split()]


def adjunct(lang: str, c: Clause, slot: str) -> list[Word]:
    """The phrase for a place, day, hour or companion, with its adpositions."""
    if lang == "en":
        return [Word(w.text, w.slot, slot) for w in english.adjunct(c, slot)]
    word = _w(lang, c, slot)
    if slot in ("place", "day"):
        around = _f(*adposition(lang, slot, getattr(c, slot)))
        if lang == "ja":
            around = _f("に" if slot == "day" or c.verb == "be" else "で")
        out = word + around if lang in ("hi", "ja") else around + word
    else:
        before, after = _AROUND[slot][lang]
        out = _f(*before.split()) + word + _f(*after.split())
    return [w._replace(phrase=slot) for w in out]


def _adjuncts(lang: str, c: Clause, ask: str | None, order: tuple[str, ...]) -> list[Word]:
    return [w for slot in order if c.has(slot) and slot != ask for w in adjunct(lang, c, slot)]


def _german(c: Clause, ask: str | None, front: bool) -> list[Word]:
    subject = _w("de", c, "subj")
    if c.subj not in NAMES:
        subject = _f({"m": "der", "f": "die", "n": "das"}[gender("de", c.subj)]) + subject
    finite, last = _w("de", c, "verb"), []
    if lexicon.is_state(c):
        finite, last = _f("ist"), finite
    elif c.want:
        finite, last = _f("will"), finite
    obj: list[Word] = []
    if c.obj:
        article = {"m": "den", "f": "die", "n": "das"}[gender("de", c.obj)]
        obj = _f(article) + (_w("de", c, "adj") if c.adj else []) + _w("de", c, "obj")
    time = _adjuncts("de", c, ask, ("day", "hour"))
    rest = _f("nicht" if c.neg else "") + _adjuncts("de", c, ask, ("mate", "place"))
    if ask:
        asked = question_words("de", c, ask) + (_w("de", c, "obj") if ask == "adj" else [])
        subject = [] if ask == "subj" else subject
        return asked + finite + subject + ([] if ask in ("obj", "adj") else obj) + time + rest + last
    if front and c.day:
        return (
            _adjuncts("de", c, None, ("day",))
            + finite
            + subject
            + obj
            + _adjuncts("de", c, None, ("hour",))
            + rest
            + last
        )
    return subject + finite + obj + time + rest + last


def _spanish(c: Clause, ask: str | None, front: bool) -> list[Word]:
    subject = _w("es", c, "subj")
    if c.subj not in NAMES:
        subject = _f("el" if gender("es", c.subj) == "m" else "la") + subject
    verb = _f("no" if c.neg else "", "quiere" if c.want else "", "está" if lexicon.is_state(c) else "") + _w(
        "es", c, "verb"
    )
    obj: list[Word] = []
    if c.obj:
        adjective = _w("es", c, "adj") if c.adj else []
        obj = _f("el" if gender("es", c.obj) == "m" else "la") + _w("es", c, "obj") + adjective
    rest = _adjuncts("es", c, ask, ("mate", "place", "day", "hour"))
    if ask is None:
        if front and c.day:
            return (
                _adjuncts("es", c, None, ("day",))
                + subject
                + verb
                + obj
                + _adjuncts("es", c, None, ("mate", "place", "hour"))
            )
        return subject + verb + obj + rest
    asked = _f("¿") + question_words("es", c, ask) + (_w("es", c, "obj") if ask == "adj" else [])
    return asked + verb + ([] if ask == "subj" else subject) + ([] if ask in ("obj", "adj") else obj) + rest


def _russian(c: Clause, ask: str | None, front: bool) -> list[Word]:
    subject = _w("ru", c, "subj")
    verb = _f("не" if c.neg else "", "хочет" if c.want else "") + _w("ru", c, "verb")
    obj = (_w("ru", c, "adj") if c.adj else []) + _w("ru", c, "obj") if c.obj else []
    rest = _adjuncts("ru", c, ask, ("mate", "place", "day", "hour"))
    if ask is None:
        if front and c.day:
            return (
                _adjuncts("ru", c, None, ("day",))
                + subject
                + verb
                + obj
                + _adjuncts("ru", c, None, ("mate", "place", "hour"))
            )
        return subject + verb + obj + rest
    asked = question_words("ru", c, ask) + (_w("ru", c, "obj") if ask == "adj" else [])
    return asked + ([] if ask == "subj" else subject) + verb + ([] if ask in ("obj", "adj") else obj) + rest


def _hindi(c: Clause, ask: str | None, front: bool) -> list[Word]:
    asked = question_words("hi", c, ask) if ask else []
    out = list(asked) if ask == "subj" else _w("hi", c, "subj")
    if front and c.day and ask is None:
        out = _adjuncts("hi", c, None, ("day",)) + out + _adjuncts("hi", c, None, ("hour", "place", "mate"))
    else:
        for slot in ("day", "hour", "place", "mate"):
            out += asked if ask == slot else _adjuncts("hi", c, ask, (slot,))
    if c.obj:
        if ask == "obj":
            out += asked
        elif ask == "adj":
            out += asked + _w("hi", c, "obj")
        else:
            out += (_w("hi", c, "adj") if c.adj else []) + _w("hi", c, "obj")
    feminine = ask != "subj" and gender("hi", c.subj) == "f"
    verb = _w("hi", c.put(subj="man") if ask == "subj" else c, "verb")
    want = "" if not c.want else "चाहती" if feminine else "चाहता"
    auxiliary = _f(want, "" if c.verb == "be" else "है")
    if c.neg and lexicon.is_state(c):
        return out + verb + _f("नहीं") + auxiliary
    return out + _f("नहीं" if c.neg else "") + verb + auxiliary


def _swahili(c: Clause, ask: str | None, front: bool) -> list[Word]:
    asked = question_words("sw", c, ask) if ask else []
    out = list(asked) if ask == "subj" else _w("sw", c, "subj")
    out += _f("" if not c.want else "hataki" if c.neg else "anataka") + _w("sw", c, "verb")
    if c.obj:
        if ask == "obj":
            out += asked
        else:
            out += _w("sw", c, "obj") + (asked if ask == "adj" else _w("sw", c, "adj") if c.adj else [])
    fronted = front and c.day is not None and ask is None
    for slot in ("mate", "place", "day", "hour"):
        if not (fronted and slot == "day"):
            out += asked if ask == slot else _adjuncts("sw", c, ask, (slot,))
    return (_adjuncts("sw", c, None, ("day",)) if fronted else []) + out


def _japanese(c: Clause, ask: str | None, front: bool) -> list[Word]:
    asked = question_words("ja", c, ask) if ask else []
    out = asked + _f("が") if ask == "subj" else _w("ja", c, "subj") + _f("は")
    fronted = front and c.day is not None and ask is None
    for slot in ("day", "hour", "place", "mate"):
        if not (fronted and slot == "day"):
            out += asked if ask == slot else _adjuncts("ja", c, ask, (slot,))
    if c.obj:
        if ask == "obj":
            out += asked
        else:
            out += (asked if ask == "adj" else _w("ja", c, "adj") if c.adj else []) + _w("ja", c, "obj")
        out += _f("を")
    return (
        (_adjuncts("ja", c, None, ("day",)) if fronted else []) + out + _w("ja", c, "verb") + (_f("か") if ask else [])
    )


_GRAMMARS = {"de": _german, "es": _spanish, "ru": _russian, "hi": _hindi, "sw": _swahili, "ja": _japanese}
_STOP = {"hi": "।", "ja": "。"}


def words(clause: Clause, lang: str, ask: str | None = None, front: bool = False, **style: bool) -> list[Word]:
    """The words of a sentence, final punctuation included. style (English only): synonyms, long_question."""
    if lang == "en":
        return [Word(w.text, w.slot, w.phrase) for w in english.tagged(clause, ask, front, **style)]
    out = _GRAMMARS[lang](clause, ask, front)
    first = 1 if out[0].text == "¿" else 0
    out[first] = out[first]._replace(text=out[first].text[0].upper() + out[first].text[1:])
    return out + _f("?" if ask else _STOP.get(lang, "."))


def join(parts: list[Word]) -> tuple[str, list[tuple[int, int]]]:
    """The text of a sentence and the character span of every word in it."""
    text, spans = "", []
    for word in parts:
        tight = word.text in (".", "?", ",", "।", "。") or text.endswith("¿")
        text += "" if tight or not text else " "
        spans.append((len(text), len(text) + len(word.text)))
        text += word.text
    return text, spans


def say(clause: Clause, lang: str = "en", ask: str | None = None, front: bool = False, **style: bool) -> str:
    """The sentence as text."""
    return join(words(clause, lang, ask, front, **style))[0]
