"""Predictions by a head equal those of the exported transformers model, one example at a time, without padding;

sentence vectors of every layer and pooling equal those of a plain padded transformers loop; `mlm-loss` is its own loss.
"""

import json
import random
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from data_prep.encoding import tokenizer as tokenizers
from eval import mlm_loss
from eval.__main__ import main
from eval.export import export
from eval.inference.encoder import EvaluatedEncoder
from eval.inference.predict import default_layer, embed_layers, predict
from mtl.data.packing import pack
from mtl.data.task_data import special_of
from mtl.model.encoder import load_config, load_encoder
from mtl.model.families import adapted
from mtl.run import setup
from tasks.base import Example
from tasks.classify.data import Classify
from tasks.encoding import Encoding
from tasks.mlm.data import Text
from tasks.registry import TASK_TYPES
from tasks.span import squad
from tasks.span.data import Span
from tasks.tag.data import Tag
from tests.support import masked_lm
from tests.support.eval_run import HEADS, error_line, make_run, padded_vectors
from tests.support.rows import hub_file, write
from tests.support.small import sentence, write_run, write_tasks
from tests.support.tiny_tokenizer import LINES

WORDS = " ".join(LINES).split()


def text(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def example(kind: str, rng: random.Random) -> Example:
    if kind == "classify":
        return Classify("", text(rng, 1, 40), text(rng, 1, 40) if rng.random() < 0.8 else None, 0)
    if kind == "tag":
        words = tuple(text(rng, 1, 40).split())
        return Tag("", words, ("N",) * len(words))
    context = text(rng, 1, 120)
    return Span("", text(rng, 1, 20), context, ((context.split()[0], 0),))


def examples(kind: str, count: int) -> list[Any]:
    rng = random.Random(f"{kind} 0")
    return [example(kind, rng) for _ in range(count)]


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


def test_answers_over_windows(subject: EvaluatedEncoder, folders: dict[str, Path]) -> None:
    """Windows as transformers' example makes them (stride, overflow); the best pair of their ends: test_metrics.py."""
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
        windows = []
        for number, (ids, offsets) in enumerate(zip(batch["input_ids"], batch["offset_mapping"], strict=True)):
            out = outputs(model, ids)
            inside = np.array([[one == 1] for one in batch.sequence_ids(number)])
            begin, end = np.where(inside, offsets, -1).T
            windows.append((out.start_logits[0].numpy(), out.end_logits[0].numpy(), begin, end))
        most = max(most, len(windows))
        expected.append(squad.best_answer(windows, n_best=20, max_answer_length=30).text(e.context))
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


# Vectors


TEXTS = [
    "the small dog runs to the old house near the river",
    "小さい犬が川の近くの古い家に走る",
    "a",
    "маленькая собака бежит к старому дому у реки и читает длинное письмо в саду каждое утро",
    "zzz qqq ẞ 🙂",
    "the old house",
]
POOLINGS = ["mean", "mean_no_special", "cls", "pooler"]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_equal_a_padded_loop(run: Path, pooling: str) -> None:
    """Each layer's vectors are those it has by itself, in the order asked for; no layer runs twice."""
    tokenizer, encoder = tokenizers.load(run), load_encoder(run)
    calls: Counter[int] = Counter()
    for number, block in enumerate(encoder.encoder.layer, 1):
        block.attention.self.register_forward_hook(lambda *_, number=number: calls.update([number]))
    layers, done = [3, 0, 4, 1, 2], []
    options: dict[str, Any] = {"pooling": pooling, "micro_tokens": 30}
    vectors = embed_layers(encoder, tokenizer, TEXTS, layers=layers, progress=done.append, **options)
    assert vectors.shape == (5, len(TEXTS), 32) and vectors.dtype == np.float32
    assert sum(done) == len(TEXTS) and len(done) > 1  # several batches, whose order must not show
    assert calls == {number: len(done) for number in (1, 2, 3, 4)}
    for layer, one in zip(layers, vectors, strict=True):
        expected = padded_vectors(run, TEXTS, layer, pooling)
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(one, expected, atol=1e-5)
        assert (one == embed_layers(encoder, tokenizer, TEXTS, [layer], **options)[0]).all()


@pytest.mark.gpu
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_gpu_gives_the_same_bits_each_time(run: Path, pooling: str) -> None:
    tokenizer, encoder = tokenizers.load(run), load_encoder(run).to("cuda")
    first, second = (embed_layers(encoder, tokenizer, TEXTS * 200, [3], pooling=pooling)[0] for _ in range(2))
    assert first.tobytes() == second.tobytes()
    np.testing.assert_allclose(first[: len(TEXTS)], padded_vectors(run, TEXTS, 3, pooling), atol=1e-3)


def test_long_texts_are_cut_and_counted(run: Path) -> None:
    tokenizer, encoder = tokenizers.load(run), load_encoder(run)
    for block in encoder.encoder.layer[2:]:  # those above the layer are not computed
        block.forward = None  # type: ignore[method-assign,assignment]  # would fail if it were called
    truncated: Counter[str] = Counter()
    vectors = embed_layers(encoder, tokenizer, TEXTS, [2], max_length=12, truncated=truncated)[0]
    np.testing.assert_allclose(vectors, padded_vectors(run, TEXTS, 2, max_length=12), atol=1e-5)
    lengths = [len(ids) for ids in tokenizer(TEXTS)["input_ids"]]
    assert truncated == {"text": sum(n > 12 for n in lengths)} and truncated["text"] > 0


def test_default_layer() -> None:
    """14 of XLM-R Large's 24 (Hu et al. 2020, XTREME), in proportion."""
    assert [default_layer(depth) for depth in (24, 12, 4, 2, 1)] == [14, 7, 2, 1, 1]


# `python -m eval mlm-loss`: transformers' own loss on the same masked rows, by language, with every kind of head


def texts(seed: int, count: int = 30) -> list[str]:
    rng = random.Random(seed)
    return [sentence(rng, 5, 40) for _ in range(count)]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Wikipedia in one language, and a text file of another."""
    rows = [{"id": str(i), "text": text} for i, text in enumerate(texts(1, 40))]
    write(hub_file(tmp_path / "wikimedia/wikipedia/20231101.sw", "train"), rows)
    write(tmp_path / "own.txt", "".join(f"{text}\n" for text in texts(2)))
    return tmp_path


def measured(world: Path, *encoders: Path, more: tuple[object, ...] = ()) -> list[dict]:
    named = [part for encoder in encoders for part in ("--encoder", encoder)]
    data = ["--data", world, "--languages", "sw", "--text", f"xx={world / 'own.txt'}", "--max-length", 30]
    assert main([str(part) for part in ["mlm-loss", *named, *data, "--out", world / "out", *more]]) == 0
    return json.loads((world / "out" / "mlm_loss.json").read_text())["encoders"]


def expected(folder: Path, lines: list[str], code: str) -> tuple[float, int]:
    """(mean loss, masked tokens) by transformers' own class, a row at a time."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    special = adapted(special_of(tokenizer), load_config(folder))
    rows = TASK_TYPES["mlm"].encode(tokenizer, [Text("", line) for line in lines], Encoding(30))
    fetch = partial(mlm_loss.masked, rows, special, code)
    batches = [pack([(0, np.arange(1), fetch(np.array([n])))], [("t", "mlm")], special) for n in range(len(rows))]
    total, count = masked_lm.loss(folder, batches, "t")
    return total / count, count


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_the_loss_of_transformers_by_language(world: Path, tiny_tokenizer_dir: Path, tied: bool) -> None:
    encoder = masked_lm.checkpoint(world / "one", tiny_tokenizer_dir, tie_word_embeddings=tied)
    (found,) = measured(world, encoder)
    for code, lines in (("sw", texts(1, 40)), ("xx", texts(2))):
        loss, count = expected(encoder, lines, code)
        assert found["languages"][code]["loss"] == pytest.approx(loss, rel=1e-5)
        assert found["languages"][code]["tokens"] == count > 50
    assert found["head"] == "its own"
    assert expected(encoder, texts(2), "sw")[0] != pytest.approx(expected(encoder, texts(2), "xx")[0])  # other masks
    (small,) = measured(world, encoder, more=("--micro-tokens", 40))  # the masks do not depend on what is in a batch
    assert small["languages"]["sw"] == pytest.approx(found["languages"]["sw"], rel=1e-5)


def test_an_encoder_without_lm_head(world: Path, tiny_tokenizer_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line; or the head of the encoder that it was trained from."""
    whole = masked_lm.checkpoint(world / "one", tiny_tokenizer_dir)
    bare = masked_lm.write(world / "bare", tiny_tokenizer_dir, transformers.AutoModel.from_pretrained(whole))
    before, after = measured(world, whole, bare, more=("--head", whole))
    assert after["languages"] == before["languages"] and after["head"] == f"that of {whole}"
    assert "one" in (table := capsys.readouterr().out) and "(+0.000)" in table and "mean" in table
    assert main(["mlm-loss", "--encoder", str(bare), "--text", f"xx={world / 'own.txt'}"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]  # after the bars of transformers
    assert last.startswith(f"error: --encoder {bare}: no LM head in it") and last.endswith("trained from")


def test_a_run_with_an_mlm_task_has_its_trained_head(world: Path, tiny_tokenizer_dir: Path) -> None:
    tasks = write_tasks(world, kinds=("classify", "mlm"))
    made = setup.read(str(write_run(world, tiny_tokenizer_dir, tasks=tasks)), [])
    masked_lm.export(made)
    (found,) = measured(world, made.run.folder / "encoder")
    export(str(made.run.folder / "encoder"), "my_mlm", world / "joined")
    assert found["languages"]["xx"]["loss"] == pytest.approx(expected(world / "joined", texts(2), "xx")[0], rel=1e-5)
    assert found["head"] == "trained as my_mlm"
    # One that was trained from it, without text.
    bare = shutil.copytree(made.run.folder / "encoder", world / "after" / "encoder")
    (after,) = measured(world, bare, more=("--head", made.run.folder / "encoder"))
    assert after["languages"] == found["languages"]
