"""Prediction by an intermediate head, and the exported folders, against stock transformers on padded batches."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from common.errors import InputError
from data_prep.encoding.encode import encode_choice, encode_classify, encode_span, encode_tag
from data_prep.examples import Choice, Classify, Span, Tag
from eval.export import export
from eval.inference.embed import batches
from eval.inference.encoder import Subject
from eval.inference.predict import predict
from mtl.model.encoder import encode
from tasks.span.squad import squad_scores
from tests.support.eval_run import HEADS, make_run

PAIRS = [
    ("the small dog runs to the old house", "a dog runs"),
    ("小さい犬が川の近くの古い家に走る", "der kleine Hund"),
    ("a", "маленькая собака бежит к старому дому у реки"),
    ("a teacher reads a long letter in the garden every morning", "a teacher reads"),
    ("stone bread music", "music bread stone window winter"),
]
CONTEXT = "the small dog runs to the old house near the river. a teacher reads a long letter in the garden. " * 3


@pytest.fixture(scope="module")
def subject(tmp_path_factory, tiny_tokenizer_dir: Path) -> Subject:
    return Subject(str(make_run(tmp_path_factory.mktemp("run"), tiny_tokenizer_dir)), torch.device("cpu"))


@pytest.fixture(scope="module")
def folders(subject: Subject, tmp_path_factory) -> dict[str, Path]:
    """Every head exported with the encoder, by task."""
    root = tmp_path_factory.mktemp("exports")
    classes = {task: export(subject.spec, task, root / task) for task in HEADS}
    assert classes == {
        "mnli": "XLMRobertaForSequenceClassification",
        "squad_v1": "XLMRobertaForQuestionAnswering",
        "ccg": "XLMRobertaForTokenClassification",
        "hellaswag": "XLMRobertaForMultipleChoice",
    }
    return {task: root / task for task in HEADS}


@torch.no_grad()
def our_logits(subject: Subject, task: str, rows: list[dict]) -> list[np.ndarray]:
    """The head's scores on packed rows of one sequence each: [tokens, n] (or [n] for the first token)."""
    head = subject.heads[task]
    out: list[np.ndarray] = [np.empty(0)] * len(rows)
    for group, batch in batches(subject.encoder, subject.tokenizer, rows, 60):
        hidden = encode(subject.encoder, batch)
        for row, piece in zip(group, torch.split(hidden, list(batch.seq_lengths)), strict=True):
            first = head.kind in ("classify", "choice")
            out[row] = head.module(piece[:1] if first else piece, subject.encoder).numpy()
    return out


def padded(folder: Path, *texts: list[str], **more: object) -> transformers.BatchEncoding:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return tokenizer(*texts, padding=True, truncation=True, return_tensors="pt", **more)


@torch.no_grad()
def test_classification_folder_pipeline_and_predictions(subject: Subject, folders: dict[str, Path]) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folders["mnli"]).eval()
    a, b = [list(texts) for texts in zip(*PAIRS, strict=True)]
    logits = model(**padded(folders["mnli"], a, b)).logits.numpy()
    examples = [Classify("", x, y, 0) for x, y in PAIRS]
    ours = our_logits(subject, "mnli", encode_classify(subject.tokenizer, examples, 128))
    np.testing.assert_allclose(np.concatenate(ours), logits, atol=1e-5)

    assert model.config.id2label == dict(enumerate(HEADS["mnli"][1] or ()))
    assert model.config.label2id["entailment"] == 1
    names = [model.config.id2label[int(i)] for i in logits.argmax(-1)]
    assert len(set(names)) > 1
    pipeline = transformers.pipeline("text-classification", model=str(folders["mnli"]), device="cpu")
    assert [pipeline({"text": x, "text_pair": y})["label"] for x, y in PAIRS] == names

    found = predict(subject.encoder, subject.tokenizer, subject.heads["mnli"], examples, micro_tokens=40)
    assert [found[i] for i in range(len(examples))] == names


@torch.no_grad()
def test_question_answering_folder(subject: Subject, folders: dict[str, Path]) -> None:
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folders["squad_v1"]).eval()
    question, context = "a teacher reads", "the small dog runs to the old house near the river"
    out = model(**padded(folders["squad_v1"], [question], [context]))
    rows = encode_span(subject.tokenizer, [Span("", question, context, ())], 96)
    assert len(rows) == 1
    (ours,) = our_logits(subject, "squad_v1", rows)
    np.testing.assert_allclose(ours, torch.stack([out.start_logits[0], out.end_logits[0]], -1).numpy(), atol=1e-5)

    if "question-answering" in transformers.pipelines.SUPPORTED_TASKS:  # transformers 5 has removed it
        pipeline = transformers.pipeline("question-answering", model=str(folders["squad_v1"]), device="cpu")
        answer = pipeline(question=question, context=context, max_answer_len=30)
        assert context[answer["start"] : answer["end"]].strip() == answer["answer"].strip() != ""


