"""A Hub id is taken in whichever format its weights are, no second copy of them is fetched, and they are hashed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from common.run_config import REPOSITORY
from tests.support import masked_lm
from tests.support.eval_run import scores_in
from tests.support.hub_server import HubServer, Repo
from tests.support.small import write_run, write_tasks
from tests.support.target_files import laser

PAIRS = [(f"{a} river", f"{a} Fluss") for a in ("stone", "bread", "music", "window", "winter", "summer", "old", "dog")]


def python(server: HubServer, home: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """A program that takes the server for the Hub and `home` for its cache; the clients read both when imported."""
    there = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE"))}
    there |= {"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "no_proxy": "*"}
    there |= {"DISABLE_SAFETENSORS_CONVERSION": "1", "DS_ACCELERATOR": "cpu", "TOKENIZERS_PARALLELISM": "false"}
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, cwd=REPOSITORY, env=there, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> dict[str, Path]:
    """The same encoder as one .bin file, as shards of .bin, and in both formats."""
    root = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(masked_lm.shape(tiny_tokenizer_dir))
    made = {name: masked_lm.write(root / name, tiny_tokenizer_dir, model) for name in ("bin", "shards", "both")}
    state = dict(model.state_dict())
    for name in ("bin", "shards"):
        (made[name] / "model.safetensors").unlink()
    for name in ("bin", "both"):
        torch.save(state, made[name] / "pytorch_model.bin")
    where = {tensor: f"pytorch_model-0000{1 + number % 2}-of-00002.bin" for number, tensor in enumerate(sorted(state))}
    for shard in set(where.values()):
        torch.save({n: t for n, t in state.items() if where[n] == shard}, made["shards"] / shard)
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (made["shards"] / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return made


# `python -m eval` twice, then what a training run takes for the identity of its encoder: one process for all.
PROGRAM = """
import json, sys
from eval.__main__ import main
from mtl.run import setup
config, data, out = sys.argv[1:4]
if out != "-":
    for names in (["bin", "shards", "both"], ["none"]):
        ids = [word for name in names for word in ("--encoder", f"team/{name}")]
        print("code", main(["align", "--data", data, "--languages", "de", "--out", f"{out}/{names[0]}", *ids]))
made = setup.read(config, ["encoder=team/bin"])
made.model()
print(json.dumps(made.identity()["encoder"]))
"""


def test_a_hub_id(folders: dict[str, Path], tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    config = write_run(tmp_path, tiny_tokenizer_dir, tasks=write_tasks(tmp_path)[:1])
    laser(tmp_path / "pairs" / "tatoeba", "deu", PAIRS)
    repos = {name: Repo({path.name: path for path in folder.iterdir()}) for name, folder in folders.items()}
    without = {name: path for name, path in repos["bin"].files.items() if name != "pytorch_model.bin"}
    with HubServer({f"team/{name}": repo for name, repo in {**repos, "none": Repo(without)}.items()}) as server:
        arguments = ["-c", PROGRAM, config, tmp_path / "pairs"]
        done = python(server, tmp_path / "home", *arguments, tmp_path / "out")
        assert done.returncode == 0, done.stderr
        fetched = [line.removeprefix("GET /") for line in server.log if "/resolve/" in line and line.startswith("GET")]
        changed = tmp_path / "pytorch_model.bin"
        state = torch.load(folders["bin"] / "pytorch_model.bin")
        torch.save({name: tensor + 1 for name, tensor in state.items()}, changed)
        server.repos["team/bin"] = Repo({**repos["bin"].files, "pytorch_model.bin": changed})
        again = python(server, tmp_path / "home", *arguments, "-")
        assert again.returncode == 0, again.stderr

    # Every layout is read, to the same scores, and only the weights that are read were fetched.
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 0", "code 2"]
    one, *others = (encoder["languages"] for encoder in scores_in(tmp_path / "out" / "bin", "align.json")["encoders"])
    assert others == [one, one]
    names = {path.partition("/resolve/")[0] + " " + path.rpartition("/")[2] for path in fetched}
    assert {name for name in names if name.endswith((".bin", ".safetensors"))} == {
        "team/bin pytorch_model.bin",
        "team/shards pytorch_model-00001-of-00002.bin",
        "team/shards pytorch_model-00002-of-00002.bin",
        "team/both model.safetensors",
    }
    assert "team/none: no weights there: expected one of model.safetensors" in done.stderr

    # Another commit under the same name, as another node may have in its cache, is another identity.
    first, second = (json.loads(ran.stdout.splitlines()[-1]) for ran in (done, again))
    assert first["name"] == second["name"] == "team/bin" and first["weights"] != second["weights"]
