"""Packed hidden states are those of the stock model on a padded batch, for every family and back-end; masking.

Scores and losses of every task type: test_families.py; gradients: tests/distributed/test_exact.py.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from common.families import FAMILIES
from common.run_config import RandomEncoder
from mtl.model.encoder import encode, load_encoder
from mtl.run import setup
from tasks.encoding import Special
from tests.support import families
from tests.support.packing import mask_row, pack_rows, pack_sequences
from tests.support.small import KINDS, items_of


@pytest.mark.parametrize("backend", ["sdpa", "padded"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_equals_transformers_own_padded_run(tmp_path, family, backend):
    """Hidden states after every number of blocks equal `hidden_states` of the stock model on a padded batch.

    At all positions, and at those that are read only, in any order and some of them twice: the last block then
    computes no more than these.
    """
    torch.manual_seed(0)
    stock = AutoModel.from_config(families.config(family)).eval()
    stock.save_pretrained(tmp_path)
    ours = load_encoder(tmp_path, backend=backend)
    rows: list[int] = []
    for block in ours.family.blocks(ours):
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
                assert not layers or rows[-1] == len(read)


def test_masking(small_run):
    """The count depends on the length alone, the positions on the key; <s> and </s> are never touched."""
    made = setup.read(small_run, [])
    for row in made.tasks[KINDS.index("mlm")].train.take(np.arange(10)):
        masked, again, other = (mask_row(row, made.special, 0.15, (1, step, 3)) for step in (5, 5, 6))
        ids, before = np.asarray(masked["input_ids"]), np.asarray(row["input_ids"])
        np.testing.assert_array_equal(ids, again["input_ids"])
        assert len(masked["positions"]) == len(other["positions"]) == max(1, round(0.15 * (len(ids) - 2)))
        np.testing.assert_array_equal(masked["labels"], before[masked["positions"]])
        assert set(masked["positions"]) <= set(range(1, len(ids) - 1))
        untouched = np.setdiff1d(np.arange(len(ids)), masked["positions"])
        np.testing.assert_array_equal(ids[untouched], before[untouched])


def test_masking_shares():
    """Over many rows: 80 % <mask>, 10 % random, 10 % kept (Devlin et al. 2019)."""
    special = Special(0, 2, 1, 49_999, 50_000, (0, 1, 2, 3, 49_999), 2)
    row = {"input_ids": np.r_[0, np.arange(1000, 1400), 2], "lengths": [402]}
    counts = np.zeros(3)
    for slot in range(200):
        masked = mask_row(row, special, 0.15, (1, 0, slot))
        now = masked["input_ids"][masked["positions"]]
        hidden, kept = now == special.mask, now == masked["labels"]
        counts += [hidden.sum(), (~hidden & ~kept).sum(), kept.sum()]
    np.testing.assert_allclose(counts / counts.sum(), [0.8, 0.1, 0.1], atol=0.01)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("family", "backend"),
    [(f, b) for f in FAMILIES for b in ("varlen", "triton") if (f, b) != ("modernbert", "triton")],
)
def test_kernels_equal_sdpa(dtype, family, backend):
    shape = families.shape(family, hidden_size=256, vocab_size=90)
    encoder = load_encoder(RandomEncoder(model_type=family, config=shape, tokenizer="none"), seed=1)
    encoder = encoder.to("cuda", dtype)
    rng = np.random.default_rng(1)
    batch = pack_sequences([rng.integers(3, 90, size=n) for n in (9, 2, 31, 64, 17)], 1).to("cuda")
    with torch.no_grad():
        encoder.packed_backend = backend
        ours = encode(encoder, batch).float()
        encoder.packed_backend = "sdpa"
        reference = encode(encoder.float(), batch)
    assert (ours - reference).abs().max().item() < (0.1 if dtype == torch.bfloat16 else 0.02)


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
    items = items_of(made, 3)
    heads = list(model.kinds.items())
    model.to("meta")
    model.visits = []  # with training dynamics
    for some in (items, items[:1], []):
        loss, stats = model(pack_rows(some, heads, made.special).to("meta"))
        loss.backward()
        assert stats.shape == (len(heads), 2) and not stats.requires_grad
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    with pytest.raises(RuntimeError):  # a read would be seen
        loss.item()
