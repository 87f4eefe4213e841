"""Sentence-pair tasks in meanings: natural language inference and paraphrase, still without words.

The claim (hypothesis) is drawn first and the facts (premise) are built around it, with the label drawn independently:
so the hypothesis alone says nothing about the label, and the premise's length says nothing either.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from examples.toyworld.meanings import (
    HYPERNYM,
    NAMES,
    OPTIONAL,
    Clause,
    draw_clause,
    draw_value,
    other_value,
    relation,
    topic_of,
)

NLI_LABELS = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class Inference:
    facts: tuple[Clause, ...]
    claim: Clause
    label: int  # index into NLI_LABELS


@dataclass(frozen=True)
class Style:
    """How hard the pairs are: number of facts, optional slots per fact, how often classes and negation are used."""

    facts: int = 1
    slots: int = 2
    classes: float = 0.15
    negation: float = 0.0


SNLI = Style(slots=1, classes=0.0)
MNLI = Style(slots=2, classes=0.15)
ANLI = {"r1": Style(slots=3), "r2": Style(slots=2, negation=0.3), "r3": Style(facts=2, slots=1)}


def _widen(rng: random.Random, clause: Clause, size: int, banned: str) -> Clause:
    """The clause with optional slots added until it has `size` of them (never the banned one)."""
    free = [s for s in OPTIONAL if not clause.has(s) and s != banned and (s != "adj" or clause.obj)]
    have = sum(clause.has(s) for s in OPTIONAL)
    topic = topic_of(clause, rng)
    for slot in rng.sample(free, min(len(free), max(0, size - have))):
        clause = clause.put(**{slot: draw_value(rng, slot, clause, topic)})
    return clause


def inference(rng: random.Random, style: Style) -> Inference:
    """One premise, hypothesis and label; the pivot is the slot that decides."""
    label = rng.randrange(3)
    pivot = rng.choice((*OPTIONAL, "obj"))
    claim = draw_clause(rng, [pivot] if pivot in OPTIONAL else [rng.choice(OPTIONAL)], need_object=pivot == "obj")
    fact = claim
    if NLI_LABELS[label] == "contradiction":
        fact = claim.put(**{pivot: other_value(rng, pivot, claim)})
    elif NLI_LABELS[label] == "neutral":
        if pivot == "obj" and claim.obj in HYPERNYM:
            fact = claim.put(obj=HYPERNYM[claim.obj])
        elif pivot == "obj":
            pivot = next(s for s in OPTIONAL if claim.has(s))
        if pivot != "obj":
            fact = claim.put(**{pivot: None})
    elif pivot == "obj" and claim.obj in HYPERNYM and rng.random() < style.classes:
        claim = claim.put(obj=HYPERNYM[claim.obj])
    fact = _widen(rng, fact, style.slots, pivot if NLI_LABELS[label] == "neutral" else "")
    if rng.random() < style.classes and claim.subj in HYPERNYM:
        claim = claim.put(subj=HYPERNYM[claim.subj])
    if rng.random() < style.negation:
        claim = claim.put(neg=True)
        label = {0: 2, 1: 1, 2: 0}[label]
    facts = [fact]
    while len(facts) < style.facts:
        other = draw_clause(rng, rng.sample(OPTIONAL, 2), subj=rng.choice(NAMES))
        if all(other.subj != f.subj and other.verb != f.verb for f in facts):
            facts.append(other)
    rng.shuffle(facts)
    assert relation(facts, claim) == NLI_LABELS[label], (facts, claim, label)
    return Inference(tuple(facts), claim, label)


@dataclass(frozen=True)
class Question:
    clause: Clause
    ask: str


def askable(clause: Clause) -> list[str]:
    """Slots that a question can ask for."""
    return [s for s in ("subj", "obj", *OPTIONAL) if clause.has(s)]


def paraphrase(rng: random.Random) -> tuple[Question, Question, int]:
    """Two questions and 1 where they are duplicates; else one or two words, or the slot in question, differ."""
    clause = draw_clause(rng, rng.sample(OPTIONAL, 2))
    ask = rng.choice(askable(clause))
    first = Question(clause, ask)
    if rng.random() < 0.5:
        return first, first, 1
    said = [s for s in askable(clause) if s != ask and not (s == "obj" and ask == "adj")]
    if ask == "obj":  # the adjective is omitted when the question is about the object
        said = [s for s in said if s != "adj"]
    if rng.random() < 0.3 or not said:
        return first, Question(clause, rng.choice([s for s in askable(clause) if s != ask])), 0
    for slot in rng.sample(said, min(len(said), rng.randint(1, 2))):
        clause = clause.put(**{slot: other_value(rng, slot, clause)})
    return first, Question(clause, ask), 0
