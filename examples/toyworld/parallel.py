"""Pairs for a dual encoder: parallel in all languages for hybrid batches, and English triplets of inference.

A query asks for a part of a sentence that is the passage; the hard negative says another thing of the same. What the
test of retrieval says is left out.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from examples.toyworld.concepts import LANGUAGES
from examples.toyworld.grammar import say
from examples.toyworld.meanings import OPTIONAL, Clause, draw_clause, other_value
from examples.toyworld.pairs import askable

SIZES = {"train": 500, "dev": 60}
TRIPLET_SIZES = {"train": 3000, "dev": 200}


def write(out: Path, seed: int, scale: float, tested: list[Clause]) -> None:
    """pairs/LANGUAGE.SPLIT.jsonl, the same without groups in pairs/ungrouped/, pairs/nli.SPLIT.jsonl."""
    for split, count in _scaled(SIZES, scale):
        meanings = _meanings(random.Random(f"{seed}/parallel/{split}"), count, tested)
        for language in LANGUAGES:
            name = f"{language}.{split}"
            _write(out / f"{name}.jsonl", _rows(meanings, language))
            _write(out / "ungrouped" / f"{name}.jsonl", [row[:3] for row in _rows(meanings, language)])
    for split, count in _scaled(TRIPLET_SIZES, scale):
        rng = random.Random(f"{seed}/triplets/{split}")
        _write(out / f"nli.{split}.jsonl", [_triplet(rng) for _ in range(count)])


def _scaled(sizes: dict[str, int], scale: float) -> Iterator[tuple[str, int]]:
    return ((split, max(30, round(count * scale))) for split, count in sizes.items())


def _write(path: Path, rows: list[tuple[str | int, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("query", "passage", "negative", "group")
    lines = [json.dumps(dict(zip(names, row, strict=False)), ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def _meanings(rng: random.Random, count: int, tested: list[Clause]) -> list[tuple[Clause, Clause, str]]:
    """(clause, the same but for one slot, that slot), none of them a clause that is tested."""
    known = {(clause.subj, clause.verb, clause.obj) for clause in tested}
    found: dict[Clause, tuple[Clause, Clause, str]] = {}
    while len(found) < count:
        clause = draw_clause(rng, rng.sample(OPTIONAL, rng.randint(1, 3)))
        if (clause.subj, clause.verb, clause.obj) not in known:
            slot = rng.choice(askable(clause))
            found.setdefault(clause, (clause, clause.put(**{slot: other_value(rng, slot, clause)}), slot))
    return list(found.values())


def _rows(meanings: list[tuple[Clause, Clause, str]], language: str) -> list[tuple[str | int, ...]]:
    return [
        (say(clause, language, ask=slot), say(clause, language), say(other, language), group)
        for group, (clause, other, slot) in enumerate(meanings)
    ]


def _triplet(rng: random.Random) -> tuple[str, ...]:
    """A premise, a hypothesis that follows (the premise without one slot), and one that does not (another value)."""
    premise = draw_clause(rng, rng.sample(OPTIONAL, 2))
    kept, dropped = rng.sample([slot for slot in OPTIONAL if premise.has(slot)], 2)
    claim = premise.put(**{dropped: None})
    return say(premise), say(claim), say(claim.put(**{kept: other_value(rng, kept, claim)}))
