"""Packed equals alone: every example's scores are those of the example by itself, for every kind and back-end."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from common.run_config import RandomEncoder
from mtl.data.packing import batches_by_tokens, mask_tokens, pack, pack_sequences
from mtl.model import attention
from mtl.model.encoder import FAMILIES, encode, load_encoder
from mtl.run import setup
from tests.support.small import SHAPE, write_run

BACKENDS = ["sdpa", "padded", "block"]


@pytest.fixture(scope="module")
def small(tmp_path_factory, tiny_tokenizer_dir):
    made = setup.read(str(write_run(tmp_path_factory.mktemp("packing"), tiny_tokenizer_dir)), [])
    return made, made.model().eval()


def rows_of(made, count=7):
    """Rows of every task, mixed, as (task index, row)."""
    items = []
    for t, task in enumerate(made.tasks):
        for number, row in enumerate(task.train.take(np.arange(count))):
            if task.task.kind == "mlm":
                row = mask_tokens(row, made.special, 0.15, (1, 2, number))
            items.append((t, row))
    order = np.random.default_rng(0).permutation(len(items))
    return [items[i] for i in order]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_kind_packed_equals_alone(small, backend):
    made, model = small
    heads = list(model.kinds.items())
    items = rows_of(made)
    with torch.no_grad():
        model.encoder.packed_backend = backend
        together = pack(items, heads, made.special)
        scores = {name: model.scores(together, name) for name in model.kinds}
        model.encoder.packed_backend = "block"
        taken = dict.fromkeys(model.kinds, 0)
        for t, row in items:
            name = heads[t][0]
            alone = pack([(t, row)], heads, made.special)
            expected = model.scores(alone, name)
            first = taken[name]
            taken[name] += len(expected)
            difference = (scores[name][first : taken[name]] - expected).abs().max().item()
            assert difference < 1e-5, (name, difference)
    assert all(taken[name] == len(scores[name]) > 0 for name in model.kinds)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_equals_transformers_own_padded_run(tmp_path, family, backend):
    """Hidden states after every number of blocks equal `hidden_states` of the stock model on a padded batch."""
    torch.manual_seed(0)
    shape = {**SHAPE, "vocab_size": 90, "pad_token_id": 1, "hidden_dropout_prob": 0.1}
    stock = AutoModel.from_config(AutoConfig.for_model(family, **shape)).eval()
    stock.save_pretrained(tmp_path)
    ours = load_encoder(tmp_path, backend=backend)
    rng = np.random.default_rng(1)
    sequences = [rng.integers(3, 90, size=n) for n in (9, 2, 31, 9, 17, 9)]
    ids = torch.ones(len(sequences), 31, dtype=torch.long)
    for i, s in enumerate(sequences):
        ids[i, : len(s)] = torch.from_numpy(s)
    with torch.no_grad():
        states = stock(ids, attention_mask=(ids != 1).long(), output_hidden_states=True).hidden_states
        for layers, expected in enumerate(states):
            hidden = encode(ours, pack_sequences(sequences, 1), layers)
            pieces = hidden.split([len(s) for s in sequences])
            for i, piece in enumerate(pieces):
                assert (piece - expected[i, : len(piece)]).abs().max().item() < 1e-5
            # The places that are read only, in any order.
            read = encode(ours, pack_sequences(sequences, 1), layers, torch.tensor([60, 0, 11, 42]))
            places = [(4, 9), (0, 0), (2, 0), (3, 0)]
            for row, (i, token) in zip(read, places, strict=True):
                assert (row - expected[i, token]).abs().max().item() < 1e-5


def test_leaking_would_be_seen(small):
    """The comparison has teeth: a row treated as one sequence differs by far more than 1e-5."""
    made, model = small
    with torch.no_grad():
        rng = np.random.default_rng(1)
        sequences = [rng.integers(5, 90, size=n) for n in (9, 20)]
        packed = pack_sequences(sequences, made.special.pad)
        whole = attention.make_layout("sdpa", (29,), torch.tensor([0, 29], dtype=torch.int32))
        hidden = model.encoder.embeddings(input_ids=packed.input_ids, position_ids=packed.position_ids)
        for block in model.encoder.encoder.layer:
            hidden = block(hidden, None, layout=whole)
        assert (hidden[0] - encode(model.encoder, packed)).abs().max() > 1e-3


def test_gradients_of_the_back_ends_agree(small):
    made, model = small
    items = rows_of(made, 3)
    found = {}
    for backend in BACKENDS:
        model.encoder.packed_backend = backend
        model.zero_grad()
        loss, _ = model(pack(items, list(model.kinds.items()), made.special))
        loss.backward()
        found[backend] = {n: p.grad.clone() for n, p in model.named_parameters()}
    for backend in BACKENDS[1:]:
        for name, grad in found["sdpa"].items():
            scale = grad.norm().item() + 1e-3
            assert (grad - found[backend][name]).norm().item() / scale < 1e-4, name


def test_no_rows_at_all_gives_zero_gradients_everywhere(small):
    made, model = small
    model.zero_grad()
    loss, stats = model(pack([], list(model.kinds.items()), made.special))
    loss.backward()
    assert loss.item() == 0
    assert stats.abs().sum() == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters() if p.requires_grad)


def test_masking(small):
    """The count depends on the length alone, the places on the key; <s> and </s> are never touched."""
    made, _ = small
    task = made.tasks[4]
    for row in task.train.take(np.arange(10)):
        masked = mask_tokens(row, made.special, 0.15, (1, 5, 3))
        again = mask_tokens(row, made.special, 0.15, (1, 5, 3))
        other = mask_tokens(row, made.special, 0.15, (1, 6, 3))
        ids, before = np.asarray(masked["input_ids"]), np.asarray(row["input_ids"])
        np.testing.assert_array_equal(ids, again["input_ids"])
        assert len(masked["positions"]) == len(other["positions"]) == max(1, round(0.15 * (len(ids) - 2)))
        np.testing.assert_array_equal(masked["labels"], before[masked["positions"]])
        assert set(masked["positions"]) <= set(range(1, len(ids) - 1))
        untouched = np.setdiff1d(np.arange(len(ids)), masked["positions"])
        np.testing.assert_array_equal(ids[untouched], before[untouched])


def test_masking_shares():
    """Over many rows: 80 % <mask>, 10 % random, 10 % kept (Devlin et al. 2019)."""
    from mtl.data.packing import Special

    special = Special(0, 2, 1, 49_999, 50_000, (0, 1, 2, 3, 49_999))
    row = {"input_ids": np.r_[0, np.arange(1000, 1400), 2], "lengths": [402]}
    fates = np.zeros(3)
    for slot in range(200):
        masked = mask_tokens(row, special, 0.15, (1, 0, slot))
        now = masked["input_ids"][masked["positions"]]
        fates += [
            (now == 49_999).sum(),
            ((now != 49_999) & (now != masked["labels"])).sum(),
            (now == masked["labels"]).sum(),
        ]
    np.testing.assert_allclose(fates / fates.sum(), [0.8, 0.1, 0.1], atol=0.01)


def test_batches_by_tokens():
    lengths = np.array([5, 100, 7, 30, 30, 30, 2])
    groups = batches_by_tokens(lengths, 64)
    assert sorted(np.concatenate(groups).tolist()) == list(range(7))
    assert all(lengths[g].sum() <= 64 or len(g) == 1 for g in groups)


def test_auto_backend(monkeypatch):
    choose = attention.choose
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert choose(torch.device("cpu"), torch.float32, 0.0, 64) == "sdpa"
    monkeypatch.setattr(attention.importlib.util, "find_spec", lambda name: name)
    assert choose(cuda, torch.bfloat16, 0.0, 64) == "triton"
    assert choose(cuda, torch.bfloat16, 0.0, 80) == "varlen"
    assert choose(cuda, torch.bfloat16, 0.1, 64) == "padded"
    assert choose(cuda, torch.float32, 0.0, 64) == "padded"
    assert choose(cuda, torch.bfloat16, 0.0, 20) == "padded"
    monkeypatch.setattr(attention.importlib.util, "find_spec", lambda name: None)
    assert choose(cuda, torch.bfloat16, 0.0, 64) == "varlen"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert choose(cuda, torch.bfloat16, 0.0, 64) == "padded"


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["varlen", "triton"])
def test_kernels_equal_block(dtype, backend):
    encoder = load_encoder(
        RandomEncoder(config={**SHAPE, "hidden_size": 256, "vocab_size": 90}, tokenizer="none"), seed=1
    )
    encoder = encoder.to("cuda", dtype)
    rng = np.random.default_rng(1)
    batch = pack_sequences([rng.integers(3, 90, size=n) for n in (9, 2, 31, 64, 17)], 1).to("cuda")
    with torch.no_grad():
        encoder.packed_backend = backend
        ours = encode(encoder, batch).float()
        encoder.packed_backend = "block"
        reference = encode(encoder.float(), batch)
    assert (ours - reference).abs().max().item() < (0.1 if dtype == torch.bfloat16 else 0.02)
