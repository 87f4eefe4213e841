"""Grammars: clause -> words, for the six languages other than English (that one is english.py, with CCG categories).

Word order: German verb-second with the infinitive last; Spanish and Russian SVO with fronted questions; Hindi and
Japanese verb-last with the question word in place; Swahili SVO with the question word in place. A question asks for
one slot of the clause (`ask`), which is then shown as a question word.
"""

from __future__ import annotations

from typing import NamedTuple

from data_prep.toyworld import english, lexicon
from data_prep.toyworld.lexicon import adposition, form, gender
from data_prep.toyworld.meanings import NAMES, Clause


class Word(NamedTuple):
    """A word of a sentence; `slot` names the slot of the clause that it expresses ("" for function words)."""

    text: str
    slot: str = ""


def _f(*texts: str) -> list[Word]:
    return [Word(t) for t in texts if t]


def _w(lang: str, c: Clause, slot: str) -> list[Word]:
    return [Word(form(lang, c, slot), slot)]


def _adjuncts(lang: str, c: Clause, ask: str | None, order: tuple[str, ...]) -> list[Word]:
    out: list[Word] = []
    for slot in order:
        if not c.has(slot) or ask == slot:
            continue
        word = _w(lang, c, slot)
        if slot in ("place", "day"):
            around = _f(*adposition(lang, slot, getattr(c, slot)))
            out += word + around if lang == "hi" else around + word
        elif slot == "hour":
            before, after = {
                "de": ("um", "Uhr"),
                "es": ("a las", ""),
                "ru": ("в", "часов"),
                "hi": ("", "बजे"),
                "sw": ("saa", ""),
                "ja": ("", "時 に"),
            }[lang]
            out += _f(*before.split()) + word + _f(*after.split())
        else:
            before, after = {
                "de": ("mit", ""),
                "es": ("con", ""),
                "ru": ("с", ""),
                "hi": ("", "के साथ"),
                "sw": ("na", ""),
                "ja": ("", "と"),
            }[lang]
            out += _f(before) + word + _f(*after.split())
        if lang == "ja" and slot in ("place", "day"):
            out += _f("に" if slot == "day" or c.verb == "be" else "で")
    return out


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
    which = ""
    if c.obj:
        kind = gender("de", c.obj)
        which = {"m": "welchen", "f": "welche", "n": "welches"}[kind]
        article = {"m": "den", "f": "die", "n": "das"}[kind]
        obj = _f(article) + (_w("de", c, "adj") if c.adj else []) + _w("de", c, "obj")
    time = _adjuncts("de", c, ask, ("day", "hour"))
    rest = _f("nicht" if c.neg else "") + _adjuncts("de", c, ask, ("mate", "place"))
    if ask == "subj":
        return _f("wer") + finite + obj + time + rest + last
    if ask in ("obj", "adj"):
        asked = _f("was") if ask == "obj" else _f(which) + _w("de", c, "obj")
        return asked + finite + subject + time + rest + last
    if ask:
        asked = _f(*{"place": "wo", "day": "wann", "hour": "um wie viel Uhr", "mate": "mit wem"}[ask].split())
        return asked + finite + subject + obj + time + rest + last
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
    if ask == "subj":
        return _f("¿", "quién") + verb + obj + rest
    if ask in ("obj", "adj"):
        return _f("¿", "qué") + (_w("es", c, "obj") if ask == "adj" else []) + verb + subject + rest
    asked = {"place": "dónde", "day": "cuándo", "hour": "a qué hora", "mate": "con quién"}[ask]
    return _f("¿", *asked.split()) + verb + subject + obj + rest


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
    if ask == "subj":
        return _f("кто") + verb + obj + rest
    if ask in ("obj", "adj"):
        which = {"m": "какой", "f": "какую", "n": "какое"}[gender("ru", c.obj or "")] if c.obj else ""
        return (_f("что") if ask == "obj" else _f(which) + _w("ru", c, "obj")) + subject + verb + rest
    asked = {"place": "где", "day": "когда", "hour": "во сколько", "mate": "с кем"}[ask]
    return _f(*asked.split()) + subject + verb + obj + rest


def _hindi(c: Clause, ask: str | None, front: bool) -> list[Word]:
    asked = {"subj": "कौन", "obj": "क्या", "place": "कहाँ", "day": "कब", "hour": "कितने बजे", "mate": "किसके साथ"}
    out = _f(asked["subj"]) if ask == "subj" else _w("hi", c, "subj")
    if front and c.day and ask is None:
        out = _adjuncts("hi", c, None, ("day",)) + out + _adjuncts("hi", c, None, ("hour", "place", "mate"))
    else:
        for slot in ("day", "hour", "place", "mate"):
            out += _f(*asked[slot].split()) if ask == slot else _adjuncts("hi", c, ask, (slot,))
    if c.obj:
        if ask == "obj":
            out += _f(asked["obj"])
        elif ask == "adj":
            out += _f("कौन", "सी" if gender("hi", c.obj) == "f" else "सा") + _w("hi", c, "obj")
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
    asked = {"place": "wapi", "day": "lini", "hour": "saa ngapi", "mate": "na nani"}
    out = _f("nani") if ask == "subj" else _w("sw", c, "subj")
    out += _f("" if not c.want else "hataki" if c.neg else "anataka") + _w("sw", c, "verb")
    if c.obj:
        if ask == "obj":
            out += _f("nini")
        else:
            out += _w("sw", c, "obj") + (_f("gani") if ask == "adj" else _w("sw", c, "adj") if c.adj else [])
    fronted = front and c.day is not None and ask is None
    for slot in ("mate", "place", "day", "hour"):
        if not (fronted and slot == "day"):
            out += _f(*asked[slot].split()) if ask == slot else _adjuncts("sw", c, ask, (slot,))
    return (_adjuncts("sw", c, None, ("day",)) if fronted else []) + out


def _japanese(c: Clause, ask: str | None, front: bool) -> list[Word]:
    asked = {"place": "どこ に" if c.verb == "be" else "どこ で", "day": "いつ", "hour": "何時 に", "mate": "誰 と"}
    out = _f("誰", "が") if ask == "subj" else _w("ja", c, "subj") + _f("は")
    fronted = front and c.day is not None and ask is None
    for slot in ("day", "hour", "place", "mate"):
        if not (fronted and slot == "day"):
            out += _f(*asked[slot].split()) if ask == slot else _adjuncts("ja", c, ask, (slot,))
    if c.obj:
        if ask == "obj":
            out += _f("何")
        else:
            out += (_f("どの") if ask == "adj" else _w("ja", c, "adj") if c.adj else []) + _w("ja", c, "obj")
        out += _f("を")
    return (
        (_adjuncts("ja", c, None, ("day",)) if fronted else []) + out + _w("ja", c, "verb") + (_f("か") if ask else [])
    )


_GRAMMARS = {"de": _german, "es": _spanish, "ru": _russian, "hi": _hindi, "sw": _swahili, "ja": _japanese}
_STOP = {"hi": "।", "ja": "。"}


def words(clause: Clause, lang: str, ask: str | None = None, front: bool = False, **style: bool) -> list[Word]:
    """The words of a sentence, final punctuation included. style (English only): synonyms, long_question."""
    if lang == "en":
        return [Word(w.text, w.slot) for w in english.tagged(clause, ask, front, **style)]
    out = _GRAMMARS[lang](clause, ask, front)
    first = 1 if out[0].text == "¿" else 0
    out[first] = Word(out[first].text[0].upper() + out[first].text[1:], out[first].slot)
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
