"""Every encoder family computes what transformers' own classes do: heads, losses, exports, hidden states; masking.

Gradients: tests/distributed/test_exact.py.
"""

import json
from copy import deepcopy
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
from common.families import FAMILIES
from common.run_config import RandomEncoder
from eval.export import export
from mtl.model.encoder import MultiTaskModel, encode, load_encoder
from mtl.model.families import fresh_head
from mtl.run import export as exports
from mtl.run import setup
from tasks.encoding import Special
from tests.support import families
from tests.support.packing import mask_row, pack_rows, pack_sequences
from tests.support.rows import fails
from tests.support.small import ALL, items_of, write_run, write_tasks
from tests.support.tokenizers_by_style import OF_FAMILY, STYLES

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
    path = write_run(folder, tokenizer, tasks=write_tasks(folder, kinds=ALL), encoder=encoder)
    made = setup.read(str(path), [])
    model = made.model()
    torch.manual_seed(0)
    with torch.no_grad():  # fresh biases are 0, norms 1: make them matter
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    weights = {name: p.detach() for name, p in model.named_parameters()}
    exports.export_encoder(folder / "out" / "encoder", weights, made.source, made.tokenizer, "")
    exports.export_heads(folder / "out" / "heads", weights, made.source, made.tasks)
    return World(family, path, made, model.eval(), folder / "out")


def rows_of(world: World, kind: str, count: int = 6) -> list[dict[str, Any]]:
    return world.made.tasks[ALL.index(kind)].train.take(np.arange(count))


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


