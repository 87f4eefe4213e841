"""One list of weight files: what is loaded is what a run's identity and an evaluation's fingerprint are made of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from common.errors import InputError
from eval.inference.encoder import EvaluatedEncoder
from mtl.model.encoder import load_encoder
from mtl.model.weight_files import weight_files
from mtl.run import setup
from tests.support import masked_lm
from tests.support.eval_run import make_run
from tests.support.rows import fails
from tests.support.small import write_run, write_tasks


@pytest.fixture(scope="module")
def model(tiny_tokenizer_dir: Path) -> Any:
    torch.manual_seed(0)
    return transformers.AutoModel.from_config(masked_lm.shape(tiny_tokenizer_dir))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return write_run(folder, tiny_tokenizer_dir, tasks=write_tasks(folder)[:1])


def single(folder: Path, state: dict[str, torch.Tensor], whole: str) -> list[str]:
    masked_lm.save(state, folder / whole)
    return [whole]


# In the order in which they are looked for.
LAYOUTS: dict[str, tuple[Callable[..., list[str]], str]] = {
    "safetensors": (single, "model.safetensors"),
    "sharded safetensors": (masked_lm.shards, "model.safetensors"),
    "bin": (single, "pytorch_model.bin"),
    "sharded bin": (masked_lm.shards, "pytorch_model.bin"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_loaded_is_what_is_hashed(
    config: Path, tmp_path: Path, tiny_tokenizer_dir: Path, model: Any, layout: str
) -> None:
    """Files that lie beside the ones read, of a lower rank, are neither."""
    folder = masked_lm.write(tmp_path / "encoder", tiny_tokenizer_dir, model)
    (folder / "model.safetensors").unlink()
    write, whole = LAYOUTS[layout]
    files = write(folder, model.state_dict(), whole)
    for write, whole in list(LAYOUTS.values())[list(LAYOUTS).index(layout) + 1 :]:
        (folder / write(folder, {}, whole)[0]).write_bytes(b"not weights")
    for other in ("training_args.bin", "optimizer.bin", "adapter.safetensors", "tf_model.h5"):
        (folder / other).write_bytes(b"not weights")
    assert [path.name for path in weight_files(folder)] == files
    made = setup.read(str(config), [f"encoder={folder}"])
    loaded = made.model().encoder.state_dict()
    expected = model.state_dict()
    ids = made.vocabulary.ids
    table = "embeddings.word_embeddings.weight"
    assert ids is not None
    assert torch.equal(loaded.pop(table), expected[table][ids])
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items() if name != table)

    def identity() -> tuple[Any, str]:
        whole = setup.read(str(config), [f"encoder={folder}"]).identity()["encoder"]
        return whole, EvaluatedEncoder(str(folder), torch.device("cpu")).fingerprint

    start = identity()
    (folder / "training_args.bin").write_bytes(b"other")
    assert identity() == start
    seen = {str(start)}
    for name in files:
        if name.endswith(".json"):
            values = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps({**values, "metadata": {"total_size": 2}}))
        else:
            path = folder / name
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
            masked_lm.save({n: w + 1 for n, w in state.items()}, path)
        found = identity()
        assert found[0] != start[0]
        assert found[1] != start[1]
        seen.add(str(found))
    assert len(seen) == len(files) + 1


def test_half_a_set_of_shards(tmp_path: Path, tiny_tokenizer_dir: Path, model: Any) -> None:
    """No weights at all: tests/end_to_end/test_eval_hub_encoder.py."""
    folder = masked_lm.write(tmp_path / "encoder", tiny_tokenizer_dir, model)
    (folder / "model.safetensors").unlink()
    *_, last = masked_lm.shards(folder, model.state_dict(), "pytorch_model.bin")
    (folder / last).unlink()
    with pytest.raises(InputError, match=r"pytorch_model-00002-of-00002.bin, which pytorch_model.bin.index.json names"):
        load_encoder(folder)


# An encoder that lacks weights, or has another config: damaged files are in tests/end_to_end/test_bad_input.py


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
