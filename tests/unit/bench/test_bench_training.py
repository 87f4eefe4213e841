"""bench.gpu runs from end to end, here on CPU ranks; contestants compute the same; FLOPs are those of torch."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench import flops, gpu, train
from bench.contestants.padded_model import Flat, Padded, padded_losses
from bench.contestants.reference_losses import packed_losses
from bench.workload import training
from mtl.model.encoder import encode
from mtl.run import setup
from tests.support import families, masked_lm
from tests.support.packing import pack_rows
from tests.support.small import items_of
from tests.support.tokenizers_by_style import OF_FAMILY, STYLES


@pytest.mark.parametrize("family", ["xlm-roberta", *families.NEW])
def test_contestants_compute_the_same(tmp_path, family):
    """The models of the baselines have the losses of ours, and FLOPs are those that torch counts.

    From an encoder's folder too, of any family, with whole words of its tokenizer; for BERT with token types.
    """
    encoder = None
    if family != "xlm-roberta":
        tokenizer = STYLES[OF_FAMILY[family]](tmp_path / "tokenizer")
        sizes = {"pad_token_id": 0, "type_vocab_size": 2, "max_position_embeddings": 258}
        encoder = masked_lm.checkpoint(tmp_path / family, tokenizer, family=family, **sizes)
    config = training.write(
        tmp_path, "tiny", rows=20, seed=1, vocabulary=2000, max_length=256, encoder=encoder, steps=10,
        batch={"examples": 4},
    )  # fmt: skip
    run = setup.read(str(config), train.ALL_EMBEDDINGS)
    model, cpu = run.model(), torch.device("cpu")
    ours = packed_losses(run, model, cpu)
    assert list(ours) == run.names
    assert run.special.token_types == (family == "bert")
    for theirs in (Padded, Flat):
        train.check_losses(ours, padded_losses(run, theirs(run, model), cpu, bf16=False), theirs.__name__)

    batch = pack_rows(items_of(run, 4), [(task.name, task.task.kind) for task in run.tasks], run.special)
    read = torch.cat([rows.tokens for rows in batch.heads.values()])
    assert 0 < len(read) < batch.tokens
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        encode(model.encoder.train(), batch, tokens=read).sum().backward()
    shape = replace(flops.shape_of(run.source), window=None)  # SDPA with a mask computes what is outside a window, too
    assert flops._near(9, 4) == sum(abs(i - j) < 4 for i in range(9) for j in range(9))
    # The others' attention ends with its projection, of tokens that no head reads as well.
    needless = 6 * shape.width**2 * (batch.tokens - len(read)) * (family not in ("xlm-roberta", "bert"))
    assert counter.get_total_flops() == flops.of_batch(shape, batch) + needless


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A variant switched in place and the Trainer, with and without padding, each against the default."""
    path = tmp_path / "out.json"
    size = ["--shape", "tiny", "--vocabulary", "2000", "--tokens", "2500", "--rows", "4", "--ranks", "2"]
    size += ["--only", "checkpointing", "--json", str(path)]
    gpu.main([*size, "--rounds", "1", "--steps", "1", "--only", "trainer_grouped", "--only", "trainer_flat"])
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert list(rows) == ["default", "checkpointing", "trainer_grouped", "trainer_flat"]
    for name, row in rows.items():
        assert row["status"] == "ok", (name, row)
        assert row["tokens_per_second"] > 0 and len(row["rounds"]) == 1
        assert row["mfu"] is None and row["idle"] is None  # measured on a GPU only
        assert all(abs(row["losses"][task] / loss - 1) < 1e-3 for task, loss in rows["default"]["losses"].items())
    assert rows["checkpointing"]["against"] == "default" and len(rows["checkpointing"]["ratios"]) == 1
    assert "| checkpointing | " in capsys.readouterr().out
