"""configs/quick.json in its two commands, with the Hub on 127.0.0.1: the real samples, a small BERT as the encoder."""

import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BertConfig

from data_prep.datasets import REVISIONS
from tests.support.hub_server import Client, HubServer, Repo, repo_of
from tests.support.launch import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

ENCODER = "intfloat/multilingual-e5-small"
PROGRAM = """
import subprocess
done = subprocess.run({}, capture_output=True, text=True)
result = done.returncode, done.stderr
"""


def test_two_commands(shared: Path, tmp_path: Path) -> None:
    """All but Cosmos QA, whose files do not come from the Hub."""
    torch.manual_seed(0)
    # As published: rows beyond the tokenizer's, two token types, another padding id than the tokenizer's.
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = BertConfig(vocab_size=250_037, **shape, pad_token_id=0, type_vocab_size=2, max_position_embeddings=512)
    AutoModel.from_config(config).save_pretrained(tmp_path / "encoder")
    files = [*(tmp_path / "encoder").iterdir(), *(shared / "data/tokenizer/xlmr").iterdir()]
    repos = {ENCODER: Repo({path.name: path for path in files})}
    for folder in (path for space in (shared / "data/hub").iterdir() for path in space.iterdir()):
        name = f"{folder.parent.name}/{folder.name}"
        repos[name] = repo_of(folder, tmp_path / "readme" / name / "README.md", REVISIONS.get(name))
    tasks = ["anli_plus", "mnli", "qqp", "squad_v1", "squad_v2", "hellaswag", "commonsenseqa"]
    values = [f"data={tmp_path / 'data'}", f"output={tmp_path}", f"tasks={tasks}".replace("'", '"')]
    sets = [word for value in values for word in ("--set", value)]
    few = ["--set", "steps=2", "--set", "evaluate.examples=8", "--set", "deepspeed=zero2_cpu.json"]
    launcher = [str(Path(sys.executable).with_name("deepspeed")), "--num_gpus", "2", "--master_port", str(free_port())]
    with HubServer(repos) as server, Client(server, tmp_path / "home") as client:
        for command in (
            [sys.executable, "-m", "data_prep", "--config", "quick.json", *sets],
            [*launcher, "train.py", "--config", "quick.json", *sets, *few],
        ):
            (code, err), _, _ = client.run(PROGRAM.format(command))
            assert code == 0, err[-3000:]
    exported = AutoModel.from_pretrained(tmp_path / "quick" / "encoder")
    assert exported.config.model_type == "bert" and exported.config.vocab_size == 250_037
