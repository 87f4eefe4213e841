"""Regression from a run config to plain transformers: trained on two ranks, evaluated, exported."""

import json
from pathlib import Path

import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from data_prep.encoding import tokenizer as tokenizers
from eval.export import export
from eval.inference.predict import predict
from mtl.model.encoder import load_encoder
from mtl.model.saved_heads import load_heads
from tasks.regress.data import Regress
from tests.support.launch import program
from tests.support.small import SHAPE, write_run, write_tasks

STEPS = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> Path:
    """The folder of a run. Dev rows are training rows: 60 are too few to generalise."""
    folder = tmp_path_factory.mktemp("regress")
    tasks = write_tasks(folder, kinds=("regress", "tag"))
    rows = (folder / "regress.train.jsonl").read_text().splitlines(keepends=True)
    (folder / "regress.dev.jsonl").write_text("".join(rows[:25]))
    # Wide weights tell sentences apart from the start.
    encoder = {"config": {**SHAPE, "initializer_range": 0.2}, "tokenizer": str(tiny_tokenizer_dir)}
    config = write_run(
        folder, tiny_tokenizer_dir, tasks=tasks, encoder=encoder, steps=STEPS, optimizer={"lr": 3e-3},
        evaluate={"every": STEPS, "examples": None}, checkpoint={"every": STEPS},
    )  # fmt: skip
    program("train.py", "--config", config, ranks=2)
    return folder / "runs" / "small"


def lines_of(run: Path, kind: str) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if (line["kind"], line["task"]) == (kind, "my_regress")]


def test_plain_transformers_gives_the_predictions_and_the_scores(run: Path, tmp_path: Path) -> None:
    assert export(str(run / "encoder_last"), "my_regress", tmp_path / "out") == "XLMRobertaForSequenceClassification"
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert (model.config.num_labels, model.config.problem_type) == (1, "regression")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    rows = [json.loads(line) for line in (run.parents[1] / "regress.dev.jsonl").read_text().splitlines()]
    texts, labels = [(row["text_a"], row["text_b"]) for row in rows], [row["label"] for row in rows]
    with torch.no_grad():
        out = model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt"), labels=torch.tensor(labels))
    predictions = out.logits[:, 0].tolist()

    head = load_heads(run / "heads_last")["my_regress"]
    examples = [Regress("", a, b, 0.0) for a, b in texts]
    found = predict(
        load_encoder(run / "encoder_last"), tokenizers.load(run / "encoder_last"), head, examples, micro_tokens=100
    )
    assert [found[index] for index in range(len(rows))] == pytest.approx(predictions, abs=1e-5)

    last = lines_of(run, "dev")[-1]
    assert (last["step"], last["examples"], last["majority"]) == (STEPS, len(rows), 0)
    assert last["score"] == last["pearson"] > 0.8
    assert all("accuracy" not in line for line in lines_of(run, "train"))  # nothing to be right or wrong about
    assert last["pearson"] == pytest.approx(pearsonr(predictions, labels).statistic, abs=1e-5)
    assert last["spearman"] == pytest.approx(spearmanr(predictions, labels).statistic)
    assert last["loss"] == pytest.approx(out.loss.item(), rel=1e-4)
