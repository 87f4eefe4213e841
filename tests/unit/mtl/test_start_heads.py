"""Trained weights that fit a head are used, or named with the way to use them; what exports keep of their source."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from common.families import FAMILIES
from data_prep.__main__ import main as prepare
from eval.export import export
from mtl.data import loader
from mtl.run import setup
from tests.support import masked_lm
from tests.support.rows import fails
from tests.support.small import write_run, write_tasks

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> Path:
    """A run of a classification and two mlm tasks, prepared."""
    folder = tmp_path_factory.mktemp("heads")
    tasks = [task for task in write_tasks(folder) if task["kind"] in ("classify", "mlm")]
    return write_run(folder, tiny_tokenizer_dir, tasks=[*tasks, {**tasks[1], "name": "more"}], steps=1)


def first_batches(made: setup.Setup) -> list[Any]:
    step = next(loader.steps_from(made.plan, 0))
    return loader.micro_batches(made.plan, step, step.divide(1, 300), 0, made.special)


@torch.no_grad()
def our_loss(made: setup.Setup, task: str) -> tuple[float, int]:
    """(summed loss, masked tokens) of the first step, by a fresh model."""
    model = made.model().eval()
    batches = first_batches(made)
    index = made.names.index(task)
    return sum(float(model(b)[1][index, 0]) for b in batches), sum(len(b.heads[task].labels) for b in batches)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_the_loss_of_its_own_class(
    config: Path, tmp_path: Path, tiny_tokenizer_dir: Path, family: str, tied: bool
) -> None:
    """Also with more rows of word embeddings than the tokenizer has ids, as padded or extended vocabularies have."""
    encoder = masked_lm.checkpoint(
        tmp_path / "one", tiny_tokenizer_dir, family=family, more_rows=7, tie_word_embeddings=tied
    )
    change = f"encoder={encoder}"  # whose family decides the class of the tokenizer, too
    assert prepare(["--config", str(config), "--set", change, "--jobs", "1"]) == 0
    made = setup.read(str(config), [change])
    assert made.run.trim_word_embeddings
    assert made.vocabulary.ids is None  # the softmax reaches every row
    for task in ("my_mlm", "more"):
        ours, count = our_loss(made, task)
        expected, found = masked_lm.loss(encoder, first_batches(made), task)
        assert count == found > 10
        assert ours == pytest.approx(expected, rel=1e-5)
    assert made.model().notes == [f"my_mlm, more: the head starts from the LM head of encoder {encoder}"]


@pytest.mark.parametrize("damage", ["part", "output matrix"])
def test_an_lm_head_that_would_be_another_is_refused(
    config: Path, tmp_path: Path, tiny_tokenizer_dir: Path, damage: str
) -> None:
    encoder = masked_lm.checkpoint(tmp_path / "one", tiny_tokenizer_dir, tie_word_embeddings=damage == "part")
    if damage == "part":
        said = "its LM head is not whole: lm_head.dense.weight is missing"
        state = load_file(encoder / WEIGHTS)
        del state["lm_head.dense.weight"]
        save_file(state, encoder / WEIGHTS, metadata={"format": "pt"})
    else:
        said = "another output matrix: set tie_word_embeddings to false"
        values = json.loads((encoder / "config.json").read_text())
        (encoder / "config.json").write_text(json.dumps({**values, "tie_word_embeddings": True}))
    fails(setup.read(str(config), [f"encoder={encoder}"]).model, said)


def test_a_head_that_is_not_used_is_named(config: Path, tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    model = transformers.AutoModelForQuestionAnswering.from_config(masked_lm.shape(tiny_tokenizer_dir))
    encoder = masked_lm.write(tmp_path / "tuned", tiny_tokenizer_dir, model)
    notes = setup.read(str(config), [f"encoder={encoder}"]).model().notes
    (note,) = (note for note in notes if "not used" in note)
    assert note.startswith(
        f"encoder {encoder} (XLMRobertaForQuestionAnswering) holds trained weights that are not used: "
    )
    assert "qa_outputs.*" in note
    assert "the head starts at random" in next(note for note in notes if "no LM head" in note)


def test_an_lm_head_without_an_mlm_task_is_named(config: Path, tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    encoder = masked_lm.checkpoint(tmp_path / "one", tiny_tokenizer_dir)
    values = json.loads(config.read_text())
    one = tmp_path / "one.json"
    one.write_text(json.dumps({**values, "tasks": values["tasks"][:1], "encoder": str(encoder)}))
    (note,) = setup.read(str(one), []).model().notes
    assert "not used: lm_head.*; a task of kind mlm without `head` starts from its LM head" in note


def test_an_exported_run_names_the_heads_beside_its_encoder(config: Path, tmp_path: Path) -> None:
    """`encoder/` has no LM head; the sentence names the `head` field, and following it gives the trained head."""
    made = setup.read(str(config), [f"output={tmp_path}"])
    trained = masked_lm.export(made)
    encoder, heads = made.run.folder / "encoder", made.run.folder / "heads"

    sets = [f"--set tasks.{task}.head={heads}:{task}" for task in made.names]
    model = setup.read(str(config), [f"encoder={encoder}"]).model()
    assert model.notes == [
        f"my_mlm, more: encoder {encoder} has no LM head: the head starts at random",
        f"{', '.join(made.names)}: the head starts at random; to start from the trained one beside encoder {encoder}: "
        + " ".join(sets),
    ]
    assert not torch.equal(model.heads["more"].bias, trained.heads["more"].bias)
    followed = setup.read(str(config), [f"encoder={encoder}", *(word.removeprefix("--set ") for word in sets)]).model()
    assert followed.notes == []
    assert all(torch.equal(w, trained.heads.state_dict()[n]) for n, w in followed.heads.state_dict().items())

    # Encoder and head as one transformers folder are a checkpoint with an LM head again.
    export(str(encoder), "more", tmp_path / "joined")
    joined = setup.read(str(config), [f"encoder={tmp_path / 'joined'}"]).model()
    assert all(
        torch.equal(w, trained.heads["more"].state_dict()[n]) for n, w in joined.heads["my_mlm"].named_parameters()
    )


# What a config.json of the Hub may hold beside the encoder's shape.
OWN: dict[str, Any] = {
    "_name_or_path": "/home/somebody/model", "_commit_hash": "0123", "transformers_version": "4.11.0",
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}, "auto_map": {"AutoModel": "m.Model"},
    "architectures": ["XLMRobertaForSequenceClassification"], "problem_type": "multi_label_classification",
    "id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}, "finetuning_task": "mnli",
    "task_specific_params": {"x": 1}, "output_hidden_states": True, "output_attentions": True, "return_dict": False,
    "torchscript": True, "adapters": {"x": 1}, "transformers_weights": "pieces.safetensors",
    "torch_dtype": "",  # as older versions of transformers write `dtype`
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_exports_are_float32_and_keep_nothing_of_their_source(
    config: Path, tmp_path: Path, tiny_tokenizer_dir: Path, dtype: torch.dtype
) -> None:
    """From a folder in half precision: `encoder/`, `heads/`, and both as one."""
    model = transformers.AutoModelForMaskedLM.from_config(masked_lm.shape(tiny_tokenizer_dir))
    source = masked_lm.write(tmp_path / "source", tiny_tokenizer_dir, model.to(dtype))
    (source / WEIGHTS).rename(source / "pieces.safetensors")
    values = json.loads((source / "config.json").read_text())
    assert f"torch.{values['dtype']}" == str(dtype)
    (source / "config.json").write_text(json.dumps({**values, **OWN, "torch_dtype": values["dtype"]}))
    made = setup.read(str(config), [f"encoder={source}", f"output={tmp_path}", "trim_word_embeddings=false"])
    masked_lm.export(made)
    folders: dict[str, str | None] = {"encoder": "XLMRobertaModel", "heads": None}
    for task, name in (("my_classify", "ForSequenceClassification"), ("more", "ForMaskedLM")):
        folders[task] = export(str(made.run.folder / "encoder"), task, made.run.folder / task)
        assert folders[task] == f"XLMRoberta{name}"
    for name, architecture in folders.items():
        values = json.loads((made.run.folder / name / "config.json").read_text())
        assert values["dtype"] == "float32" and values["transformers_version"] == transformers.__version__
        assert values.get("architectures") == ([architecture] if architecture else None)
        assert not (OWN.keys() - {"architectures", "transformers_version", "id2label", "label2id"}) & values.keys()
        assert values.get("id2label") == ({"0": "no", "1": "yes"} if name == "my_classify" else None)
        (path,) = (made.run.folder / name).glob("*.safetensors")
        weights = load_file(path)
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
        assert any(not torch.equal(w, w.to(dtype).float()) for w in weights.values())
        if architecture is not None:
            assert getattr(transformers, architecture).from_pretrained(made.run.folder / name).dtype == torch.float32


def test_quantized_weights_are_refused(config: Path, tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    """`quantization_config` over plain weights is passed over (above); over whole numbers it is what it says."""
    source = masked_lm.checkpoint(tmp_path / "source", tiny_tokenizer_dir)
    state = load_file(source / WEIGHTS)
    name = "roberta.encoder.layer.0.output.dense.weight"
    torch.save({**state, name: (state[name] * 100).to(torch.int8)}, source / "pytorch_model.bin")
    (source / WEIGHTS).unlink()
    values = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**values, "quantization_config": OWN["quantization_config"]}))
    fails(setup.read(str(config), [f"encoder={source}"]).model, f"its weights are quantized ({name} is int8")
