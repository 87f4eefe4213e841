"""The nine English tasks: meanings -> rows in the columns and types of the Hub's datasets.

Sizes differ between tasks as they do in the real mixture. Dev rows are drawn first and kept out of train; for
CommonsenseQA whole facts are held out too, so that half of dev asks for knowledge that only the raw text holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from datasets import ClassLabel, Features, List, Value

from examples.toyworld import commonsense, english
from examples.toyworld.grammar import say
from examples.toyworld.meanings import OPTIONAL, Clause, draw_clause
from examples.toyworld.pairs import ANLI, MNLI, NLI_LABELS, SNLI, Inference, Style, askable, inference, paraphrase
from examples.toyworld.passages import passage, render

Row = dict[str, Any]
TEXT = Value("string")
NLI = ClassLabel(names=list(NLI_LABELS))
SQUAD = Features(
    {
        "id": TEXT,
        "title": TEXT,
        "context": TEXT,
        "question": TEXT,
        "answers": {"text": List(TEXT), "answer_start": List(Value("int32"))},
    }
)

# Hub folder, features, {split: rows at scale 1}.
MNLI_SPLITS = {"train": 10000, "validation_matched": 600, "validation_mismatched": 600}
SIZES = {
    "nyu-mll/glue/mnli": MNLI_SPLITS,
    "stanfordnlp/snli/plain_text": {"train": 8000, "validation": 600},
    "facebook/anli/plain_text": {
        "train_r1": 2000,
        "dev_r1": 300,
        "train_r2": 2000,
        "dev_r2": 300,
        "train_r3": 2000,
        "dev_r3": 300,
    },
    "nyu-mll/glue/qqp": {"train": 10000, "validation": 600},
    "rajpurkar/squad/plain_text": {"train": 8000, "validation": 600},
    "rajpurkar/squad_v2/squad_v2": {"train": 9000, "validation": 600},
    "Rowan/hellaswag/default": {"train": 6000, "validation": 600},
    "allenai/cosmos_qa/default": {"train": 6000, "validation": 600},
    "tau/commonsense_qa/default": {"train": 4000, "validation": 600},
}
CCG_SIZES = {"train": 1500, "dev": 600}

FEATURES = {
    "nyu-mll/glue/mnli": Features({"premise": TEXT, "hypothesis": TEXT, "label": NLI, "idx": Value("int32")}),
    "stanfordnlp/snli/plain_text": Features({"premise": TEXT, "hypothesis": TEXT, "label": NLI}),
    "facebook/anli/plain_text": Features(
        {"uid": TEXT, "premise": TEXT, "hypothesis": TEXT, "label": NLI, "reason": TEXT}
    ),
    "nyu-mll/glue/qqp": Features(
        {
            "question1": TEXT,
            "question2": TEXT,
            "label": ClassLabel(names=["not_duplicate", "duplicate"]),
            "idx": Value("int32"),
        }
    ),
    "rajpurkar/squad/plain_text": SQUAD,
    "rajpurkar/squad_v2/squad_v2": SQUAD,
    "Rowan/hellaswag/default": Features(
        {
            "ind": Value("int32"),
            "activity_label": TEXT,
            "ctx_a": TEXT,
            "ctx_b": TEXT,
            "ctx": TEXT,
            "endings": List(TEXT),
            "source_id": TEXT,
            "split": TEXT,
            "split_type": TEXT,
            "label": TEXT,
        }
    ),
    "allenai/cosmos_qa/default": Features(
        {
            "id": TEXT,
            "context": TEXT,
            "question": TEXT,
            "answer0": TEXT,
            "answer1": TEXT,
            "answer2": TEXT,
            "answer3": TEXT,
            "label": Value("int32"),
        }
    ),
    "tau/commonsense_qa/default": Features(
        {
            "id": TEXT,
            "question": TEXT,
            "question_concept": TEXT,
            "choices": {"label": List(TEXT), "text": List(TEXT)},
            "answerKey": TEXT,
        }
    ),
}


def inference_texts(item: Inference, lang: str, fronts: list[bool]) -> tuple[str, str]:
    """Premise and hypothesis; fronts: for each fact, then the claim, whether the day stands first."""
    premise = " ".join(say(fact, lang, front=front) for fact, front in zip(item.facts, fronts[:-1], strict=True))
    return premise, say(item.claim, lang, front=fronts[-1])


def flips(rng: random.Random, count: int) -> list[bool]:
    return [rng.random() < 0.3 for _ in range(count)]


def _nli(rng: random.Random, style: Style) -> Row:
    item = inference(rng, style)
    premise, hypothesis = inference_texts(item, "en", flips(rng, len(item.facts) + 1))
    return {"premise": premise, "hypothesis": hypothesis, "label": item.label}


def _qqp(rng: random.Random) -> Row:
    first, second, label = paraphrase(rng)

    def texts() -> list[str]:
        return [
            say(q.clause, "en", q.ask, synonyms=rng.random() < 0.5, long_question=rng.random() < 0.5)
            for q in (first, second)
        ]

    pair = texts()
    while pair[0] == pair[1]:
        pair = texts()
        if first == second and say(first.clause, "en", first.ask, synonyms=True, long_question=True) == say(
            first.clause, "en", first.ask
        ):
            return _qqp(rng)  # it has no paraphrase
    return {"question1": pair[0], "question2": pair[1], "label": label}


def _squad(rng: random.Random, unanswerable: float) -> Row:
    p = passage(rng, answerable=rng.random() >= unanswerable)
    context, question, answer, start = render(p, "en", flips(rng, len(p.facts)))
    found = {"text": [answer], "answer_start": [start]} if p.answer else {"text": [], "answer_start": []}
    return {"title": "Toy_World", "context": context, "question": question, "answers": found}


def _hellaswag(rng: random.Random) -> Row:
    topic, scene, start, endings, label = commonsense.continuation(rng)
    return {
        "activity_label": topic.capitalize(),
        "ctx_a": scene,
        "ctx_b": start,
        "ctx": f"{scene} {start}",
        "endings": endings,
        "split_type": "indomain",
        "label": str(label),
    }


def _cosmos(rng: random.Random) -> Row:
    context, question, answers, label = commonsense.story(rng)
    return {"context": context, "question": question, "label": label} | {f"answer{i}": a for i, a in enumerate(answers)}


def held_out_facts() -> tuple[list, list]:
    """CommonsenseQA facts for train and those kept for dev: every seventh fact."""
    known = sorted(set(commonsense.facts()))
    return [f for i, f in enumerate(known) if i % 7], known[::7]


def _csqa(rng: random.Random, facts: list) -> Row:
    question, concept, choices, label = commonsense.commonsense(rng, rng.choice(facts))
    return {
        "question": question,
        "question_concept": concept,
        "answerKey": "ABCDE"[label],
        "choices": {"label": list("ABCDE"), "text": choices},
    }


def _generator(folder: str, split: str) -> Callable[[random.Random], Row]:
    if folder.endswith("mnli"):
        return lambda rng: _nli(rng, MNLI)
    if folder.startswith("stanfordnlp"):
        return lambda rng: _nli(rng, SNLI)
    if folder.startswith("facebook/anli"):
        return lambda rng: _nli(rng, ANLI[split[-2:]])
    if folder.endswith("qqp"):
        return _qqp
    if folder.startswith("rajpurkar"):
        return lambda rng: _squad(rng, 1 / 3 if "v2" in folder else 0.0)
    if folder.startswith("Rowan"):
        return _hellaswag
    if folder.startswith("allenai"):
        return _cosmos
    train, dev = held_out_facts()
    return lambda rng: _csqa(rng, train if split == "train" or rng.random() < 0.5 else dev)


def _finish(folder: str, split: str, i: int, row: Row) -> Row:
    """Add the columns that number the rows."""
    names = FEATURES[folder]
    for column, value in (
        ("idx", i),
        ("ind", i),
        ("id", f"toy-{split}-{i:06d}"),
        ("uid", f"toy-{split}-{i:06d}"),
        ("reason", ""),
        ("source_id", f"toyworld~{i}"),
        ("split", split),
    ):
        if column in names:
            row[column] = value
    return {column: row[column] for column in names}


def splits(folder: str, seed: int, scale: float) -> Iterator[tuple[str, list[Row]]]:
    """(split, rows) of one Hub folder; a row never occurs twice, in one split or in two."""
    seen: set[str] = set()
    for split, size in sorted(SIZES[folder].items(), key=lambda kv: "train" in kv[0]):  # dev first
        rng = random.Random(f"{seed}/{folder}/{split}")
        make = _generator(folder, split)
        rows: list[Row] = []
        while len(rows) < max(30, round(size * scale)):
            row = make(rng)
            if str(row) not in seen:
                seen.add(str(row))
                rows.append(_finish(folder, split, len(rows), dict(row)))
        yield split, rows


def ccg_sentence(rng: random.Random) -> list[english.Tagged]:
    """A statement or a question with its categories; wishes, states, negation and fronted days among them."""
    kind = rng.random()
    if kind < 0.12:
        clause = Clause(draw_clause(rng).subj, rng.choice(list(commonsense.c.DESIRES)), neg=rng.random() < 0.3)
        return english.tagged(clause)
    if kind < 0.2:
        return english.tagged(draw_clause(rng).put(verb="be", obj=None, place=rng.choice(list(commonsense.PLACES))))
    clause = draw_clause(rng, rng.sample(OPTIONAL, rng.randint(0, 3)))
    clause = clause.put(neg=rng.random() < 0.2, want=rng.random() < 0.25)
    ask = rng.choice(askable(clause)) if rng.random() < 0.35 and not clause.neg else None
    return english.tagged(
        clause, ask, front=rng.random() < 0.3, synonyms=rng.random() < 0.3, long_question=rng.random() < 0.3
    )


def ccg(seed: int, scale: float) -> Iterator[tuple[str, list[list[english.Tagged]]]]:
    """(split, tagged sentences): dev first, no sentence twice."""
    seen: set[str] = set()
    for split in ("dev", "train"):
        rng = random.Random(f"{seed}/ccg/{split}")
        rows: list[list[english.Tagged]] = []
        while len(rows) < max(30, round(CCG_SIZES[split] * scale)):
            sentence = ccg_sentence(rng)
            text = " ".join(word.text for word in sentence)
            if text not in seen:
                seen.add(text)
                rows.append(sentence)
        yield split, rows
