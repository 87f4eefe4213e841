"""What a run starts from: trained weights that fit a head are used, or named with the way to use them; what is loaded

is what is hashed; an encoder that lacks weights or has another config is refused in one line, and nothing drawn at
random. What exports keep of their source.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from common.families import FAMILIES
from data_prep.__main__ import main as prepare
from eval.export import export
from eval.inference.encoder import EvaluatedEncoder
from mtl.data import loader
from mtl.model.encoder import load_encoder
from mtl.model.weight_files import weight_files
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


def test_a_head_that_is_not_used_is_named(config: Path, tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    """That of another class, and an LM head where no task is of masked language modelling."""
    model = transformers.AutoModelForQuestionAnswering.from_config(masked_lm.shape(tiny_tokenizer_dir))
    tuned = masked_lm.write(tmp_path / "tuned", tiny_tokenizer_dir, model)
    notes = setup.read(str(config), [f"encoder={tuned}"]).model().notes
    (note,) = (note for note in notes if "not used" in note)
    said = "holds trained weights that are not used: "
    assert note.startswith(f"encoder {tuned} (XLMRobertaForQuestionAnswering) {said}") and "qa_outputs.*" in note
    assert any("no LM head" in note and "starts at random" in note for note in notes)
    whole = masked_lm.checkpoint(tmp_path / "whole", tiny_tokenizer_dir)
    first = json.dumps(json.loads(config.read_text())["tasks"][:1])
    (note,) = setup.read(str(config), [f"tasks={first}", f"encoder={whole}"]).model().notes
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


# One list of weight files: what is loaded is what a run's identity and an evaluation's fingerprint are made of


@pytest.fixture(scope="module")
def model(tiny_tokenizer_dir: Path) -> Any:
    torch.manual_seed(0)
    return transformers.AutoModel.from_config(masked_lm.shape(tiny_tokenizer_dir))


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
    loaded = load_encoder(folder).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())

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
        assert found[0] != start[0] and found[1] != start[1]
        seen.add(str(found))
    assert len(seen) == len(files) + 1


def test_half_a_set_of_shards(tmp_path: Path, tiny_tokenizer_dir: Path, model: Any) -> None:
    """No weights at all: tests/end_to_end/test_eval_hub_encoder.py."""
    folder = masked_lm.write(tmp_path / "encoder", tiny_tokenizer_dir, model)
    (folder / "model.safetensors").unlink()
    *_, last = masked_lm.shards(folder, model.state_dict(), "pytorch_model.bin")
    (folder / last).unlink()
    fails(lambda: load_encoder(folder), "pytorch_model-00002-of-00002.bin, which pytorch_model.bin.index.json names")


# To train on from: weights that are missing or of another kind, or another config


def without(start: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda state: {name: weight for name, weight in state.items() if not name.startswith(start)}


DENSE = "encoder.layer.0.output.dense.weight"
BIN = "pytorch_model.bin"
# `quantization_config` over plain weights is passed over (above); over whole numbers it is what it says.
QUANTIZED = {"quantization_config": OWN["quantization_config"]}
# With an LM head or the encoder alone; the file of its weights, what is done to them and in config.json.
DAMAGES: list[tuple[bool, str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], dict[str, Any], str]] = [
    (True, WEIGHTS, without("lm_head.dense.weight"), {}, "its LM head is not whole: lm_head.dense.weight is missing"),
    (True, WEIGHTS, dict, {"tie_word_embeddings": True}, "another output matrix: set tie_word_embeddings to false"),
    (False, BIN, lambda s: {**s, DENSE: s[DENSE].to(torch.int8)}, QUANTIZED, f"quantized ({DENSE} is int8"),
    (False, WEIGHTS, without("encoder.layer.1."), {}, "belong together: encoder.layer.1."),
    (False, WEIGHTS, lambda s: {f"model.{name}": weight for name, weight in s.items()}, {}, "is missing"),
    (False, WEIGHTS, dict, {"hidden_size": "a"}, "hidden_size"),
    (False, WEIGHTS, dict, {"hidden_size": 48}, "its weights do not load"),
    (False, WEIGHTS, dict, {"num_attention_heads": 5}, "not a multiple"),
    (False, WEIGHTS, dict, {"num_hidden_layers": 3}, "encoder.layer.2."),
    (False, WEIGHTS, dict, {"num_hidden_layers": 1}, "nothing takes encoder.layer.1."),
    (True, WEIGHTS, dict, {"num_hidden_layers": 1}, "encoder.layer.1."),
]


@pytest.mark.parametrize(("head", "file", "weights", "fields", "said"), DAMAGES)
def test_nothing_is_drawn_at_random_in_the_place_of_what_does_not_fit(
    config: Path, tmp_path: Path, tiny_tokenizer_dir: Path, model: Any, head: bool, file: str, weights: Any,
    fields: dict[str, Any], said: str,
) -> None:  # fmt: skip
    if head:
        folder = masked_lm.checkpoint(tmp_path / "one", tiny_tokenizer_dir, tie_word_embeddings=False)
    else:
        folder = masked_lm.write(tmp_path / "one", tiny_tokenizer_dir, model)
    state = weights(load_file(folder / WEIGHTS))
    (folder / WEIGHTS).unlink()
    masked_lm.save(state, folder / file)
    about = folder / "config.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), **fields}))
    fails(lambda: setup.read(str(config), [f"encoder={folder}"]).model(), str(folder), said)


def test_a_pooler_may_be_missing(config: Path, tmp_path: Path, tiny_tokenizer_dir: Path, model: Any) -> None:
    """Published encoders have none, and only some task types read it."""
    folder = masked_lm.write(tmp_path / "one", tiny_tokenizer_dir, model)
    masked_lm.save(without("pooler.")(load_file(folder / WEIGHTS)), folder / WEIGHTS)
    assert setup.read(str(config), [f"encoder={folder}"]).model() is not None