def of_transformers(model: Any, kind: str, row: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """(summed unit losses, scores of what our head reads) of one row by the class that was exported to."""
    parts = pieces(row)
    if kind == "choice":
        logits = torch.cat([model(**{k: v[None] for k, v in part.items()}).logits[0] for part in parts])
        return F.cross_entropy(logits[None], torch.tensor([int(row["label"])])), logits
    if kind == "span":
        sides = {"start_positions": torch.tensor([int(row["start"])]), "end_positions": torch.tensor([int(row["end"])])}
        out = model(**parts[0], **sides)
        return out.loss, torch.stack([out.start_logits[0], out.end_logits[0]], -1)
    if kind in ("tag", "mlm"):
        labels = torch.full_like(parts[0]["input_ids"], -100)
        labels[0, row["positions"]] = torch.from_numpy(np.asarray(row["labels"], dtype=np.int64))
        out = model(**parts[0], labels=labels)
        return out.loss * len(row["positions"]), out.logits[0, row["positions"]]
    dtype = torch.float32 if kind == "regress" else torch.int64
    out = model(**parts[0], labels=torch.tensor([row["label"]], dtype=dtype))
    return out.loss, out.logits


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
    scores = torch.cat([scores for _, scores in expected])
    assert (ours - scores).abs().max().item() < 1e-5 * max(1, scores.abs().max().item())
    assert total.item() == pytest.approx(sum(float(loss) for loss, _ in expected), rel=1e-5)
    assert stats[index, 0].item() == pytest.approx(total.item())  # and what is right: test_dev.py


def test_a_label_unknown_to_training_costs_nothing_and_is_never_right(world: World) -> None:
    index, row = ALL.index("tag"), rows_of(world, "tag", 1)[0]
    heads, model, found = list(world.model.kinds.items()), deepcopy(world.model).double(), []
    for labels in ([1], [1, -1]):
        one = {**row, "positions": row["positions"][: len(labels)], "labels": np.array(labels)}
        with torch.no_grad():
            found.append(model(pack_rows([(index, one)], heads, world.made.special))[1][index].tolist())
    assert found[0] == pytest.approx(found[1])


def test_vectors_of_pairs_and_the_reloaded_encoder(world: World) -> None:
    """By the pooler where there is one, else by the first token; or as `pooling` says. The encoder is `AutoModel`'s."""
    options = world.model.encoder.family.options
    stock = transformers.AutoModel.from_pretrained(world.folder / "encoder", **options).eval()
    rows = rows_of(world, "pair")
    with torch.no_grad():
        outs = [stock(**part) for row in rows for part in pieces(row)]
    states = [out.last_hidden_state for out in outs]
    wanted = {"first": [one[:, 0] for one in states], "mean": [one.mean(1) for one in states]}
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


def test_trimmed_embeddings_change_nothing(world: World) -> None:
    task = f"tasks={json.dumps(json.loads(world.config.read_text())['tasks'][:1])}"  # my_classify
    whole, trimmed = (setup.read(str(world.config), [task, f"trim_word_embeddings={x}"]) for x in ("false", "true"))
    assert trimmed.vocabulary.trained < whole.vocabulary.trained
    items, heads = items_of(whole, 5), [("my_classify", "classify")]
    losses = [made.model().eval()(pack_rows(items, heads, made.special))[0].item() for made in (whole, trimmed)]
    assert losses[0] == losses[1]


def test_padding_and_dropout_are_the_familys_own(world: World) -> None:
    def model(change: str) -> Any:
        return setup.read(str(world.config), [change]).model()

    if world.family != "xlm-roberta":  # no row is padded: its padding id may be another than the tokenizer's (E5 small)
        assert setup.read(str(world.config), ["encoder.config.pad_token_id=3"]).source.pad_token_id == 3
    fails(lambda: model("encoder.config.nonsense=1"), "encoder.config: unknown key `nonsense`")
    if world.family == "eurobert":
        fails(lambda: model("hidden_dropout_prob=0.1"), "family 'eurobert' has no such dropout")
        return
    encoder = model("hidden_dropout_prob=0.3").encoder
    rates = [part.p for name, part in encoder.named_modules() if "dropout" in name.lower() or name.endswith(".drop")]
    assert rates.count(0.3) > len(encoder.family.blocks(encoder)) and set(rates) <= {0.0, 0.3}


# Packed hidden states are those of the stock model on a padded batch, for every back-end


@pytest.mark.parametrize(
    ("family", "backend", "compiled"),
    [
        *((family, backend, False) for family in FAMILIES for backend in ("sdpa", "padded")),
        *(pytest.param(f, "sdpa", True, marks=pytest.mark.slow) for f in ("xlm-roberta-xl", *families.NEW)),
    ],
)
def test_every_family_equals_transformers_own_padded_run(tmp_path, family, backend, compiled):
    """Hidden states after every number of blocks equal `hidden_states` of the stock model on a padded batch.

    At all positions, and at those that are read only, in any order and some of them twice: the last block then
    computes no more than these. Compiled blocks of families whose norms stand elsewhere: one graph for all of it.
    """
    torch.manual_seed(0)
    stock = transformers.AutoModel.from_config(families.config(family)).eval()
    stock.save_pretrained(tmp_path)
    ours, graphs = load_encoder(tmp_path, backend=backend, compiled=compiled), torch._dynamo.utils.counters["stats"]
    rows, before = [], graphs["unique_graphs"]
    for block in ours.family.blocks(ours) if not compiled else ():
        mlp = block.mlp if hasattr(block, "mlp") else block.intermediate
        mlp.register_forward_hook(lambda _, args, out: rows.append(out.shape[1]))
    rng = np.random.default_rng(1)
    sequences = [rng.integers(3, 90, size=n) for n in (9, 2, 31, 9, 17, 9, 1)]
    ids = torch.ones(len(sequences), 31, dtype=torch.long)
    for i, s in enumerate(sequences):
        ids[i, : len(s)] = torch.from_numpy(s)
    batch = pack_sequences(sequences, ours.family.first_position(ours.config) - 1)
    with torch.no_grad():
        states = stock(ids, attention_mask=(ids != 1).long(), output_hidden_states=True).hidden_states
        for layers, expected in enumerate(states):
            expected = torch.cat([expected[i, : len(s)] for i, s in enumerate(sequences)])
            close = {"atol": 1e-5 * expected.abs().max().item(), "rtol": 0}
            torch.testing.assert_close(encode(ours, batch, layers), expected, **close)
            for read in (batch.cu_seqlens[:-1].long(), torch.tensor([60, 0, 11, 42, 0])):
                found = encode(ours, batch, layers, read)
                torch.testing.assert_close(found, expected[read], **close)
                assert not layers or compiled or rows[-1] == len(read)
    assert graphs["unique_graphs"] - before == compiled


def test_masking():
    """80 % <mask>, 10 % random, 10 % kept (Devlin et al. 2019). The count depends on the length alone, the positions on

    the key; <s> and </s> are never touched.
    """
    special = Special(0, 2, 1, 49_999, 50_000, (0, 1, 2, 3, 49_999), 2)
    before = np.r_[0, np.arange(1000, 1400), 2]
    counts, seen = np.zeros(3), set()
    for slot in range(200):
        masked, again = (mask_row({"input_ids": before, "lengths": [402]}, special, 0.15, (1, 0, slot)) for _ in "ab")
        ids, positions = masked["input_ids"], masked["positions"]
        assert np.array_equal(ids, again["input_ids"]) and len(positions) == 60
        seen.add(tuple(positions.tolist()))
        untouched = np.setdiff1d(np.arange(402), positions)
        assert {0, 401} <= set(untouched) and np.array_equal(ids[untouched], before[untouched])
        assert np.array_equal(masked["labels"], before[positions])
        hidden, kept = ids[positions] == special.mask, ids[positions] == masked["labels"]
        counts += [hidden.sum(), (~hidden & ~kept).sum(), kept.sum()]
    np.testing.assert_allclose(counts / counts.sum(), [0.8, 0.1, 0.1], atol=0.01)
    assert len(seen) == 200


KERNELS = [(f, b) for f in FAMILIES for b in ("varlen", "triton") if (f, b) != ("modernbert", "triton")]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("family", "backend", "device"),
    [(f, "padded", "cpu") for f in FAMILIES] + [pytest.param(*k, "cuda", marks=pytest.mark.gpu) for k in KERNELS],
)
def test_half_precision_equals_sdpa_in_float32(dtype, family, backend, device):
    """To half an eps for each time that the residual stream is rounded: embedded, twice in a block, at the end."""
    shape = families.shape(family, hidden_size=256, vocab_size=90, initializer_range=0.05, **families.IDS)
    encoder = load_encoder(RandomEncoder(model_type=family, config=shape, tokenizer="none"), seed=1).to(device, dtype)
    rng = np.random.default_rng(1)
    batch = pack_sequences([rng.integers(3, 90, size=n) for n in (9, 2, 31, 64, 17)], 1).to(device)
    with torch.no_grad():
        encoder.packed_backend = backend
        ours = encode(encoder, batch).float()
        encoder.packed_backend = "sdpa"
        reference = encode(encoder.float(), batch)
    bound = (encoder.config.num_hidden_layers + 1) * torch.finfo(dtype).eps
    assert (ours - reference).norm() < bound * reference.norm()


