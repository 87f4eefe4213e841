"""Multiple-choice tasks in English, from what belongs together in the world (concepts.TOPICS).

HellaSwag-like: how does the scene go on; CommonsenseQA-like: which of five belongs to this; CosmosQA-like: what does
somebody in this state want, or where are they, among two people's stories.
"""

from __future__ import annotations

import random

from examples.toyworld import concepts as c
from examples.toyworld.grammar import say
from examples.toyworld.lexicon import english
from examples.toyworld.meanings import (
    ANIMALS,
    HYPERNYM,
    NAMES,
    OBJECTS,
    PLACES,
    ROLES,
    Clause,
    draw_clause,
    draw_value,
)

TOPICS_OF_OBJECT = {
    o: {t for t in PLACES if any(o in objects for objects in c.TOPICS[t]["verbs"].values())} for o in OBJECTS
}
TOPICS_OF_VERB = {v: {t for t in PLACES if v in c.TOPICS[t]["verbs"]} for t in PLACES for v in c.TOPICS[t]["verbs"]}
OBJECTS_OF_VERB = {v: {o for t in PLACES for o in c.TOPICS[t]["verbs"].get(v, ())} for v in TOPICS_OF_VERB}


def _shuffle(rng: random.Random, right: str, wrong: list[str]) -> tuple[list[str], int]:
    label = rng.randrange(len(wrong) + 1)
    return [*wrong[:label], right, *wrong[label:]], label


def continuation(rng: random.Random) -> tuple[str, str, str, list[str], int]:
    """Topic, first sentence, start of the second (a name), four endings, index of the correct one.

    The right ending belongs to the scene's topic; the others to three other topics.
    """
    topics = rng.sample(PLACES, 4)
    name = rng.choice(NAMES)
    if rng.random() < 0.5 or len(c.TOPICS[topics[0]]["verbs"]) == 1:
        scene = Clause(name, "be", place=topics[0])
    else:
        scene = draw_clause(rng, [], subj=name, topic=topics[0]).put(place=topics[0])
    endings = []
    for topic in topics:
        ending = draw_clause(rng, [], subj=name, topic=topic)
        while (
            ending.verb == scene.verb
            or (topic != topics[0] and topics[0] in TOPICS_OF_VERB[ending.verb])
            or (ending.obj and scene.obj == ending.obj)
        ):
            ending = draw_clause(rng, [], subj=name, topic=topic)
        if rng.random() < 0.3:
            ending = ending.put(mate=draw_value(rng, "mate", ending, topic))
        endings.append(say(ending).split(" ", 1)[1])
    choices, label = _shuffle(rng, endings[0], endings[1:])
    return topics[0], say(scene), name, choices, label


def facts() -> list[tuple[str, str, str, tuple[str, ...]]]:
    """Every commonsense fact: question, concept asked about, answer, the pool of distractors (concept names)."""
    out = []
    for topic in PLACES:
        verbs = c.TOPICS[topic]["verbs"]
        for role in c.TOPICS[topic]["roles"]:
            wrong_roles = tuple(r for r in ROLES if r not in c.TOPICS[topic]["roles"])
            out.append((f"Who works in the {topic}?", topic, role, wrong_roles))
            out.append((f"Where does the {role} work?", role, topic, tuple(p for p in PLACES if p != topic)))
            for verb in verbs:
                wrong = tuple(v for v in TOPICS_OF_VERB if topic not in TOPICS_OF_VERB[v])
                out.append((f"What does the {role} do?", role, verb, wrong))
        for animal in c.TOPICS[topic]["animals"]:
            wrong = tuple(a for a in ANIMALS if a not in c.TOPICS[topic]["animals"])
            out.append((f"Which animal lives in the {topic}?", topic, animal, wrong))
            out.append((f"Where does the {animal} live?", animal, topic, tuple(p for p in PLACES if p != topic)))
    for obj in OBJECTS:
        for topic in sorted(TOPICS_OF_OBJECT[obj]):
            out.append((f"Where is the {obj}?", obj, topic, tuple(p for p in PLACES if p not in TOPICS_OF_OBJECT[obj])))
            wrong = tuple(o for o in OBJECTS if topic not in TOPICS_OF_OBJECT[o])
            out.append((f"What is in the {topic}?", topic, obj, wrong))
        for verb in OBJECTS_OF_VERB:
            if obj in OBJECTS_OF_VERB[verb]:
                wrong = tuple(o for o in OBJECTS if o not in OBJECTS_OF_VERB[verb])
                out.append((f"What can somebody {english(verb)}?", verb, obj, wrong))
        if obj in HYPERNYM:
            out.append(
                (
                    f"What kind of thing is the {obj}?",
                    obj,
                    HYPERNYM[obj],
                    tuple(k for k in c.HYPERNYMS if k != HYPERNYM[obj]),
                )
            )
    return out


def commonsense(rng: random.Random, fact: tuple[str, str, str, tuple[str, ...]]) -> tuple[str, str, list[str], int]:
    """Question, concept, five choices, index of the correct one."""
    question, concept, answer, pool = fact
    choices, label = _shuffle(rng, answer, rng.sample(pool, 4))
    return question, english(concept), [english(choice) for choice in choices], label


def story(rng: random.Random) -> tuple[str, str, list[str], int]:
    """Context, question, four answers, index of the correct one, which is implied by a person's state."""
    first, second = rng.sample(NAMES, 2)
    if rng.random() < 0.6:
        states = rng.sample(list(c.DESIRES), 4)
        context = [Clause(first, states[0], place=None), Clause(second, states[1])]
        question = f"What does {first} want to do?"
        answers = []
        for state in states:
            verb, objects = c.DESIRES[state]
            answers.append(say(Clause(first, verb, obj=rng.choice(objects) if objects else None, want=True)))
    else:
        topics = rng.sample(PLACES, 4)
        context = []
        for name, topic in ((first, topics[0]), (second, topics[1])):
            clause = draw_clause(rng, [], subj=name, topic=topic)
            while len(TOPICS_OF_VERB[clause.verb]) > 1:
                clause = draw_clause(rng, [], subj=name, topic=topic)
            context.append(clause)
        question = f"Where is {first}?"
        answers = [say(Clause(first, "be", place=topic)) for topic in topics]
    rng.shuffle(context)
    choices, label = _shuffle(rng, answers[0], answers[1:])
    return " ".join(say(clause) for clause in context), question, choices, label
