"""One list of weight files: what is loaded is what a run's identity and an evaluation's fingerprint are made of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from common.errors import InputError
from eval.inference.encoder import EvaluatedEncoder
from mtl.model.encoder import load_encoder
from mtl.model.weight_files import weight_files
from mtl.run import setup
from tests.support import masked_lm
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
