"""A damaged encoder, or damaged heads, to train on from: one line and no random weights in the place of the user's."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from mtl.run import dry_run, setup
from tests.support.eval_run import make_run
from tests.support.rows import fails
from tests.support.small import write_run, write_tasks


@pytest.fixture
def run(tmp_path: Path, tiny_tokenizer_dir: Path) -> Path:
    """The folder of an exported run, encoder/ and heads/."""
    return make_run(tmp_path / "before", tiny_tokenizer_dir).parent


@pytest.fixture
def config(tmp_path: Path, run: Path) -> Path:
    """A run that goes on from its encoder and its MNLI head, with prepared data."""
    rows = tmp_path / "rows"  # write_run writes its own beside its config
    rows.mkdir()
    task = {**write_tasks(rows)[0], "name": "mine", "labels": ["neutral", "entailment", "contradiction"]}
    for split in ("train", "dev"):
        path = Path(task[split])
        text = path.read_text(encoding="utf-8").replace('"label": "no"', '"label": "neutral"')
        path.write_text(text.replace('"label": "yes"', '"label": "entailment"'), encoding="utf-8")
    task["head"] = f"{run / 'heads'}:mnli"
    return write_run(tmp_path, run / "encoder", encoder=str(run / "encoder"), tasks=[task])


def test_undamaged(config: Path, run: Path) -> None:
    model = setup.read(str(config), []).model()
    name = "encoder.layer.3.output.dense.weight"
    assert model.encoder.state_dict()[name].equal(load_file(run / "encoder" / "model.safetensors")[name])


DAMAGE = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "noise": lambda data: b"\xff" * 100,
    "header": lambda data: data[:8] + b"x" + data[9:],
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["encoder/model.safetensors", "heads/heads.safetensors"])
def test_damaged_weights(config: Path, run: Path, name: str, how: str) -> None:
    path = run / name
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    fails(lambda: setup.read(str(config), []).model(), str(path.parent), "cannot be loaded")


def test_missing_weights_are_not_drawn_at_random(config: Path, run: Path) -> None:
    path = run / "encoder" / "model.safetensors"
    weights = load_file(path)
    some = {name: weight for name, weight in weights.items() if not name.startswith("encoder.layer.3.")}
    save_file(some, path, metadata={"format": "pt"})
    fails(lambda: setup.read(str(config), []).model(), "belong together", "encoder.layer.3.", "is missing")
    # Saved under other names, all of them would be missing.
    save_file({f"model.{name}": weight for name, weight in weights.items()}, path, metadata={"format": "pt"})
    fails(lambda: setup.read(str(config), []).model(), "belong together", "is missing")
    # A pooler may be missing: published encoders have none, and only choice tasks read it.
    rest = {name: weight for name, weight in weights.items() if not name.startswith("pooler.")}
    save_file(rest, path, metadata={"format": "pt"})
    assert setup.read(str(config), []).model() is not None


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
def test_another_config(config: Path, run: Path, key: str, value: Any, said: str) -> None:
    path = run / "encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), key: value}), encoding="utf-8")
    fails(lambda: setup.read(str(config), []).model(), str(run / "encoder"), said)
    if key == "num_attention_heads":  # the dry run reads no weights
        fails(lambda: dry_run.report(setup.read(str(config), []), 1), f"encoder {run / 'encoder'}", said)


MNLI = {"kind": "classify", "labels": ["neutral", "entailment", "contradiction"], "max_length": 128}


@pytest.mark.parametrize(
    "about",
    [
        "[]", "[" * 200_000, '{"mnli": 3}', '{"mnli": {"kind": "classify"}}',
        json.dumps({"mnli": {**MNLI, "kind": "x"}}), json.dumps({"mnli": {**MNLI, "labels": 3}}),
        json.dumps({"mnli": {**MNLI, "labels": ["a"]}}), json.dumps({"mnli": {**MNLI, "labels": [1, 2, 3]}}),
        json.dumps({"mnli": {**MNLI, "max_length": "128"}}),
    ],
)  # fmt: skip
def test_heads_json_that_is_none(config: Path, run: Path, about: str) -> None:
    (run / "heads" / "heads.json").write_text(about, encoding="utf-8")
    fails(lambda: setup.read(str(config), []).model(), str(run / "heads"), "cannot be loaded")
