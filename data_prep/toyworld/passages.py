"""Passages with questions, in meanings: several facts about different people, one question, its answer or none."""

from __future__ import annotations

import random
from dataclasses import dataclass

from data_prep.toyworld.grammar import Word, join, words
from data_prep.toyworld.meanings import NAMES, OPTIONAL, Clause, draw_clause
from data_prep.toyworld.pairs import Question


@dataclass(frozen=True)
class Passage:
    """Facts, a question, and the (fact, slot) that answers it (None: the passage does not say)."""

    facts: tuple[Clause, ...]
    question: Question
    answer: tuple[int, str] | None


def passage(rng: random.Random, answerable: bool = True, size: int = 3) -> Passage:
    """`size` facts with distinct subjects and verbs; each with one optional slot, often the one asked for.

    Unanswerable: the fact about the person asked for does not hold that slot, while others do.
    """
    ask = rng.choice(("subj", "obj", *OPTIONAL))
    names = rng.sample(NAMES, size)
    optional = [s for s in OPTIONAL if s != ask]
    target = rng.randrange(size)
    facts: list[Clause] = []
    for i, name in enumerate(names):
        slots = rng.sample(optional, 1)
        if ask in OPTIONAL and (i != target if not answerable else i == target or rng.random() < 0.5):
            slots = [ask]
        while True:
            fact = draw_clause(rng, slots, subj=name, need_object=ask in ("adj", "obj", "subj"))
            if all(f.verb != fact.verb and (f.obj is None or f.obj != fact.obj) for f in facts):
                break
        facts.append(fact)
    known = facts[target]
    asked = Clause(known.subj, known.verb, known.obj)  # questions are short: who does what to what
    if answerable:
        return Passage(tuple(facts), Question(asked.put(**{ask: getattr(known, ask)}), ask), (target, ask))
    if ask in ("obj", "subj"):  # ask about somebody, or something, that the passage does not mention
        while True:
            other = draw_clause(rng, need_object=True, subj=rng.choice([n for n in NAMES if n not in names]))
            if all(f.verb != other.verb and f.obj != other.obj for f in facts):
                break
        asked = Clause(known.subj if ask == "obj" else other.subj, other.verb, other.obj)
        return Passage(tuple(facts), Question(asked, ask), None)
    value = next(getattr(f, ask) for f in facts if f.has(ask))
    return Passage(tuple(facts), Question(asked.put(**{ask: value}), ask), None)


def render(p: Passage, lang: str, fronts: list[bool]) -> tuple[str, str, str, int]:
    """Context, question, answer text, answer start (characters); the answer is "" and -1 where there is none.

    fronts: for each fact, whether its day stands first.
    """
    context, answer, start = "", "", -1
    for i, fact in enumerate(p.facts):
        parts: list[Word] = words(fact, lang, front=fronts[i])
        text, spans = join(parts)
        offset = len(context) + (1 if context else 0)
        context += (" " if context else "") + text
        if p.answer and p.answer[0] == i:
            inside = [span for span, word in zip(spans, parts) if word.slot == p.answer[1]]
            start, end = offset + inside[0][0], offset + inside[-1][1]
            answer = context[start:end]
    return context, join(words(p.question.clause, lang, p.question.ask))[0], answer, start
