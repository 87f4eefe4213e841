"""Masked language modelling starts from the checkpoint's own LM head: two ranks' first loss is transformers' own."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM

from mtl.data import loader
from mtl.run import setup
from tests.support import masked_lm
from tests.support.launch import program
from tests.support.small import write_run, write_tasks


def test_the_first_loss_is_that_of_transformers(tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    """Beside a classification task, whose head is fresh; both ranks hold the same head, or the sum would differ."""
    encoder = masked_lm.checkpoint(tmp_path / "checkpoint", tiny_tokenizer_dir)
    tasks = [task for task in write_tasks(tmp_path) if task["kind"] in ("classify", "mlm")]
    config = write_run(
        tmp_path, tiny_tokenizer_dir, encoder=str(encoder), tasks=tasks, steps=2, log_every=1, optimizer={"lr": 1e-12},
        evaluate={"every": 2, "examples": 8}, checkpoint={"every": 2},
    )  # fmt: skip
    done = program("train.py", "--config", config, ranks=2)
    assert f"my_mlm: the head starts from the LM head of encoder {encoder}\n" in done.stdout

    made = setup.read(str(config), [])
    step = next(loader.steps_from(made.plan, 0))
    batches = loader.micro_batches(made.plan, step, step.divide(1, made.run.micro_tokens), 0, made.special)
    total, count = masked_lm.loss(encoder, batches, "my_mlm")
    assert count > 10
    lines = map(json.loads, (made.run.folder / "metrics.jsonl").read_text().splitlines())
    first = next(x for x in lines if x["kind"] == "train" and x["task"] == "my_mlm" and x["step"] == 1)
    print(f"\nfirst loss {first['loss']:.6f}, transformers {total / count:.6f}")
    assert first["loss"] == pytest.approx(total / count, rel=1e-5)

    # What leaves is the checkpoint's head, as hardly any step was made.
    own = AutoModelForMaskedLM.from_pretrained(encoder).lm_head.state_dict()
    heads = load_file(made.run.folder / "heads_last" / "heads.safetensors")
    for name in ("dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias", "bias"):
        torch.testing.assert_close(heads[f"my_mlm.{name}"], own[name], atol=1e-6, rtol=0)
