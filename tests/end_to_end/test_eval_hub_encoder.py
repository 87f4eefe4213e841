"""A Hub id is taken in whichever format its weights are, no second copy of them is fetched, and they are hashed."""

from pathlib import Path

import pytest
import torch
import transformers

from tests.support import masked_lm
from tests.support.hub_server import Client, HubServer, Repo
from tests.support.small import write_run, write_tasks

# The weights' sum, or what is wrong.
LOAD = """
import torch
from common.errors import InputError
from eval.inference.encoder import EvaluatedEncoder
result = []
for spec in {!r}:
    try:
        model = EvaluatedEncoder(spec, torch.device("cpu")).model
        result.append(sum(float(p.detach().double().abs().sum()) for p in model.parameters()))
    except InputError as error:
        result.append(str(error))
"""
# What a training run takes for the identity of its encoder.
IDENTITY = """
from mtl.run import setup
made = setup.read({!r}, ["encoder=team/bin"])
made.model()
result = made.identity()["encoder"]
"""


@pytest.mark.slow
def test_a_hub_id(tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    """The same encoder as one .bin file, as shards of .bin, and in both formats."""
    model = transformers.AutoModel.from_config(masked_lm.shape(tiny_tokenizer_dir))
    folders = {name: masked_lm.write(tmp_path / name, tiny_tokenizer_dir, model) for name in ("bin", "shards", "both")}
    state = dict(model.state_dict())
    for name in ("bin", "shards"):
        (folders[name] / "model.safetensors").unlink()
    for name in ("bin", "both"):
        torch.save(state, folders[name] / "pytorch_model.bin")
    masked_lm.shards(folders["shards"], state, "pytorch_model.bin")
    config = write_run(tmp_path, tiny_tokenizer_dir, tasks=write_tasks(tmp_path)[:1])
    repos = {name: Repo({path.name: path for path in folder.iterdir()}) for name, folder in folders.items()}
    without = {name: path for name, path in repos["bin"].files.items() if name != "pytorch_model.bin"}
    served = {f"team/{name}": repo for name, repo in {**repos, "none": Repo(without)}.items()}
    with HubServer(served) as server, Client(server, tmp_path / "home") as client:
        *sums, refused = client.run(LOAD.format(list(served)))[0]
        first = client.run(IDENTITY.format(str(config)))[0]
        fetched = [line.removeprefix("GET /") for line in server.log if "/resolve/" in line and line.startswith("GET")]
        changed = tmp_path / "pytorch_model.bin"
        torch.save({name: tensor + 1 for name, tensor in torch.load(folders["bin"] / changed.name).items()}, changed)
        server.repos["team/bin"] = Repo({**repos["bin"].files, "pytorch_model.bin": changed})
        second = client.run(IDENTITY.format(str(config)))[0]

    # Every layout is read, to the same weights, and only the files that are read were fetched.
    model = transformers.AutoModel.from_pretrained(folders["both"])
    assert sums == [sum(float(p.detach().double().abs().sum()) for p in model.parameters())] * 3
    names = {path.partition("/resolve/")[0] + " " + path.rpartition("/")[2] for path in fetched}
    assert {name for name in names if name.endswith((".bin", ".safetensors"))} == {
        "team/bin pytorch_model.bin",
        "team/shards pytorch_model-00001-of-00002.bin",
        "team/shards pytorch_model-00002-of-00002.bin",
        "team/both model.safetensors",
    }
    assert "team/none: no weights there: expected one of model.safetensors" in refused

    # Another commit under the same name, as another node may have in its cache, is another identity.
    assert first["name"] == second["name"] == "team/bin" and first["weights"] != second["weights"]
