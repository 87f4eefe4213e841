"""The English grammar: clause -> words with their CCG categories (in CCGbank's notation).

Names and weekdays are NP outright, adjuncts modify verb phrases, questions use S[wq] and S[q]; the punctuation mark has
the category `.`. Categories combine to S by application and composition.
"""

from __future__ import annotations

from typing import NamedTuple

from examples.toyworld import lexicon
from examples.toyworld.lexicon import adposition, form
from examples.toyworld.meanings import NAMES, Clause

VP_MODIFIER = r"((S\NP)\(S\NP))/NP"


class Tagged(NamedTuple):
    text: str
    tag: str
    slot: str = ""
    phrase: str = ""


def adjunct(c: Clause, slot: str, synonyms: bool = False, category: str = VP_MODIFIER) -> list[Tagged]:
    """The phrase for a place, day, hour or companion."""
    value = form("en", c, slot, synonyms)
    if slot == "place":
        preposition, article = adposition("en", "place", c.place or "")
        out = [Tagged(preposition, category), Tagged(article, "NP/N"), Tagged(value, "N", slot)]
        return [w._replace(phrase=slot) for w in out]
    preposition = {"day": "on", "hour": "at", "mate": "with"}[slot]
    return [Tagged(preposition, category, phrase=slot), Tagged(value, "NP", slot, slot)]


def _verb(c: Clause, mood: str, synonyms: bool) -> list[Tagged]:
    r"""The verb with its auxiliaries; mood "dcl" (statement) or "b" (after the "does" of a question)."""
    argument = "/NP" if c.obj else ""
    verb = form("en", c if mood == "dcl" else c.put(neg=True), "verb", synonyms)
    not_ = [Tagged("not", r"(S\NP)\(S\NP)")] if c.neg else []

    def lexical(feature: str) -> str:
        return rf"(S[{feature}]\NP){argument}" if argument else rf"S[{feature}]\NP"

    if lexicon.is_state(c):
        return [Tagged("is", r"(S[dcl]\NP)/(S[adj]\NP)"), *not_, Tagged(verb, r"S[adj]\NP", "verb")]
    if c.verb == "be":
        return [Tagged("is", r"(S[dcl]\NP)/PP", "verb"), *not_]
    does = [Tagged("does", r"(S[dcl]\NP)/(S[b]\NP)"), *not_] if c.neg and mood == "dcl" else []
    feature = "b" if does or mood == "b" else "dcl"
    if c.want:
        wants = "want" if feature == "b" else "wants"
        return [
            *does,
            Tagged(wants, rf"(S[{feature}]\NP)/(S[to]\NP)"),
            Tagged("to", r"(S[to]\NP)/(S[b]\NP)"),
            Tagged(verb, lexical("b"), "verb"),
        ]
    return [*does, Tagged(verb, lexical(feature), "verb")]


def _question_word(c: Clause, ask: str, synonyms: bool, long: bool) -> list[Tagged]:
    fronted, object_gap, subject_gap = "S[wq]/S[q]", "S[wq]/(S[q]/NP)", r"S[wq]/(S[dcl]\NP)"
    if ask == "subj":
        return [Tagged("which", f"({subject_gap})/N"), Tagged("one", "N")] if long else [Tagged("who", subject_gap)]
    if ask == "obj":
        return [Tagged("which", f"({object_gap})/N"), Tagged("thing", "N")] if long else [Tagged("what", object_gap)]
    if ask == "adj":
        return [Tagged("which", f"({object_gap})/N"), Tagged(form("en", c, "obj", synonyms), "N", "obj")]
    if ask == "mate":
        return [Tagged("with", f"({fronted})/NP"), Tagged("whom", "NP")]
    if ask == "hour":
        return [Tagged("at", f"({fronted})/NP"), Tagged("what", "NP/N"), Tagged("hour", "N")]
    if long:
        return [
            Tagged({"place": "in", "day": "on"}[ask], f"({fronted})/NP"),
            Tagged("which", "NP/N"),
            Tagged({"place": "place", "day": "day"}[ask], "N"),
        ]
    return [Tagged({"place": "where", "day": "when"}[ask], fronted)]


def tagged(
    c: Clause, ask: str | None = None, front: bool = False, synonyms: bool = False, long_question: bool = False
) -> list[Tagged]:
    """The sentence with categories.

    front: the day stands first; synonyms: the other English word where there is one; long_question: "in which place"
    for "where".
    """
    subject = [Tagged(form("en", c, "subj", synonyms), "NP" if c.subj in NAMES else "N", "subj")]
    if c.subj not in NAMES:
        subject = [Tagged("the", "NP/N"), *subject]
    obj: list[Tagged] = []
    if c.obj and ask not in ("obj", "adj"):
        adjective = [Tagged(form("en", c, "adj", synonyms), "N/N", "adj")] if c.adj else []
        obj = [Tagged("the", "NP/N"), *adjective, Tagged(form("en", c, "obj", synonyms), "N", "obj")]
    fronted = front and c.day is not None and ask is None
    rest: list[Tagged] = []
    for slot in ("mate", "place", "day", "hour"):
        if c.has(slot) and slot != ask and not (fronted and slot == "day"):
            category = "PP/NP" if c.verb == "be" and slot == "place" else VP_MODIFIER
            rest += adjunct(c, slot, synonyms, category)
    asked = (
        [w if w.slot else w._replace(phrase="?") for w in _question_word(c, ask, synonyms, long_question)]
        if ask
        else []
    )
    if ask is None:
        before = adjunct(c, "day", synonyms, "(S/S)/NP") if fronted else []
        out = before + subject + _verb(c, "dcl", synonyms) + obj + rest
    elif ask == "subj":
        out = asked + _verb(c, "dcl", synonyms) + obj + rest
    elif c.verb == "be":
        assert ask == "place" and not c.neg
        out = [Tagged("where", "S[wq]/(S[q]/PP)", phrase="?"), Tagged("is", "(S[q]/PP)/NP"), *subject, *rest]
    else:
        assert not lexicon.is_state(c)
        out = [
            *asked,
            Tagged("does", r"(S[q]/(S[b]\NP))/NP"),
            *subject,
            *_verb(c.put(neg=False), "b", synonyms),
            *obj,
            *rest,
        ]
    out[0] = out[0]._replace(text=out[0].text[0].upper() + out[0].text[1:])
    return [*out, Tagged("?" if ask else ".", ".")]
