"""The toy world: deterministic, splits disjoint; that its languages say the same: test_translation.py."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from examples.toyworld.__main__ import generate, main


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toy") / "world"
    generate(out, seed=1, scale=0.02)
    return out


def rows(world: Path, folder: str, split: str) -> list[dict]:
    return pq.read_table(world / folder / f"{split}-00000-of-00001.parquet").to_pylist()


def test_same_seed_same_bytes_other_seed_other_text(tmp_path: Path) -> None:
    made = []
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        generate(tmp_path / name, seed=seed, scale=0.002)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        made.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert made[0] == made[1] and made[0]["text/train.txt"] != made[2]["text/train.txt"]


def test_a_folder_that_is_no_toy_world_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["--out", str(tmp_path), "--scale", "0.01"]) == 2
    assert "not a toy world" in capsys.readouterr().err and (tmp_path / "thesis.txt").exists()
    assert main(["--out", str(tmp_path / "x"), "--scale", "0"]) == 2


def test_splits_are_as_large_as_world_json_says_and_share_no_example(world: Path) -> None:
    said = json.loads((world / "world.json").read_text(encoding="utf-8"))["tasks"]
    counts = {name: splits for name, splits in said.items() if (world / name).is_dir() and "/" in name}
    assert len(counts) == 9
    for folder, splits in counts.items():
        seen = []
        for split, count in splits.items():
            found = rows(world, folder, split)
            assert len(found) == count
            numbers = {"idx", "ind", "id", "uid", "source_id", "split"}
            seen += [str({k: v for k, v in row.items() if k not in numbers}) for row in found]
        assert len(seen) == len(set(seen)), folder
