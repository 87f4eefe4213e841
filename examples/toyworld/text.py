"""Raw text for masked-language modelling: one line is one text.

Kinds of lines, mixed: short stories on one topic; a passage, a question and its answer; a fact and a restatement of
it; the same fact in two languages. Each in one language or *code-switched*: content words, adjunct phrases and question
words replaced by their translation into a random language, in the place and with the grammar of the first language.
No line holds a task's label: the text teaches words and what belongs together, in all languages alike.
"""

from __future__ import annotations

import itertools
import random

from examples.toyworld import concepts as c
from examples.toyworld.grammar import Word, adjunct, join, question_words, words
from examples.toyworld.lexicon import form
from examples.toyworld.meanings import HYPERNYM, NAMES, OPTIONAL, PLACES, Clause, draw_clause
from examples.toyworld.passages import passage

# Shares of the kinds of lines.
KINDS = {"story": 0.35, "questions": 0.3, "restated": 0.15, "parallel": 0.2}
SWITCHED = 0.7  # share of lines that are code-switched ...
SWITCH_WORD = 0.5  # ... and of their content words that are replaced


def _other(rng: random.Random, lang: str) -> str:
    return rng.choice([x for x in c.LANGUAGES if x != lang])


def switch(rng: random.Random, clause: Clause, parts: list[Word], lang: str, ask: str | None = None) -> list[Word]:
    """Replace content words, whole adjunct phrases and question words by translations into random other languages."""
    out: list[Word] = []
    for phrase, group in itertools.groupby(parts, key=lambda w: w.phrase):
        unit = list(group)
        if rng.random() < SWITCH_WORD and phrase == "?" and ask:
            unit = question_words(_other(rng, lang), clause, ask)
        elif rng.random() < SWITCH_WORD / 2 and phrase not in ("", "?"):
            unit = adjunct(_other(rng, lang), clause, phrase)
        else:
            fixed = ("", "hour", "mate", "subj") if clause.subj in NAMES else ("", "hour", "mate")
            for i, word in enumerate(unit):
                if word.slot not in fixed and rng.random() < SWITCH_WORD and clause.verb != "be":
                    unit[i] = word._replace(text=form(_other(rng, lang), clause, word.slot))
        out += unit
    return out


def _sentence(rng: random.Random, clause: Clause, lang: str, switched: bool, ask: str | None = None) -> str:
    style = {"synonyms": rng.random() < 0.3, "long_question": rng.random() < 0.3} if lang == "en" else {}
    parts = words(clause, lang, ask, front=rng.random() < 0.3, **style)
    return join(switch(rng, clause, parts, lang, ask) if switched else parts)[0]


def _story(rng: random.Random) -> list[Clause]:
    """Two to four clauses about one or two subjects in one topic; states and wishes among them."""
    topic = rng.choice(PLACES)
    names = [rng.choice(NAMES) if rng.random() < 0.6 else rng.choice(c.TOPICS[topic]["roles"]) for _ in range(2)]
    out = []
    for i in range(rng.randint(2, 3)):
        name = names[0] if i == 0 or rng.random() < 0.5 else names[1]
        kind = rng.random()
        if kind < 0.12:
            out.append(Clause(name, "be", place=topic))
        elif kind < 0.42:
            state = rng.choice(list(c.DESIRES))
            verb, objects = c.DESIRES[state]
            out += [Clause(name, state), Clause(name, verb, obj=rng.choice(objects) if objects else None, want=True)]
        elif kind < 0.5 and c.TOPICS[topic]["animals"]:
            animal = rng.choice(c.TOPICS[topic]["animals"])
            out.append(Clause(animal, rng.choice(("be", "sleep", "run")), place=topic))
        else:
            slots = rng.sample(OPTIONAL, rng.randint(0, 2))
            clause = draw_clause(rng, [s for s in slots if s != "place"], subj=name, topic=topic)
            out.append(clause.put(place=topic) if rng.random() < 0.5 else clause)
    return out


def line(rng: random.Random) -> str:
    """A line of one language, of words of several, or of a sentence and its translation."""
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    lang = rng.choice(c.LANGUAGES)
    switched = rng.random() < SWITCHED
    if kind == "story":
        out = [_sentence(rng, clause, lang, switched) for clause in _story(rng)]
    elif kind == "questions":
        p = passage(rng, size=rng.randint(1, 3))
        assert p.answer
        out = [_sentence(rng, fact, lang, switched) for fact in p.facts]
        out.append(_sentence(rng, p.question.clause, lang, switched, ask=p.question.ask))
        fact = p.facts[p.answer[0]]
        answer = [w for w in words(fact, lang) if w.slot == p.answer[1]]
        out.append(join((switch(rng, fact, answer, lang) if switched else answer) + words(fact, lang)[-1:])[0])
    elif kind == "restated":
        fact = draw_clause(rng, rng.sample(OPTIONAL, rng.randint(1, 3)))
        kept = [s for s in OPTIONAL if fact.has(s)]
        again = fact.put(**{rng.choice(kept): None})
        if again.obj in HYPERNYM and rng.random() < 0.4:
            again = again.put(obj=HYPERNYM[again.obj])
        out = [_sentence(rng, fact, lang, switched), _sentence(rng, again, lang, switched)]
    else:
        fact = draw_clause(rng, rng.sample(OPTIONAL, rng.randint(1, 3)))
        other = rng.choice([x for x in c.LANGUAGES if x != lang])
        out = [_sentence(rng, fact, lang, switched), _sentence(rng, fact, other, switched)]
    return " ".join(out)


def lines(rng: random.Random, count: int) -> list[str]:
    """`count` distinct lines."""
    seen: dict[str, None] = {}
    while len(seen) < count:
        seen[line(rng)] = None
    return list(seen)
