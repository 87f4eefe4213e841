"""The whole road on real samples of all nine tasks, with XLM-R's own tokenizer and a small random XLM-R.

Prepares everything there is, then trains on the first rows of each task (few enough that a random encoder can learn
them in a minute): two ranks, ZeRO-2, killed and resumed, exported, loaded by plain transformers, Tatoeba scored.
Needs ../shared; `make test-real` runs it and says so when it is missing.
"""

import json
import sys
from collections import defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.launch import deepspeed, run, train_and_kill

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

NINE = ["anli_plus", "mnli", "qqp", "squad_v1", "squad_v2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa"]
KEPT = 20  # training rows of each task that the small model learns
SHAPE = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
    "max_position_embeddings": 514,
}  # fmt: skip


@pytest.fixture(scope="module")
def config(shared, tmp_path_factory):
    """A run config over all nine tasks."""
    folder = tmp_path_factory.mktemp("real")
    values = {
        "name": "nine", "output": str(folder / "runs"), "data": str(folder / "data"), "tasks": NINE,
        "encoder": {"config": SHAPE, "tokenizer": str(shared / "data/tokenizer/xlmr")},
        "max_length": 256, "batch": {"examples": 36}, "micro_tokens": 4096, "steps": 200, "hidden_dropout_prob": 0.0,
        "mixture": {"kind": "uniform", "batches": "mixed"}, "optimizer": {"lr": 3e-3}, "log_every": 10,
        "evaluate": {"every": 100, "examples": 50}, "checkpoint": {"every": 20}, "deepspeed": "zero2_cpu.json",
    }  # fmt: skip
    path = folder / "nine.json"
    path.write_text(json.dumps(values))
    return path


@pytest.fixture(scope="module")
def few(shared, tmp_path_factory):
    """The first `KEPT` training rows of each dataset, in the layout they came in; dev whole."""
    folder = tmp_path_factory.mktemp("few")
    for source in (shared / "data/hub").rglob("*.parquet"):
        if source.parts[-4:-2] in [("facebook", "xnli"), ("google", "xtreme")]:
            continue
        target = folder / source.relative_to(shared / "data/hub")
        target.parent.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(source)
        pq.write_table(table[:KEPT] if source.name.startswith("train") else table, target)
    (folder / "ccg").mkdir()
    for split in ("train", "dev"):
        lines = (shared / f"data/raw/ccg/jiant_layout/pmb.{split}.tsv").read_text().splitlines(keepends=True)
        (folder / f"ccg/pmb.{split}.tsv").write_text("".join(lines[:KEPT] if split == "train" else lines))
    return folder


def test_all_nine_are_prepared_from_everything_there_is(config, shared, tmp_path):
    done = run(sys.executable, "-m", "data_prep", "--config", config, "--source", shared / "data", "--out", tmp_path)
    print(done.stdout)
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines()[1:11]}
    assert set(rows) == {"mnli", "snli", "anli", *NINE[2:]}
    assert int(rows["snli"][2].replace(",", "")) == 18672
    assert int(rows["commonsenseqa"][2].replace(",", "")) == 9741
    again = run(sys.executable, "-m", "data_prep", "--config", config, "--source", shared / "data", "--out", tmp_path)
    assert again.stdout.count("reused") == 10


@pytest.fixture(scope="module")
def trained(config, few):
    """Two ranks, killed with -9 after the first checkpoint, and the same command again to the end."""
    run(sys.executable, "-m", "data_prep", "--config", config, "--source", few)
    folder = config.parent / "runs" / "nine"
    train_and_kill(config, folder, step=40, timeout=300)
    again = deepspeed(2, "train.py", "--config", config, timeout=600)
    assert "resuming" in again.stdout + again.stderr
    return folder


def test_the_loss_falls_on_each_of_the_nine(trained):
    losses = defaultdict(list)
    steps = []
    for line in map(json.loads, (trained / "metrics.jsonl").read_text().splitlines()):
        if line["kind"] == "train":
            losses[line["task"]].append(line["loss"])
            steps += [line["step"]] if line["task"] == "all" else []
    assert steps == list(range(10, 201, 10))  # once each, across the kill
    print("\ntask             first 20 steps   last 20 steps")
    for task in NINE:
        print(f"{task:<15} {np.mean(losses[task][:2]):>15.3f} {np.mean(losses[task][-2:]):>15.3f}")
    for task in NINE:
        assert np.mean(losses[task][-2:]) < 0.8 * np.mean(losses[task][:2]), task


def test_the_export_is_plain_transformers(trained):
    from transformers import AutoModel, AutoTokenizer

    encoder, info = AutoModel.from_pretrained(trained / "encoder", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(trained / "encoder")
    assert tokenizer("Hello World!").input_ids == [0, 35378, 6661, 38, 2]
    with torch.no_grad():
        out = encoder(**tokenizer(["Hello World!", "Hallo"], padding=True, return_tensors="pt"))
    assert out.last_hidden_state.shape == (2, 5, 64)
    assert torch.isfinite(out.last_hidden_state).all()


def test_tatoeba_in_more_than_thirty_languages(trained, shared, tmp_path):
    done = run(sys.executable, "-m", "eval", "--encoder", trained / "encoder", "--suite", "tatoeba", "--data",
               shared / "data", "--out", tmp_path, timeout=600)  # fmt: skip
    print(done.stdout[-3000:])
    target = json.loads((tmp_path / "scores.json").read_text())["targets"]["tatoeba"]
    assert len(target["languages"]) >= 30
    assert target["metric"] == "accuracy"
    assert 0 <= target["score"] <= 100
    assert (tmp_path / "report.md").exists()
    assert (tmp_path / "report.html").exists()
