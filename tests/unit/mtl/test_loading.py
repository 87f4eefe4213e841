"""An encoder that lacks weights, or has another config, to train on from: one line and no random weights.

Damaged files: tests/end_to_end/test_bad_input.py, by the same loader.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from mtl.run import provenance, setup
from tests.support.eval_run import make_run
from tests.support.rows import fails
from tests.support.small import write_run, write_tasks


@pytest.fixture
def run(tmp_path: Path, tiny_tokenizer_dir: Path) -> Path:
    """The folder of an exported run, encoder/ and heads/."""
    return make_run(tmp_path / "before", tiny_tokenizer_dir).parent


@pytest.fixture
def load(tmp_path: Path, run: Path):
    """Builds the model of a run that goes on from this encoder and one of its heads, with prepared data."""
    rows = tmp_path / "rows"  # write_run writes its own beside its config
    rows.mkdir()
    task = {**write_tasks(rows)[2], "name": "mine", "head": f"{run / 'heads'}:hellaswag"}
    config = write_run(tmp_path, run / "encoder", encoder=str(run / "encoder"), tasks=[task])
    return lambda: setup.read(str(config), []).model()


def test_missing_weights_are_not_drawn_at_random(load, run: Path) -> None:
    path = run / "encoder" / "model.safetensors"
    weights = load_file(path)
    some = {name: weight for name, weight in weights.items() if not name.startswith("encoder.layer.3.")}
    save_file(some, path, metadata={"format": "pt"})
    fails(load, "belong together", "encoder.layer.3.", "is missing")
    # Saved under other names, all of them would be missing.
    save_file({f"model.{name}": weight for name, weight in weights.items()}, path, metadata={"format": "pt"})
    fails(load, "belong together", "is missing")
    # A pooler may be missing: published encoders have none, and only some task types read it.
    rest = {name: weight for name, weight in weights.items() if not name.startswith("pooler.")}
    save_file(rest, path, metadata={"format": "pt"})
    assert load() is not None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("hidden_size", "a", "hidden_size"),
        ("hidden_size", 48, "its weights do not load"),
        ("num_attention_heads", 5, "not a multiple"),
        ("num_hidden_layers", 5, "encoder.layer.4."),
        ("num_hidden_layers", 3, "nothing takes encoder.layer.3."),
    ],
)
def test_another_config(load, run: Path, key: str, value: object, said: str) -> None:
    path = run / "encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), key: value}), encoding="utf-8")
    fails(load, str(run / "encoder"), said)


@pytest.mark.parametrize("text", ["[", "[]", '{"overlap": 3}'])
def test_a_run_json_of_something_else_is_named_and_stops_nothing(tmp_path: Path, capsys, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    started: Any = SimpleNamespace(run=SimpleNamespace(encoder=str(tmp_path / "encoder")), tasks=[])
    assert provenance._overlap(started) == {}
    assert capsys.readouterr().err.startswith(f"warning: {tmp_path / 'run.json'}: ")
