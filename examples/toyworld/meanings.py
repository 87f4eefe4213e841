"""Meanings: one event per clause, how they are drawn, and what follows from what.

A text describes one event per subject, at one place, on one day, at one hour, with one companion: so "Anna sleeps in
the garden" excludes "Anna sleeps at the school". That convention (SNLI's "same event") makes labels decidable.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from examples.toyworld import concepts as c

NAMES = c.FEMALE_NAMES + c.MALE_NAMES
PLACES = tuple(c.TOPICS)
DAYS = tuple(line.split(":")[0] for line in c.DAYS.strip().splitlines())
GENERAL = ("man", "woman", "boy", "girl")
ROLES = tuple(role for topic in c.TOPICS.values() for role in topic["roles"])
ANIMALS = tuple(animal for topic in c.TOPICS.values() for animal in topic["animals"])
OBJECTS = tuple(dict.fromkeys(o for t in c.TOPICS.values() for objects in t["verbs"].values() for o in objects))
ADJECTIVES = tuple(a for group in c.ADJECTIVE_GROUPS for a in group)
HYPERNYM = (
    {word: kind for kind, words in c.HYPERNYMS.items() for word in words}
    | dict.fromkeys(ANIMALS, "animal")
    | dict.fromkeys(ROLES + GENERAL, "person")
)
ANIMAL_VERBS = ("sleep", "run", "swim", "wait")
OPTIONAL = ("adj", "place", "day", "hour", "mate")


@dataclass(frozen=True)
class Clause:
    """One proposition. Slots hold concept names (names and hours: themselves) or None.

    verb: a verb, a state ("hungry": is hungry) or "be" (is at a place). adj belongs to obj. want: wants to do it.
    """

    subj: str
    verb: str
    obj: str | None = None
    adj: str | None = None
    place: str | None = None
    day: str | None = None
    hour: str | None = None
    mate: str | None = None
    neg: bool = False
    want: bool = False

    def has(self, slot: str) -> bool:
        return getattr(self, slot) is not None

    def put(self, **slots) -> Clause:
        return replace(self, **slots)


def draw_value(rng: random.Random, slot: str, clause: Clause, topic: str) -> str:
    """A value for an optional slot; the place is the topic's own one time in two."""
    if slot == "adj":
        return rng.choice(ADJECTIVES)
    if slot == "place":
        return topic if rng.random() < 0.5 else rng.choice(PLACES)
    if slot == "day":
        return rng.choice(DAYS)
    if slot == "hour":
        return rng.choice(c.HOURS)
    return rng.choice([name for name in NAMES if name != clause.subj])


def draw_clause(
    rng: random.Random,
    slots: tuple[str, ...] | list[str] = (),
    subj: str | None = None,
    topic: str | None = None,
    need_object: bool = False,
) -> Clause:
    """A clause with exactly the optional slots named; the subject is mostly a name, else a role or an animal."""
    topic = topic or rng.choice(PLACES)
    verbs = c.TOPICS[topic]["verbs"]
    if "adj" in slots or need_object:
        verbs = {verb: objects for verb, objects in verbs.items() if objects}
    verb = rng.choice(list(verbs))
    obj = rng.choice(verbs[verb]) if verbs[verb] else None
    if subj is None:
        kind = rng.random()
        if kind < 0.6:
            subj = rng.choice(NAMES)
        elif kind < 0.75:
            subj = rng.choice(c.TOPICS[topic]["roles"])
        elif kind < 0.9 or need_object or "adj" in slots:
            subj = rng.choice(GENERAL)
        else:
            subj, verb, obj = rng.choice(c.TOPICS[topic]["animals"] or ANIMALS), rng.choice(ANIMAL_VERBS), None
    clause = Clause(subj, verb, obj)
    for slot in slots:
        clause = clause.put(**{slot: draw_value(rng, slot, clause, topic)})
    return clause


def topic_of(clause: Clause, rng: random.Random) -> str:
    """A topic in which this verb has this object (any topic for verbs of none)."""
    fits = [
        t
        for t, topic in c.TOPICS.items()
        if clause.verb in topic["verbs"] and (clause.obj is None or clause.obj in topic["verbs"][clause.verb])
    ]
    return rng.choice(fits or list(PLACES))


def other_value(rng: random.Random, slot: str, clause: Clause) -> str:
    """Another value of a slot, one that cannot hold together with the present one."""
    value = getattr(clause, slot)
    if slot == "adj":
        group = next(group for group in c.ADJECTIVE_GROUPS if value in group)
        return rng.choice([a for a in group if a != value])
    if slot == "obj":
        kind = HYPERNYM.get(value)
        return rng.choice([o for o in OBJECTS if o != value and HYPERNYM.get(o) not in (value, kind or "")])
    pool = {"place": PLACES, "day": DAYS, "hour": c.HOURS, "mate": NAMES, "subj": NAMES}[slot]
    return rng.choice([v for v in pool if v not in (value, clause.subj, clause.mate)])


def entails_value(slot: str, known: str, claimed: str) -> bool:
    return known == claimed or (slot in ("obj", "subj") and HYPERNYM.get(known) == claimed)


def relation(facts: list[Clause], claim: Clause) -> str:
    """entailment, contradiction or neutral: does the claim follow from the facts? Independent of how pairs are drawn.

    The fact about the claim's subject decides. A slot that the fact leaves open (or holds less specifically) makes the
    claim neutral, unless another slot excludes it.
    """
    fact = next((f for f in facts if f.verb == claim.verb and entails_value("subj", f.subj, claim.subj)), None)
    if fact is None:
        return "neutral"
    verdict = "entailment"
    for slot in ("obj", *OPTIONAL):
        claimed, known = getattr(claim, slot), getattr(fact, slot)
        if claimed is None or (known is not None and entails_value(slot, known, claimed)):
            continue
        same_group = slot != "adj" or any(known in g and claimed in g for g in c.ADJECTIVE_GROUPS)
        if known is None or not same_group or HYPERNYM.get(claimed) == known:
            verdict = "neutral" if verdict == "entailment" else verdict
        else:
            verdict = "contradiction"
    if claim.neg and verdict != "neutral":
        verdict = "entailment" if verdict == "contradiction" else "contradiction"
    return verdict
