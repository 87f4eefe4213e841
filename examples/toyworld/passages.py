"""Passages with questions, in meanings: two or three facts about different people, one question, its answer or none."""

from __future__ import annotations

import random
from dataclasses import dataclass

from examples.toyworld.grammar import Word, join, words
from examples.toyworld.meanings import NAMES, OPTIONAL, Clause, draw_clause, draw_value, topic_of
from examples.toyworld.pairs import Question


@dataclass(frozen=True)
class Passage:
    """Facts, a question, and the (fact, slot) that answers it (None: unanswerable)."""

    facts: tuple[Clause, ...]
    question: Question
    answer: tuple[int, str] | None


def _facts(rng: random.Random, names: list[str], target: int, ask: str, answerable: bool) -> list[Clause]:
    """A fact for every name; the others fill the slot in question about half of the time."""
    facts: list[Clause] = []
    for i, name in enumerate(names):
        slots = [rng.choice([s for s in OPTIONAL if s != ask])]
        if ask in OPTIONAL and (answerable if i == target else rng.random() < 0.5):
            slots = [ask]
        while True:
            fact = draw_clause(rng, slots, subj=name, need_object=ask in ("adj", "obj", "subj"))
            if all(f.verb != fact.verb and (f.obj is None or f.obj != fact.obj) for f in facts):
                break
        facts.append(fact)
    return facts


def passage(rng: random.Random, answerable: bool = True, size: int | None = None) -> Passage:
    """`size` facts (two or three by default) with distinct subjects, verbs and objects, and a question about one.

    Unanswerable, half and half: the question is about somebody whom the passage does not mention, or the fact about
    that person does not hold what is asked for.
    """
    size = size or rng.randint(2, 3)
    absent = not answerable and rng.random() < 0.5
    ask = rng.choice(OPTIONAL if not answerable and not absent else ("subj", "obj", *OPTIONAL))
    names = rng.sample(NAMES, size + absent)
    target = rng.randrange(size + absent)
    facts = _facts(rng, names, target, ask, answerable or absent)
    known = facts.pop(target) if absent else facts[target]
    asked = Clause(known.subj, known.verb, known.obj)  # questions are short: who does what to what
    if not asked.has(ask):
        value = getattr(known, ask) if known.has(ask) else draw_value(rng, ask, known, topic_of(known, rng))
        asked = asked.put(**{ask: value})
    return Passage(tuple(facts), Question(asked, ask), (target, ask) if answerable else None)


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
            inside = [span for span, word in zip(spans, parts, strict=True) if word.slot == p.answer[1]]
            start, end = offset + inside[0][0], offset + inside[-1][1]
            answer = context[start:end]
    return context, join(words(p.question.clause, lang, p.question.ask))[0], answer, start
