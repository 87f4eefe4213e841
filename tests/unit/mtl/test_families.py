"""Every encoder family computes what transformers' own classes do: heads, losses, exports.

Gradients: tests/distributed/test_exact.py.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional as F

from common.errors import InputError
from common.families import FAMILIES, WITHOUT_INTERFACE, check_family
from eval.export import export
from mtl.model.encoder import MultiTaskModel, encode
from mtl.model.families import fresh_head
from mtl.run import export as exports
from mtl.run import setup
from tests.support import families
from tests.support.packing import pack_rows
from tests.support.small import KINDS, write_run, write_tasks
from tests.support.tokenizers_by_style import OF_FAMILY, STYLES

ALL = (*KINDS, "regress", "pair")
NO_CLASS = {("eurobert", "span"), ("eurobert", "choice"), ("gte", "span"), ("gte", "choice")}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("xlm-roberta", {}),
    ("bert", {"type_vocab_size": 2}),
    ("modernbert", {}),
    ("modernbert", {"classifier_pooling": "mean"}),
    ("eurobert", {}),
    ("eurobert", {"classifier_pooling": "mean"}),
    ("eurobert", {"classifier_pooling": "bos"}),
    ("gte", {}),
]


@dataclass
class World:
    family: str
    config: Path
    made: setup.Setup
    model: MultiTaskModel
    folder: Path


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join([case[0], *map(str, case[1].values())]))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A model over a task of every type with a tokenizer of the family's style, and its export."""
    family, fields = request.param
    folder = tmp_path_factory.mktemp("family")
    tokenizer = STYLES[OF_FAMILY[family]](folder / "tokenizer")
    shape = families.shape(family, initializer_range=0.2, **fields)
    encoder = {"model_type": family, "config": shape, "tokenizer": str(tokenizer)}
    tasks = write_tasks(folder, kinds=ALL)
    path = write_run(folder, tokenizer, tasks=tasks, encoder=encoder)
    made = setup.read(str(path), [])
    model = made.model()
    with torch.no_grad():  # fresh biases are 0, norms 1: make them matter
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    weights = {name: p.detach() for name, p in model.named_parameters()}
    exports.export_encoder(folder / "out" / "encoder", weights, made.source, made.tokenizer, "")
    exports.export_heads(folder / "out" / "heads", weights, made.source, made.tasks)
    return World(family, path, made, model.eval(), folder / "out")


def rows_of(world: World, kind: str, count: int = 6) -> list[dict[str, Any]]:
    task = world.made.tasks[ALL.index(kind)]
    return task.train.take(np.arange(count))


def pieces(row: dict[str, Any]) -> list[dict[str, Tensor]]:
    """Each sequence of a row by itself, as arguments of a transformers model."""
    found = []
    ends = np.cumsum(row["lengths"])
    for number, (end, size) in enumerate(zip(ends, row["lengths"], strict=True)):
        ids = torch.from_numpy(np.asarray(row["input_ids"][end - size : end], dtype=np.int64))[None]
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if "second" in row:
            inputs["token_type_ids"] = (torch.arange(size) >= int(row["second"][number])).long()[None]
        found.append(inputs)
    return found


def of_transformers(model: Any, kind: str, row: dict[str, Any]) -> tuple[Tensor, Tensor, int]:
    """(summed unit losses, scores of what our head reads, units right) of one row by the class that was exported to."""
    parts = pieces(row)
    if kind == "choice":
        logits = torch.cat([model(**{k: v[None] for k, v in part.items()}).logits[0] for part in parts])
        right = int(logits.argmax() == row["label"])
        return F.cross_entropy(logits[None], torch.tensor([int(row["label"])])), logits, right
    if kind == "span":
        sides = {"start_positions": torch.tensor([int(row["start"])]), "end_positions": torch.tensor([int(row["end"])])}
        out = model(**parts[0], **sides)
        right = out.start_logits.argmax() == row["start"] and out.end_logits.argmax() == row["end"]
        return out.loss, torch.stack([out.start_logits[0], out.end_logits[0]], -1), int(right)
    if kind in ("tag", "mlm"):
        labels = torch.full_like(parts[0]["input_ids"], -100)
        labels[0, row["positions"]] = torch.from_numpy(np.asarray(row["labels"], dtype=np.int64))
        out = model(**parts[0], labels=labels)
        scores = out.logits[0, row["positions"]]
        right = int((scores.argmax(-1) == labels[0, row["positions"]]).sum())
        return out.loss * len(row["positions"]), scores, right
    dtype = torch.float32 if kind == "regress" else torch.int64
    out = model(**parts[0], labels=torch.tensor([row["label"]], dtype=dtype))
    return out.loss, out.logits, int(kind == "classify" and out.logits.argmax() == row["label"])


