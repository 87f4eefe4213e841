"""bench/vocabulary.py: bytes by the counter of bench/traffic.py are those that the rows left out must save."""

import json
import sys

import pytest

from bench import vocabulary

pytestmark = pytest.mark.slow
ROWS, WORDS = 3000, 600


def test_what_is_counted(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(vocabulary, "ROWS", ROWS)
    monkeypatch.setattr(vocabulary, "WORDS", WORDS)
    out = tmp_path / "out.json"
    monkeypatch.setattr(
        sys, "argv", ["vocabulary", "--rounds", "2", "--steps", "1", "--examples", "8", "--json", str(out)]
    )
    vocabulary.main()
    printed = capsys.readouterr().out
    found = json.loads(out.read_text())
    trained = found["trained"]
    assert trained["whole"] == ROWS and WORDS < trained["trimmed"] < 2 * WORDS
    saved = (ROWS - trained["trimmed"]) * vocabulary.SHAPE["hidden_size"] * 4
    whole, trimmed = found["bytes"]["whole"], found["bytes"]["trimmed"]
    for operation in ("all_reduce", "all_gather_into_tensor"):
        assert whole[operation] - trimmed[operation] == pytest.approx(saved, rel=1e-3)
    for side in ("whole", "trimmed"):
        assert all(seconds > 0 for seconds in found["parts"][side].values())
    assert "| of it communication, mean of" in printed
