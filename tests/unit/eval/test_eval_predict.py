"""Predictions of every kind of head against transformers' own models, one example at a time, without padding."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.examples import Choice, Classify, Example, Span, Tag
from eval.export import export
from eval.inference.encoder import Subject
from eval.inference.predict import _scores, predict
from tests.support.eval_run import HEADS, make_run
from tests.support.tiny_tokenizer import LINES

WORDS = " ".join(LINES).split()
TASKS = {"classify": "mnli", "span": "squad_v1", "tag": "ccg", "choice": "hellaswag"}


def text(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def example(kind: str, rng: random.Random, longest: int = 40) -> Example:
    if kind == "classify":
        return Classify("", text(rng, 1, longest), text(rng, 1, longest) if rng.random() < 0.8 else None, 0)
    if kind == "choice":
        choices = tuple(text(rng, 1, longest // 4 + 1) for _ in range(rng.randint(2, 5)))
        return Choice("", text(rng, 1, longest), choices, 0)
    if kind == "tag":
        words = tuple(text(rng, 1, longest).split())
        return Tag("", words, ("N",) * len(words))
    context = text(rng, 1, 3 * longest)
    return Span("", text(rng, 1, 20), context, ((context.split()[0], 0),))


def examples(kind: str, count: int, seed: int = 0) -> list[Example]:
    rng = random.Random(f"{kind} {seed}")
    return [example(kind, rng) for _ in range(count)]


@pytest.fixture(scope="module")
def subject(tmp_path_factory, tiny_tokenizer_dir: Path) -> Subject:
    return Subject(str(make_run(tmp_path_factory.mktemp("run"), tiny_tokenizer_dir)), torch.device("cpu"))


@pytest.fixture(scope="module")
def model_of(subject: Subject, tmp_path_factory):
    """(transformers' model with a head of ours, its tokenizer) by task."""
    root = tmp_path_factory.mktemp("exports")
    made: dict[str, Any] = {}

    def find(task: str) -> Any:
        if task not in made:
            name = export(subject.spec, task, root / task)
            model = getattr(transformers, name).from_pretrained(root / task).eval()
            made[task] = model, transformers.AutoTokenizer.from_pretrained(root / task)
        return made[task]

    return find


def ours(subject: Subject, task: str, some: list[Example], **more: Any) -> list[Any]:
    found = predict(subject.encoder, subject.tokenizer, subject.heads[task], some, **more)
    assert sorted(found) == list(range(len(some)))
    return [found[index] for index in range(len(some))]


@torch.no_grad()
def logits(model: Any, ids: list[int]) -> Any:
    return model(input_ids=torch.tensor([ids]))


def test_labels(subject: Subject, model_of: Any) -> None:
    model, tokenizer = model_of("mnli")
    some = examples("classify", 25)
    assert any(len(tokenizer(e.text_a, e.text_b)["input_ids"]) > HEADS["mnli"][2] for e in some)
    expected = []
    for e in some:
        encoded = tokenizer(e.text_a, e.text_b, truncation="longest_first", max_length=HEADS["mnli"][2])
        expected.append(model.config.id2label[int(logits(model, encoded["input_ids"]).logits[0].argmax())])
    assert len(set(expected)) > 1
    done: list[int] = []
    truncated: Counter[str] = Counter()
    found = ours(subject, "mnli", some, micro_tokens=300, truncated=truncated, progress=done.append)
    assert found == expected and sum(done) == len(some)
    assert truncated == {"text": sum(len(tokenizer(e.text_a, e.text_b)["input_ids"]) > HEADS["mnli"][2] for e in some)}


def test_choices(subject: Subject, model_of: Any) -> None:
    model, tokenizer = model_of("hellaswag")
    tokenizer.truncation_side = "left"
    some = examples("choice", 25)
    expected = []
    for e in some:
        scores = []
        for choice in e.choices:
            ids = tokenizer(e.prompt, choice, truncation="only_first", max_length=HEADS["hellaswag"][2])["input_ids"]
            with torch.no_grad():
                scores.append(float(model(input_ids=torch.tensor([[ids]])).logits))
        expected.append(int(np.argmax(scores)))
    assert len(set(expected)) > 1
    assert ours(subject, "hellaswag", some, micro_tokens=300) == expected


def test_tags_of_words(subject: Subject, model_of: Any) -> None:
    """A word has the label of its first piece; sentences over the length are cut between words, as few as possible."""
    model, tokenizer = model_of("ccg")
    limit = HEADS["ccg"][2]
    some = [*examples("tag", 20), Tag("", ("🙂",), ("N",)), Tag("", ("a" * 100, "dog"), ("N", "N"))]
    expected, parts = [], 0
    for e in some:
        tags: list[str] = []
        words = list(e.words)
        while words:
            # As many words as fit; a single one that does not is cut.
            fits = [n for n in range(1, len(words) + 1) if len(encoded(tokenizer, words[:n])["input_ids"]) <= limit]
            count = max(fits, default=1)
            batch = encoded(tokenizer, words[:count], truncation=True, max_length=limit)
            numbers = logits(model, batch["input_ids"]).logits[0].argmax(-1)
            first = [batch.word_ids().index(word) for word in range(count)]
            tags += [model.config.id2label[int(numbers[place])] for place in first]
            words = words[count:]
            parts += 1
        expected.append(tags)
    assert parts > len(some) + 10 and len({tag for tags in expected for tag in tags}) > 1
    found = ours(subject, "ccg", some, micro_tokens=100)
    assert found == expected and [len(tags) for tags in found] == [len(e.words) for e in some]


def encoded(tokenizer: Any, words: list[str], **more: Any) -> Any:
    return tokenizer(words, is_split_into_words=True, **more)


def test_answers(subject: Subject, model_of: Any) -> None:
    """Windows as transformers' example makes them (stride, overflow); the best pair of all by brute force."""
    model, tokenizer = model_of("squad_v1")
    limit = HEADS["squad_v1"][2]
    some = examples("span", 15)
    expected, most, cut = [], 0, 0
    for e in some:
        assert isinstance(e, Span)
        ids = tokenizer(e.question, add_special_tokens=False, return_offsets_mapping=True)
        count = min(64, (limit - 4) // 2, len(ids["input_ids"]))
        question = e.question[: ids["offset_mapping"][count - 1][1]]
        assert tokenizer(question, add_special_tokens=False)["input_ids"] == ids["input_ids"][:count]
        cut += question != e.question
        room = limit - 4 - count
        batch = tokenizer(
            question, e.context, truncation="only_second", max_length=limit, stride=min(128, room // 3),
            return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        best, answer = -np.inf, ""
        for ids, offsets, number in zip(batch["input_ids"], batch["offset_mapping"], range(10**6), strict=False):
            out = logits(model, ids)
            start, end = out.start_logits[0].numpy(), out.end_logits[0].numpy()
            inside = [i for i, s in enumerate(batch.sequence_ids(number)) if s == 1 and offsets[i][0] < offsets[i][1]]
            firsts, lasts = (sorted(inside, key=lambda i, s=s: -s[i])[:20] for s in (start, end))
            for i in firsts:
                for j in lasts:
                    if i <= j < i + 30 and start[i] + end[j] > best:
                        best, answer = start[i] + end[j], e.context[offsets[i][0] : offsets[j][1]]
        most = max(most, len(batch["input_ids"]))
        expected.append(answer)
    assert most > 3 and cut and all(expected)
    truncated: Counter[str] = Counter()
    assert ours(subject, "squad_v1", some, micro_tokens=500, truncated=truncated) == expected
    assert truncated["question"] == cut


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(sorted(TASKS)), st.integers(1, 30), st.integers(13, 400), st.integers(1, 5), st.integers(0, 99))
def test_shares_are_the_whole(
    subject: Subject, kind: str, count: int, micro_tokens: int, shares: int, seed: int
) -> None:
    """Every example in exactly one share, with the same prediction and the same scores to the bit."""
    head, some = subject.heads[TASKS[kind]], examples(kind, count, seed)

    def run(share: tuple[int, int]) -> dict[int, Any]:
        return predict(subject.encoder, subject.tokenizer, head, some, share=share, micro_tokens=micro_tokens)

    whole = run((0, 1))
    parts = [run((number, shares)) for number in range(shares)]
    assert sum(map(len, parts)) == count == len(whole)
    assert {index: said for part in parts for index, said in part.items()} == whole


@pytest.mark.parametrize("kind", TASKS)
def test_scores_of_shares_are_those_of_one_process(subject: Subject, kind: str) -> None:
    from data_prep.encoding.encode import encode

    head, some = subject.heads[TASKS[kind]], examples(kind, 30)
    units: list[list[Any]] = [[] for _ in some]
    for row in encode(kind, subject.tokenizer, some, head.max_length, head.labels):
        units[row["example"]].append(row)

    def run(share: tuple[int, int]) -> dict[int, list[np.ndarray]]:
        scored = _scores(subject.encoder, subject.tokenizer, head, units, 200, share)
        return {index: [scores for _, scores in rows] for index, rows in scored}

    whole = run((0, 1))
    parts = [run((number, 3)) for number in range(3)]
    assert all(parts) and sorted(index for part in parts for index in part) == list(range(30))
    for part in parts:
        for index, rows in part.items():
            assert all(np.array_equal(a, b) for a, b in zip(rows, whole[index], strict=True))


@pytest.mark.parametrize("kind", TASKS)
def test_an_example_larger_than_a_pass(subject: Subject, kind: str) -> None:
    """Five choices, many windows: the parts of an example go through the encoder apart, and are judged together."""
    rng = random.Random(5)
    some = [example(kind, rng, longest=200) for _ in range(3)]
    assert ours(subject, TASKS[kind], some, micro_tokens=12) == ours(subject, TASKS[kind], some, micro_tokens=10**6)