@pytest.mark.parametrize("kind", ["classify", "span", "choice", "tag", "mlm", "regress"])
def test_scores_and_losses_are_those_of_the_class_that_is_exported_to(world: World, kind: str, tmp_path: Path) -> None:
    name = f"my_{kind}"
    if (world.family, kind) in NO_CLASS:
        with pytest.raises(InputError, match=f"no class for a {world.family} encoder .* {kind} task: .*heads, beside"):
            export(str(world.folder / "encoder"), name, tmp_path / "out")
        return
    found = export(str(world.folder / "encoder"), name, tmp_path / "out")
    theirs = getattr(transformers, found).from_pretrained(tmp_path / "out", attn_implementation="eager").eval()
    rows = rows_of(world, kind)
    if kind == "mlm":
        rows = [{**row, "positions": np.array([1, 3]), "labels": np.array([7, 9])} for row in rows]
    heads = list(world.model.kinds.items())
    index = ALL.index(kind)
    batch = pack_rows([(index, row) for row in rows], heads, world.made.special)
    with torch.no_grad():
        total, stats = world.model(batch)
        ours = world.model.head(name)(world.model._read(batch)[index], world.model.encoder, batch.heads[name].mean)
        expected = [of_transformers(theirs, kind, row) for row in rows]
    scores = torch.cat([scores for _, scores, _ in expected])
    assert (ours - scores).abs().max().item() < 1e-5 * max(1, scores.abs().max().item())
    assert total.item() == pytest.approx(sum(float(loss) for loss, *_ in expected), rel=1e-5)
    assert stats[index].tolist() == [pytest.approx(total.item()), sum(right for *_, right in expected)]


def test_a_label_unknown_to_training_costs_nothing_and_is_never_right(world: World) -> None:
    index, row = ALL.index("tag"), rows_of(world, "tag", 1)[0]
    heads, found = list(world.model.kinds.items()), []
    for labels in ([1], [1, -1]):
        one = {**row, "positions": row["positions"][: len(labels)], "labels": np.array(labels)}
        with torch.no_grad():
            found.append(world.model(pack_rows([(index, one)], heads, world.made.special))[1][index].tolist())
    assert found[0] == pytest.approx(found[1])


def test_vectors_of_pairs_and_the_reloaded_encoder(world: World) -> None:
    """By the pooler where there is one, else by the first token; or as `pooling` says. The encoder is `AutoModel`'s."""
    options = world.model.encoder.family.options
    stock = transformers.AutoModel.from_pretrained(world.folder / "encoder", **options).eval()
    rows = rows_of(world, "pair")
    with torch.no_grad():
        outs = [stock(**part) for row in rows for part in pieces(row)]
    wanted = {
        "first": [out.last_hidden_state[:, 0] for out in outs],
        "mean": [o.last_hidden_state.mean(1) for o in outs],
    }
    if "pooler_output" in outs[0]:
        wanted["pooler"] = [out.pooler_output for out in outs]
    else:
        with pytest.raises(InputError, match="my_pair: pooling `pooler`: the encoder has none"):
            setup.read(str(world.config), ["tasks.my_pair.pooling=pooler"])
    default = wanted.get("pooler", wanted["first"])
    for pooling, vectors in {None: default, **wanted}.items():
        slot = "slot_of_whole" if pooling == "mean" else "slot"
        items = [(ALL.index("pair"), {**row, slot: number}) for number, row in enumerate(rows)]
        read = (batch := pack_rows(items, list(world.model.kinds.items()), world.made.special)).heads["my_pair"]
        head = fresh_head("pair", world.model.encoder.config, None, pooling)
        with torch.no_grad():
            ours = head(encode(world.model.encoder, batch, tokens=read.tokens), world.model.encoder, read.mean)
        assert (ours - F.normalize(torch.cat(vectors))).abs().max().item() < 1e-5, pooling


def test_trimmed_embeddings_change_nothing(world: World, tmp_path: Path) -> None:
    tasks = '[{"name": "my_classify", "kind": "classify", "labels": ["no", "yes"], "train": "%s", "dev": "%s"}]'
    files = tuple(world.config.parent / f"classify.{split}.jsonl" for split in ("train", "dev"))
    whole, trimmed = (
        setup.read(str(world.config), [f"tasks={tasks % files}", f"trim_word_embeddings={choice}"])
        for choice in ("false", "true")
    )
    assert trimmed.vocabulary.trained < whole.vocabulary.trained
    row = whole.tasks[0].train.take(np.arange(5))
    losses = []
    for made in (whole, trimmed):
        batch = pack_rows([(0, one) for one in row], [("my_classify", "classify")], made.special)
        losses.append(made.model().eval()(batch)[0].item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("family", WITHOUT_INTERFACE)
def test_families_that_cannot_be_packed_are_refused_with_the_reason(family: str) -> None:
    with pytest.raises(InputError, match=f"'{family}' never calls .* attention interface.*{list(FAMILIES)[-1]}"):
        check_family("x", family)


def test_what_a_family_does_not_have_is_refused(world: World) -> None:
    def fails(*sets: str) -> str:
        with pytest.raises(InputError) as caught:
            setup.read(str(world.config), list(sets)).model()
        return str(caught.value)

    if world.family != "xlm-roberta":  # no row is padded: its padding id may be another than the tokenizer's (E5 small)
        assert setup.read(str(world.config), ["encoder.config.pad_token_id=3"]).source.pad_token_id == 3
    assert "encoder.config: unknown key `nonsense`" in fails("encoder.config.nonsense=1")
    if world.family == "eurobert":
        assert "family 'eurobert' has no such dropout" in fails("hidden_dropout_prob=0.1")
    if world.family == "modernbert":
        assert "attention `triton` has no windows" in fails("attention=triton")
