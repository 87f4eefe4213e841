"""Multilingual targets: the same meanings in every language, for zero-shot evaluation of an English-trained model.

Sentence pairs for retrieval, XNLI-like and XQuAD-like test sets. Row i says the same in every language.
"""

from __future__ import annotations

import random

from datasets import Features, List, Value

from examples.toyworld.grammar import say
from examples.toyworld.meanings import OPTIONAL, Clause, draw_clause
from examples.toyworld.pairs import MNLI, Inference, inference
from examples.toyworld.passages import Passage, passage, render
from examples.toyworld.tasks import NLI, TEXT, Row, flips, inference_texts

XNLI = Features({"premise": TEXT, "hypothesis": TEXT, "label": NLI})
XQUAD = Features(
    {
        "id": TEXT,
        "context": TEXT,
        "question": TEXT,
        "answers": {"text": List(TEXT), "answer_start": List(Value("int32"))},
    }
)


def retrieval_meanings(seed: int, count: int) -> list[Clause]:
    """Distinct clauses of one to three optional slots; no two differ in the optional slots alone."""
    rng = random.Random(f"{seed}/tatoeba")
    found: dict[tuple, Clause] = {}
    while len(found) < count:
        clause = draw_clause(rng, rng.sample(OPTIONAL, rng.randint(1, 3)))
        found.setdefault((clause.subj, clause.verb, clause.obj), clause)
    return list(found.values())


def sentences(clauses: list[Clause], lang: str) -> list[str]:
    return [say(clause, lang) for clause in clauses]


def xnli_meanings(seed: int, count: int) -> list[tuple[Inference, list[bool]]]:
    rng = random.Random(f"{seed}/xnli")
    out = []
    for _ in range(count):
        item = inference(rng, MNLI)
        out.append((item, flips(rng, len(item.facts) + 1)))
    return out


def xnli(meanings: list[tuple[Inference, list[bool]]], lang: str) -> list[Row]:
    rows: list[Row] = []
    for item, fronts in meanings:
        premise, hypothesis = inference_texts(item, lang, fronts)
        rows.append({"premise": premise, "hypothesis": hypothesis, "label": item.label})
    return rows


def xquad_meanings(seed: int, count: int) -> list[tuple[Passage, list[bool]]]:
    rng = random.Random(f"{seed}/xquad")
    out = []
    for _ in range(count):
        p = passage(rng)
        out.append((p, flips(rng, len(p.facts))))
    return out


def xquad(meanings: list[tuple[Passage, list[bool]]], lang: str) -> list[Row]:
    rows: list[Row] = []
    for i, (p, fronts) in enumerate(meanings):
        context, question, answer, start = render(p, lang, fronts)
        rows.append(
            {
                "id": f"toy-{i:04d}",
                "context": context,
                "question": question,
                "answers": {"text": [answer], "answer_start": [start]},
            }
        )
    return rows
