"""Regression from a run config to plain transformers: trained on one and two ranks, evaluated, exported."""

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

STEPS, EARLY = 60, 15


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> dict[int, Path]:
    """Run folders of the same steps by number of ranks. Dev rows are training rows: 60 are too few to generalise."""
    folder = tmp_path_factory.mktemp("regress")
    tasks = write_tasks(folder, kinds=("regress", "tag"))
    rows = (folder / "regress.train.jsonl").read_text().splitlines(keepends=True)
    (folder / "regress.dev.jsonl").write_text("".join(rows[:25]))
    # Wide weights tell sentences apart from the start.
    encoder = {"config": {**SHAPE, "initializer_range": 0.2}, "tokenizer": str(tiny_tokenizer_dir)}
    config = write_run(
        folder, tiny_tokenizer_dir, tasks=tasks, encoder=encoder, steps=STEPS, optimizer={"lr": 3e-3},
        evaluate={"every": EARLY, "examples": None}, checkpoint={"every": STEPS},
    )  # fmt: skip
    for ranks in (1, 2):
        program("train.py", "--config", config, "--set", f"name=ranks{ranks}", ranks=ranks)
    return {ranks: folder / "runs" / f"ranks{ranks}" for ranks in (1, 2)}


def lines_of(run: Path, kind: str, task: str = "my_regress") -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if (line["kind"], line["task"]) == (kind, task)]


def test_training_does_not_depend_on_the_number_of_ranks(runs: dict[int, Path]) -> None:
    """Over the first steps; after that float32's rounding has grown."""
    for kind in ("train", "dev"):
        one, two = ([x for x in lines_of(runs[ranks], kind) if x["step"] <= EARLY] for ranks in (1, 2))
        assert len(one) == len(two) > 0
        for a, b in zip(one, two, strict=True):
            assert a.keys() == b.keys()
            values = [[line[key] for key in line if key not in ("kind", "task")] for line in (a, b)]
            assert values[0] == pytest.approx(values[1], rel=1e-3, abs=1e-3)
    assert all("accuracy" not in line for line in lines_of(runs[2], "train"))  # nothing to be right or wrong about
    assert all("accuracy" in line for line in lines_of(runs[2], "train", "my_tag"))
    for run in runs.values():
        last = lines_of(run, "dev")[-1]
        assert last["score"] == last["pearson"] > 0.8 and last["majority"] == 0


def test_plain_transformers_gives_the_predictions_and_the_scores(runs: dict[int, Path], tmp_path: Path) -> None:
    run = runs[2]
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
    assert (last["step"], last["examples"]) == (STEPS, len(rows))
    assert last["pearson"] == pytest.approx(pearsonr(predictions, labels).statistic, abs=1e-5)
    assert last["spearman"] == pytest.approx(spearmanr(predictions, labels).statistic)
    assert last["loss"] == pytest.approx(out.loss.item(), rel=1e-4)
