"""Files are replaced at once or not at all; runs that are put aside: tests/end_to_end/test_eval_training.py."""

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
