"""Predictions by a head equal those of the exported transformers model, one example at a time, without padding."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from eval.__main__ import main
from eval.inference.encoder import EvaluatedEncoder
from eval.inference.predict import predict
from tasks.base import Example
from tasks.classify.data import Classify
from tasks.span.data import Span
from tasks.tag.data import Tag
from tests.support.eval_run import HEADS, error_line, make_run
from tests.support.tiny_tokenizer import LINES

WORDS = " ".join(LINES).split()


def text(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def example(kind: str, rng: random.Random, longest: int) -> Example:
    if kind == "classify":
        return Classify("", text(rng, 1, longest), text(rng, 1, longest) if rng.random() < 0.8 else None, 0)
    if kind == "tag":
        words = tuple(text(rng, 1, longest).split())
        return Tag("", words, ("N",) * len(words))
    context = text(rng, 1, 3 * longest)
    return Span("", text(rng, 1, 20), context, ((context.split()[0], 0),))


def examples(kind: str, count: int, longest: int = 40) -> list[Any]:
    rng = random.Random(f"{kind} 0")
    return [example(kind, rng, longest) for _ in range(count)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> Path:
    return make_run(tmp_path_factory.mktemp("run"), tiny_tokenizer_dir)


@pytest.fixture(scope="module")
def subject(run: Path) -> EvaluatedEncoder:
    return EvaluatedEncoder(str(run), torch.device("cpu"))


@pytest.fixture(scope="module")
def folders(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By task, the folder that `python -m eval export` writes."""
    root = tmp_path_factory.mktemp("exports")
    for task in HEADS:
        assert main(["export", "--encoder", str(run), "--task", task, "--out", str(root / task)]) == 0
    return {task: root / task for task in HEADS}


def exported(folder: Path) -> Any:
    """(transformers' model, its tokenizer)."""
    (name,) = transformers.AutoConfig.from_pretrained(folder).architectures
    model = getattr(transformers, name).from_pretrained(folder).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def ours(subject: EvaluatedEncoder, task: str, some: list[Any], **more: Any) -> list[Any]:
    found = predict(subject.model, subject.tokenizer, subject.heads[task], some, **more)
    assert sorted(found) == list(range(len(some)))
    return [found[index] for index in range(len(some))]


@torch.no_grad()
def outputs(model: Any, ids: list[Any]) -> Any:
    return model(input_ids=torch.tensor([ids]))


def test_labels(subject: EvaluatedEncoder, folders: dict[str, Path]) -> None:
    """Those of transformers' own pipeline on the exported folder."""
    pipeline = transformers.pipeline("text-classification", model=str(folders["mnli"]), device="cpu")
    some, tokenizer, limit = examples("classify", 25), pipeline.tokenizer, HEADS["mnli"][2]
    expected = [
        pipeline({"text": e.text_a, "text_pair": e.text_b}, truncation="longest_first", max_length=limit)["label"]
        for e in some
    ]
    done: list[int] = []
    truncated: Counter[str] = Counter()
    assert ours(subject, "mnli", some, micro_tokens=300, truncated=truncated, progress=done.append) == expected
    assert len(set(expected)) > 1 and sum(done) == len(some) and pipeline.model.config.label2id["entailment"] == 1
    long = sum(len(tokenizer(e.text_a, e.text_b)["input_ids"]) > limit for e in some)
    assert truncated == {"text": long} and long > 0


def test_tags_of_words(subject: EvaluatedEncoder, folders: dict[str, Path]) -> None:
    """A word has the label of its first piece; sentences over the length are cut between words, as few as possible."""
    model, tokenizer = exported(folders["ccg"])
    limit = HEADS["ccg"][2]
    some = [*examples("tag", 20), Tag("", ("🙂",), ("N",)), Tag("", ("a" * 100, "dog"), ("N", "N"))]
    expected, parts = [], 0
    for e in some:
        tags: list[str] = []
        words = list(e.words)
        while words:
            # As many words as fit; a single one that does not is cut.
            sizes = [len(tokenizer(words[:n], is_split_into_words=True)["input_ids"]) for n in range(1, len(words) + 1)]
            count = max(1, sum(size <= limit for size in sizes))
            batch = tokenizer(words[:count], is_split_into_words=True, truncation=True, max_length=limit)
            numbers = outputs(model, batch["input_ids"]).logits[0].argmax(-1)
            tags += [model.config.id2label[int(numbers[batch.word_ids().index(word)])] for word in range(count)]
            words = words[count:]
            parts += 1
        expected.append(tags)
    assert parts > len(some) + 10 and len({tag for tags in expected for tag in tags}) > 1
    assert ours(subject, "ccg", some, micro_tokens=100) == expected


def test_answers_over_windows_equal_brute_force(subject: EvaluatedEncoder, folders: dict[str, Path]) -> None:
    """Windows as transformers' example makes them (stride, overflow); the best pair of the 20 best ends of each."""
    model, tokenizer = exported(folders["squad_v1"])
    limit = HEADS["squad_v1"][2]
    some, expected, most, cut = examples("span", 15), [], 0, 0
    for e in some:
        ids = tokenizer(e.question, add_special_tokens=False, return_offsets_mapping=True)
        count = min(64, (limit - 4) // 2, len(ids["input_ids"]))
        question = e.question[: ids["offset_mapping"][count - 1][1]]
        assert tokenizer(question, add_special_tokens=False)["input_ids"] == ids["input_ids"][:count]
        cut += question != e.question
        batch = tokenizer(
            question, e.context, truncation="only_second", max_length=limit,
            stride=min(128, (limit - 4 - count) // 3), return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        best, answer = -np.inf, ""
        for number, (ids, offsets) in enumerate(zip(batch["input_ids"], batch["offset_mapping"], strict=True)):
            out = outputs(model, ids)
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


def test_export_refuses_in_one_line(run: Path, folders: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    command = ("export", "--encoder", run)
    line = error_line(capsys, *command, "--task", "qqp", "--out", tmp_path / "new")
    assert "no such head" in line and "ccg, hellaswag, mnli, squad_v1" in line
    line = error_line(capsys, *command, "--task", "mnli", "--out", folders["ccg"])
    assert "not an empty folder" in line and not list(tmp_path.iterdir())
