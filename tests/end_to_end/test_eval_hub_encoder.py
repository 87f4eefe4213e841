"""A Hub id is taken in whichever format its weights are, no second copy of them is fetched, and they are hashed."""

from pathlib import Path

import pytest
import torch
import transformers

from tests.support import masked_lm
from tests.support.eval_run import scores_in
from tests.support.hub_server import Client, HubServer, Repo
from tests.support.small import write_run, write_tasks
from tests.support.target_files import laser

PAIRS = [(f"{a} river", f"{a} Fluss") for a in ("stone", "bread", "music", "window", "winter", "summer", "old", "dog")]


ALIGN = "from eval.__main__ import main; result = main({})"
# What a training run takes for the identity of its encoder.
IDENTITY = """
from mtl.run import setup
made = setup.read({!r}, ["encoder=team/bin"])
made.model()
result = made.identity()["encoder"]
"""


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
    masked_lm.shards(made["shards"], state, "pytorch_model.bin")
    return made


def test_a_hub_id(folders: dict[str, Path], tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    config = write_run(tmp_path, tiny_tokenizer_dir, tasks=write_tasks(tmp_path)[:1])
    laser(tmp_path / "pairs" / "tatoeba", "deu", PAIRS)
    repos = {name: Repo({path.name: path for path in folder.iterdir()}) for name, folder in folders.items()}
    without = {name: path for name, path in repos["bin"].files.items() if name != "pytorch_model.bin"}
    served = {f"team/{name}": repo for name, repo in {**repos, "none": Repo(without)}.items()}
    data = ["--data", str(tmp_path / "pairs"), "--languages", "de", "--out", str(tmp_path / "out")]
    with HubServer(served) as server, Client(server, tmp_path / "home") as client:
        ids = [word for name in repos for word in ("--encoder", f"team/{name}")]
        taken, refused = (
            client.run(ALIGN.format(["align", *data, *some])) for some in (ids, ["--encoder", "team/none"])
        )
        first = client.run(IDENTITY.format(str(config)))[0]
        fetched = [line.removeprefix("GET /") for line in server.log if "/resolve/" in line and line.startswith("GET")]
        changed = tmp_path / "pytorch_model.bin"
        torch.save({name: tensor + 1 for name, tensor in torch.load(folders["bin"] / changed.name).items()}, changed)
        server.repos["team/bin"] = Repo({**repos["bin"].files, "pytorch_model.bin": changed})
        second = client.run(IDENTITY.format(str(config)))[0]

    # Every layout is read, to the same scores, and only the weights that are read were fetched.
    assert (taken[0], refused[0]) == (0, 2), taken[2]
    one, *others = (encoder["languages"] for encoder in scores_in(tmp_path / "out", "align.json")["encoders"])
    assert others == [one, one]
    names = {path.partition("/resolve/")[0] + " " + path.rpartition("/")[2] for path in fetched}
    assert {name for name in names if name.endswith((".bin", ".safetensors"))} == {
        "team/bin pytorch_model.bin",
        "team/shards pytorch_model-00001-of-00002.bin",
        "team/shards pytorch_model-00002-of-00002.bin",
        "team/both model.safetensors",
    }
    assert "team/none: no weights there: expected one of model.safetensors" in refused[2]

    # Another commit under the same name, as another node may have in its cache, is another identity.
    assert first["name"] == second["name"] == "team/bin" and first["weights"] != second["weights"]
