"""Exports are float32 in config and weights whatever the source's precision, and keep nothing of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from common.errors import InputError
from eval.export import export
from mtl.run import setup
from tests.support import masked_lm
from tests.support.launch import program
from tests.support.small import write_run

# What a config.json of the Hub may hold beside the encoder's shape.
OWN: dict[str, Any] = {
    "_name_or_path": "/home/somebody/model", "_commit_hash": "0123", "transformers_version": "4.11.0",
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}, "auto_map": {"AutoModel": "m.Model"},
    "architectures": ["XLMRobertaForSequenceClassification"], "problem_type": "multi_label_classification",
    "id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}, "finetuning_task": "mnli",
    "task_specific_params": {"x": 1}, "output_hidden_states": True, "output_attentions": True, "return_dict": False,
    "torchscript": True, "adapters": {"x": 1}, "transformers_weights": "pieces.safetensors",
}  # fmt: skip
CLASSES = {"my_classify": "SequenceClassification", "my_tag": "TokenClassification", "my_mlm": "MaskedLM"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> Path:
    """The folder of a run of every kind from a half-precision folder, dtype in its config.json."""
    folder = tmp_path_factory.mktemp("run")
    model = transformers.AutoModelForMaskedLM.from_config(masked_lm.shape(tiny_tokenizer_dir))
    encoder = masked_lm.write(folder / "source", tiny_tokenizer_dir, model.bfloat16())
    (encoder / "model.safetensors").rename(encoder / "pieces.safetensors")
    values = json.loads((encoder / "config.json").read_text())
    values["torch_dtype"] = values["dtype"]  # as older versions of transformers write it
    assert values["dtype"] == "bfloat16"
    (encoder / "config.json").write_text(json.dumps({**values, **OWN}))
    config = write_run(folder, tiny_tokenizer_dir, encoder=str(encoder), steps=2, trim_word_embeddings=False)
    program("train.py", "--config", config)
    return folder / "runs" / "small"


def plain(folder: Path, architecture: str | None) -> dict[str, Any]:
    """The config.json of an export, looked through."""
    values = json.loads((folder / "config.json").read_text())
    assert values["dtype"] == "float32"
    assert values["transformers_version"] == transformers.__version__
    assert values.get("architectures") == ([architecture] if architecture else None)
    own = OWN.keys() - {"architectures", "transformers_version", "id2label", "label2id"}
    assert not own & values.keys(), own & values.keys()
    assert "torch_dtype" not in values
    return values


def test_the_encoder_and_the_heads(run: Path) -> None:
    for folder in (run / "encoder", run / "encoder_last"):
        values = plain(folder, "XLMRobertaModel")
        assert not {"id2label", "label2id"} & values.keys()
        weights = load_file(folder / "model.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
        loaded = transformers.AutoModel.from_pretrained(folder)
        assert loaded.dtype == torch.float32
        assert all(torch.equal(weights[name], tensor) for name, tensor in loaded.state_dict().items())
        # Trained weights are not all numbers of the source's precision.
        assert any(not torch.equal(w, w.bfloat16().float()) for w in weights.values())
    plain(run / "heads", None)
    heads = load_file(run / "heads" / "heads.safetensors")
    assert {tensor.dtype for tensor in heads.values()} == {torch.float32}


@pytest.mark.parametrize("task", CLASSES)
def test_encoder_and_head_as_one(run: Path, tmp_path: Path, task: str) -> None:
    """That its weights are the trained ones: tests/unit/mtl/test_families.py."""
    name = f"XLMRobertaFor{CLASSES[task]}"
    assert export(str(run / "encoder"), task, tmp_path / "out") == name
    values = plain(tmp_path / "out", name)
    labels = {"my_classify": ["no", "yes"], "my_tag": ["LONG", "SHORT"]}.get(task)
    assert values.get("id2label") == ({str(n): label for n, label in enumerate(labels)} if labels else None)
    loaded = getattr(transformers, f"AutoModelFor{CLASSES[task]}").from_pretrained(tmp_path / "out")
    assert loaded.dtype == torch.float32


def test_quantized_weights_are_refused(tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    """`quantization_config` over plain weights is passed over (above); over whole numbers it is what it says."""
    source = masked_lm.checkpoint(tmp_path / "source", tiny_tokenizer_dir)
    config = write_run(tmp_path, tiny_tokenizer_dir, encoder=str(source))
    state = load_file(source / "model.safetensors")
    name = "roberta.encoder.layer.0.output.dense.weight"
    state[name] = (state[name] * 100).to(torch.int8)
    torch.save(state, source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    values = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**values, "quantization_config": OWN["quantization_config"]}))
    with pytest.raises(InputError, match=rf"its weights are quantized \({name} is int8"):
        setup.read(str(config), []).model()
