"""Data of two more targets: English training data of PAWS-X and Mewsli-X, and test data of Mewsli-X.

In upstream's files and columns, so that `--source data/toyworld` trains these targets too. Like PAWS, a pair
shares its words and differs, if it does, in who does what; as in Mewsli-X, a passage describes an entity (here a thing
of the toy world) and a query mentions it in a sentence.
"""

import random
from collections.abc import Iterator
from typing import Any

from datasets import ClassLabel, Features, Value

from examples.toyworld.grammar import join, say, words
from examples.toyworld.lexicon import english
from examples.toyworld.meanings import NAMES, OBJECTS, Clause, draw_clause

Row = dict[str, Any]
PAWSX = Features(
    {
        "id": Value("int32"),
        "sentence1": Value("string"),
        "sentence2": Value("string"),
        "label": ClassLabel(names=["0", "1"]),
    }
)
PAWSX_SIZES = {"train": 4000, "validation": 600}
MEWSLIX_SIZES = {"train": 3000, "dev": 400}
MEWSLIX_TEST = 100  # mentions of each language
MEWSLIX_LANGUAGES = ("de", "en", "es", "ja")  # those of Mewsli-X that the toy world has


def pawsx(seed: int, size: dict[str, int]) -> Iterator[tuple[str, list[Row]]]:
    """(split, rows); a row never occurs twice, in one split or in two."""
    seen: set[tuple[str, str]] = set()
    for split, count in size.items():
        rng = random.Random(f"{seed}/pawsx/{split}")
        rows: list[Row] = []
        while len(rows) < count:
            first, second, label = _swap(rng)
            if first != second and (first, second) not in seen:
                seen.add((first, second))
                rows.append({"id": len(rows), "sentence1": first, "sentence2": second, "label": label})
        yield split, rows


def _swap(rng: random.Random) -> tuple[str, str, int]:
    """(text, text, label): two facts and a paraphrase of them (1), or the same with the two people swapped (0)."""
    names = rng.sample(NAMES, 2)
    one = two = draw_clause(rng, ["place"], subj=names[0])
    while two.verb == one.verb:
        two = draw_clause(rng, ["hour"], subj=names[1])
    label = rng.randrange(2)
    second = [one, two] if label else [one.put(subj=two.subj), two.put(subj=one.subj)]
    if rng.random() < 0.5:
        second.reverse()  # order carries no information

    def text(clauses: list[Clause]) -> str:
        return " ".join(say(clause, "en", synonyms=rng.random() < 0.5) for clause in clauses)

    return text([one, two]), text(second), label


def mewslix(seed: int, size: dict[str, int]) -> Iterator[tuple[str, list[Row]]]:
    """(split, rows) of {contextual_mention, entity}; the entities of both splits are the same."""
    entities = _entities(seed)
    for split, count in size.items():
        rng = random.Random(f"{seed}/mewslix/{split}")
        rows: list[Row] = []
        while len(rows) < count:
            context, mention, entity = _mention(rng, "en", f"toy-{split}-{len(rows):06d}", entities)
            rows.append({"contextual_mention": {"context": context, "mention": mention}, "entity": entity})
        yield split, rows


def mewslix_test(seed: int, count: int) -> tuple[list[Row], list[Row]]:
    """`count` rows {context, mentions} of each language, and the candidates."""
    entities = _entities(seed)
    rows = []
    for lang in MEWSLIX_LANGUAGES:
        rng = random.Random(f"{seed}/mewslix/test/{lang}")
        for number in range(count):
            context, mention, _ = _mention(rng, lang, f"toy-{lang}-{number:06d}", entities)
            rows.append({"context": context, "mentions": [mention]})
    return rows, list(entities.values())


def _entities(seed: int) -> dict[str, Row]:
    rng = random.Random(f"{seed}/mewslix")
    return {thing: _entity(rng, number, thing) for number, thing in enumerate(sorted(OBJECTS))}


def _mention(rng: random.Random, lang: str, name: str, entities: dict[str, Row]) -> tuple[Row, Row, Row]:
    """(context, mention, entity): a sentence, the span of its object, and the entity of that object."""
    clause = draw_clause(rng, ["place"], need_object=True)
    parts = words(clause, lang)
    text, spans = join(parts)
    start, end = next(span for word, span in zip(parts, spans, strict=True) if word.slot == "obj")
    entity = entities[str(clause.obj)]
    mention = {
        "example_id": name, "mention_span": {"start": start, "end": end, "text": text[start:end]},
        "entity_id": entity["entity_id"],
    }  # fmt: skip
    return {"language": lang, "text": text, "sentence_spans": [{"start": 0, "end": len(text)}]}, mention, entity


def _entity(rng: random.Random, number: int, thing: str) -> Row:
    title = english(thing).capitalize()
    sentences = [f"{title} is a thing of this world."]
    while len(sentences) < 4:
        clause = draw_clause(rng, ["place"], need_object=True)
        if clause.obj == thing:
            sentences.append(say(clause, "en"))
    spans, start = [], 0
    for sentence in sentences:
        spans.append({"start": start, "end": start + len(sentence)})
        start += len(sentence) + 1
    return {
        "entity_id": f"T{number}", "title": title, "description_language": "en",
        "description": " ".join(sentences), "sentence_spans": spans,
    }  # fmt: skip
