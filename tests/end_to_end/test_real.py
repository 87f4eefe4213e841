"""Training on real rows of all nine tasks, with XLM-R's own tokenizer and small random encoders.

The first rows of each task are few enough that a random encoder can learn them in a minute. Scores: test_suites.py.
Needs ../shared; `make test-real` runs it and says so when it is missing.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel, BertConfig

from data_prep.datasets import REVISIONS
from tests.support.hub_server import HubServer, Repo, hub_environment, repo_of
from tests.support.launch import REPOSITORY, free_port
from tests.support.live import metrics

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

NINE = ["anli_plus", "mnli", "qqp", "squad_v1", "squad_v2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa"]
KEPT = 20  # training rows of each task that the small model learns
SHAPE = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
    "max_position_embeddings": 514,
}  # fmt: skip


@pytest.fixture(scope="module")
def few(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first `KEPT` training rows of each dataset, in the layout they came in, dev whole: hub/, and in rest/ CCG and
    Cosmos QA, whose files do not come from the Hub.
    """
    data, out = shared / "data", tmp_path_factory.mktemp("few")
    for source in (data / "hub").rglob("*.parquet"):
        if source.parts[-4:-2] in [("facebook", "xnli"), ("google", "xtreme")]:
            continue
        target = out / ("rest" if "cosmos_qa" in source.parts else "hub") / source.relative_to(data / "hub")
        target.parent.mkdir(parents=True, exist_ok=True)
        table = pq.read_table(source)
        pq.write_table(table[:KEPT] if source.name.startswith("train") else table, target)
    (out / "rest/ccg").mkdir()
    for split in ("train", "dev"):
        lines = (data / f"raw/ccg/jiant_layout/pmb.{split}.tsv").read_text().splitlines(keepends=True)
        (out / f"rest/ccg/pmb.{split}.tsv").write_text("".join(lines[:KEPT] if split == "train" else lines))
    return out


def test_two_commands_and_the_loss_falls_on_each_of_the_nine(shared: Path, few: Path, tmp_path: Path) -> None:
    """Of configs/quick.json, with the Hub on 127.0.0.1 and a small BERT as the encoder."""
    torch.manual_seed(0)
    # As published: rows beyond the tokenizer's, two token types, another padding id than the tokenizer's.
    shape = {**SHAPE, "vocab_size": 250_037, "pad_token_id": 0, "type_vocab_size": 2, "max_position_embeddings": 512}
    AutoModel.from_config(BertConfig(**shape)).save_pretrained(tmp_path / "encoder")
    files = [*(tmp_path / "encoder").iterdir(), *(shared / "data/tokenizer/xlmr").iterdir()]
    repos = {"intfloat/multilingual-e5-small": Repo({path.name: path for path in files})}
    for folder in (few / "hub").glob("*/*"):
        name = f"{folder.parent.name}/{folder.name}"
        repos[name] = repo_of(folder, tmp_path / "readme" / name / "README.md", REVISIONS.get(name))
    values = {
        "data": str(tmp_path / "data"), "output": str(tmp_path), "tasks": NINE, "batch": {"examples": 36},
        "micro_tokens": 4096, "steps": 160, "hidden_dropout_prob": 0.0, "log_every": 10,
        "mixture": {"kind": "uniform", "batches": "mixed"}, "optimizer": {"lr": 3e-3}, "deepspeed": "zero2_cpu.json",
        "evaluate": {"every": 80, "examples": 50}, "checkpoint": {"every": 80},
    }  # fmt: skip
    sets = [word for key, value in values.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    launcher = [str(Path(sys.executable).with_name("deepspeed")), "--num_gpus", "1", "--master_port", str(free_port())]
    with HubServer(repos) as server:
        environment = hub_environment(server, tmp_path / "home")
        for command in (
            [sys.executable, "-m", "data_prep", "--source", str(few / "rest"), "--source", "hub"],
            [*launcher, "train.py"],
        ):
            command += ["--config", "quick.json", *sets]
            done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-3000:]
    for task in NINE:
        losses = [line["loss"] for line in metrics(tmp_path / "quick", kind="train", task=task)]
        first, last = np.mean(losses[:2]), np.mean(losses[-2:])
        print(f"{task:<15} {first:>8.3f} -> {last:.3f}")
        assert last < 0.8 * first, task
    exported = AutoModel.from_pretrained(tmp_path / "quick" / "encoder")
    assert exported.config.model_type == "bert" and exported.config.vocab_size == 250_037
