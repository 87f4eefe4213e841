"""Files are replaced at once or not at all, and put aside without loss."""

import os
from pathlib import Path

import pytest

from common import files


def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch):
    files.write_json(tmp_path / "x.json", {"a": 1})
    before = (tmp_path / "x.json").read_bytes()

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_json(tmp_path / "x.json", {"a": 2})
    assert os.listdir(tmp_path) == ["x.json"] and (tmp_path / "x.json").read_bytes() == before


def test_what_is_put_aside_replaces_nothing(tmp_path):
    kept = []
    for number in range(3):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / str(number)).touch()
        kept.append(files.put_aside(tmp_path / "run").name)
        (tmp_path / "step").touch()
        kept.append(files.put_aside(tmp_path / "step", "damaged-step").name)
    assert kept == ["run.1", "damaged-step", "run.2", "damaged-step.1", "run.3", "damaged-step.2"]
    assert [os.listdir(tmp_path / f"run.{n + 1}") for n in range(3)] == [["0"], ["1"], ["2"]]