@torch.no_grad()
def test_tagging_folder_and_pipeline(subject: Subject, folders: dict[str, Path]) -> None:
    words = ["the", "small", "dog", "runs", "to", "the", "old", "house"]
    batch = padded(folders["ccg"], [words], is_split_into_words=True)
    model = transformers.AutoModelForTokenClassification.from_pretrained(folders["ccg"]).eval()
    rows = encode_tag(subject.tokenizer, [Tag("", tuple(words), ("N",) * len(words))], 32, HEADS["ccg"][1] or ())
    assert rows[0]["input_ids"].tolist() == batch["input_ids"][0].tolist()
    logits = model(**batch).logits[0]
    np.testing.assert_allclose(our_logits(subject, "ccg", rows)[0], logits.numpy(), atol=1e-5)

    pipeline = transformers.pipeline("token-classification", model=str(folders["ccg"]), device="cpu", ignore_labels=[])
    entities = pipeline(" ".join(words))
    inner = [model.config.id2label[int(i)] for i in logits.argmax(-1)][1:-1]
    assert [entity["entity"] for entity in entities] == inner


@torch.no_grad()
def test_multiple_choice_folder(subject: Subject, folders: dict[str, Path]) -> None:
    prompt, choices = "a teacher reads a long letter", ("in the garden", "stone bread music", "never")
    batch = padded(folders["hellaswag"], [prompt] * 3, list(choices))
    model = transformers.AutoModelForMultipleChoice.from_pretrained(folders["hellaswag"]).eval()
    logits = model(**{key: value[None] for key, value in batch.items()}).logits[0]
    (row,) = encode_choice(subject.tokenizer, [Choice("", prompt, choices, 0)], 64)
    pieces = np.split(row["input_ids"], np.cumsum(row["lengths"])[:-1])
    rows = [{"input_ids": piece, "length": len(piece)} for piece in pieces]
    np.testing.assert_allclose(np.concatenate(our_logits(subject, "hellaswag", rows)), logits.numpy(), atol=1e-5)


@torch.no_grad()
def test_answers_over_windows_equal_brute_force(subject: Subject, folders: dict[str, Path]) -> None:
    """Every pair of context tokens of every window, with stock transformers, one window at a time."""
    questions = ["a teacher reads", "der kleine Hund", "小さい犬が"]
    examples = [
        Span(str(i), question, CONTEXT, (("dog", CONTEXT.index("dog")),)) for i, question in enumerate(questions)
    ]
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(folders["squad_v1"]).eval()
    expected = []
    rows = encode_span(subject.tokenizer, examples, 96)
    assert Counter(row["example"] for row in rows)[0] > 2
    for index in range(len(examples)):
        best, text = -np.inf, ""
        for row in (row for row in rows if row["example"] == index):
            out = model(input_ids=torch.as_tensor(row["input_ids"])[None].long())
            start, end = out.start_logits[0].numpy(), out.end_logits[0].numpy()
            inside = np.flatnonzero((row["offset_start"] >= 0) & (row["offset_end"] > row["offset_start"]))
            begins, stops = (set(sorted(inside, key=lambda t, s=s: -s[t])[:20]) for s in (start, end))
            for s in begins:
                for e in stops:
                    if s <= e < s + 30 and start[s] + end[e] > best:
                        best = start[s] + end[e]
                        text = CONTEXT[row["offset_start"][s] : row["offset_end"][e]]
        expected.append(text)
    done: list[int] = []
    head = subject.heads["squad_v1"]
    found = predict(subject.encoder, subject.tokenizer, head, examples, micro_tokens=200, progress=done.append)
    answers = [found[index] for index in range(len(examples))]
    assert answers == expected and all(answers)
    assert sum(done) == len(examples)
    assert [squad_scores(a, ["dog"])[0] for a in answers] == [float(a.strip(" .") == "dog") for a in answers]


def test_export_refuses_in_one_line(subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such head .*ccg, hellaswag, mnli, squad_v1"):
        export(subject.spec, "qqp", tmp_path / "new")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InputError, match="not an empty folder"):
        export(subject.spec, "mnli", tmp_path / "full")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
