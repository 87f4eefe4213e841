"""The toy world: deterministic, its licence; that its languages say the same: test_translation.py."""

from pathlib import Path

import pytest

from data_prep.__main__ import main as prepare
from examples.toyworld.__main__ import LICENCE, generate, main
from mtl.run.export import model_card
from mtl.run.setup import read
from tests.support.rows import run_config


def test_same_seed_same_bytes_other_seed_other_text_and_its_licence(tmp_path: Path) -> None:
    """Its licence is in the model card; that of a dataset: tests/unit/mtl/test_languages.py."""
    made = []
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        generate(tmp_path / name, seed=seed, scale=0.002)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        made.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert made[0] == made[1] and made[0]["text/train.txt"] != made[2]["text/train.txt"]

    world = tmp_path / "one"
    own = {"name": "toy_text", "kind": "mlm", **{split: str(world / f"text/{split}.txt") for split in ("train", "dev")}}
    config = run_config(tmp_path, world / "tokenizer", ["mnli", "ccg", own])
    assert prepare(["--config", config, "--source", str(world), "--jobs", "1"]) == 0
    setup = read(config, [])
    rows = [line.split(" | ") for line in model_card(setup, 0, {}).splitlines()]
    assert [row[0] for row in rows if row[3:4] == [LICENCE]] == ["| mnli", "| ccg", "| toy_text"]


def test_a_folder_that_is_no_toy_world_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["--out", str(tmp_path), "--scale", "0.01"]) == 2
    assert "not a toy world" in capsys.readouterr().err and (tmp_path / "thesis.txt").exists()
