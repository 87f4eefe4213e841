"""The model card lists the licence of the data that were read: the toy world's own, the dataset's for real copies."""

import json
import re
import shutil
from pathlib import Path

import pytest

from data_prep.__main__ import main as prepare
from examples.toyworld.__main__ import LICENCE, generate
from mtl.run.export import model_card
from mtl.run.setup import read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """toyworld/, and copy/: a folder with the same files and no world.json, as data of the Hub lie."""
    folder = tmp_path_factory.mktemp("card")
    generate(folder / "toyworld", seed=1, scale=0.002)
    for name in ("ccg", "nyu-mll"):
        shutil.copytree(folder / "toyworld" / name, folder / "copy" / name)
    return folder


@pytest.mark.parametrize("source", ["toyworld", "copy"])
def test_licences_of_the_model_card(source: str, folder: Path) -> None:
    text = folder / "toyworld" / "text"
    own = {"name": "toy_text", "kind": "mlm", "train": str(text / "train.txt"), "dev": str(text / "dev.txt")}
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    encoder = {"config": shape, "tokenizer": str(folder / "toyworld" / "tokenizer")}
    config = {
        "name": "card", "encoder": encoder, "tasks": [{"task": "mnli"}, {"task": "ccg"}, own], "max_length": 64,
        "data": str(folder / f"data_{source}"), "steps": 1,
    }  # fmt: skip
    file = folder / f"{source}.json"
    file.write_text(json.dumps(config))
    assert prepare(["--config", str(file), "--source", str(folder / source), "--jobs", "1"]) == 0

    setup = read(str(file), [])
    card = model_card(setup.run, setup.tasks, 0, {})
    licences = {name: re.search(rf"^\| {name} \|.*$", card, re.MULTILINE)[0].split(" | ")[3] for name in setup.names}  # type: ignore[index]
    assert licences["toy_text"] == LICENCE
    if source == "toyworld":
        assert licences["mnli"] == licences["ccg"] == LICENCE
    else:
        assert "LDC" in licences["ccg"] and LICENCE not in licences["mnli"] and licences["mnli"]