# Nothing in a micro-step reads a value from the device: on a GPU the host would wait for it
#
# On torch's `meta` device tensors have shapes and no values, so whatever needs one (item(), a truth value, a boolean
# mask, a size that depends on data) is an error.


@pytest.mark.parametrize(
    ("trimmed", "settings"),
    [
        (False, ["attention=sdpa"]),
        (True, ["attention=sdpa", "gradient_checkpointing=true"]),
        (False, ["attention=padded", "hidden_dropout_prob=0.1"]),
    ],
)
def test_a_micro_step_reads_nothing(small_run, trimmed, settings):
    """Forwards and backwards, with every kind of head; embeddings are trimmed where there is no mlm."""
    if trimmed:
        tasks = json.loads(Path(small_run).read_text())["tasks"]
        settings = [*settings, "tasks=" + json.dumps([task for task in tasks if task["kind"] != "mlm"])]
    made = setup.read(small_run, settings)
    assert (made.vocabulary.ids is not None) == trimmed
    model = made.model().train()
    if "gradient_checkpointing=true" in settings:
        model.encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    calls: list[Any] = []
    linear = next(part for part in model.encoder.encoder.layer[0].modules() if isinstance(part, torch.nn.Linear))
    linear.register_forward_hook(lambda *_: calls.append(1))
    items = items_of(made, 3)
    heads = list(model.kinds.items())
    model.to("meta")
    model.visits = []  # with training dynamics
    for some in (items, items[:1], []):
        loss, stats = model(pack_rows(some, heads, made.special).to("meta"))
        loss.backward()
        assert stats.shape == (len(heads), 2) and not stats.requires_grad
    assert len(calls) == 3 * (2 if "gradient_checkpointing=true" in settings else 1)
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    with pytest.raises(RuntimeError):  # a read would be seen
        loss.item()
