"""The model card lists the licence of the data that were read: here the toy world's; a dataset's: test_languages.py."""

from pathlib import Path

from data_prep.__main__ import main as prepare
from examples.toyworld.__main__ import LICENCE, generate
from mtl.run.export import model_card
from mtl.run.setup import read
from tests.support.rows import run_config


def test_licences_of_the_model_card(tmp_path: Path) -> None:
    world = tmp_path / "toyworld"
    generate(world, seed=1, scale=0.002)
    text = world / "text"
    own = {"name": "toy_text", "kind": "mlm", "train": str(text / "train.txt"), "dev": str(text / "dev.txt")}
    config = run_config(tmp_path, world / "tokenizer", ["mnli", "ccg", own])
    assert prepare(["--config", config, "--source", str(world), "--jobs", "1"]) == 0
    setup = read(config, [])
    rows = [line.split(" | ") for line in model_card(setup.run, setup.tasks, 0, {}).splitlines()]
    assert {row[0].removeprefix("| "): row[3] for row in rows if len(row) > 3 and row[3] == LICENCE} == dict.fromkeys(
        ("mnli", "ccg", "toy_text"), LICENCE
    )
