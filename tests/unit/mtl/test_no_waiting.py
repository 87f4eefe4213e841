"""Nothing in a micro-step reads a value from the device: on a GPU the host would wait for it.

On torch's `meta` device tensors have shapes and no values, so whatever needs one (item(), a truth value, a boolean
mask, a size that depends on data) is an error.
"""

import json

import numpy as np
import pytest
import torch

from mtl.data.packing import mask_tokens, pack
from mtl.run import setup
from tests.support.small import write_run


def test_reading_a_value_would_be_seen():
    values = torch.zeros(3, device="meta")
    for read in (values.sum().item, lambda: bool(values[0] > 0), lambda: values[values > 0], values.nonzero):
        with pytest.raises((RuntimeError, NotImplementedError)):
            read()


@pytest.mark.parametrize("settings", [[], ["gradient_checkpointing=true"], ["hidden_dropout_prob=0.1"]])
@pytest.mark.parametrize("attention", ["sdpa", "padded", "block"])
@pytest.mark.parametrize("tasks", ["all", "english"])
def test_a_micro_step_reads_nothing(tmp_path, tiny_tokenizer_dir, tasks, attention, settings):
    """Forwards and backwards, with every kind of head and (without mlm) with trimmed embeddings."""
    made = setup.read(str(write_run(tmp_path, tiny_tokenizer_dir)), [*settings, f"attention={attention}"])
    if tasks == "english":
        made = setup.read(str(_without_mlm(tmp_path)), [*settings, f"attention={attention}"])
        assert made.vocabulary.ids is not None
    model = made.model().train()
    if settings == ["gradient_checkpointing=true"]:
        model.encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    items = []
    for t, task in enumerate(made.tasks):
        for number, row in enumerate(task.train.take(np.arange(3))):
            mlm = task.task.kind == "mlm"
            items.append((t, mask_tokens(row, made.special, 0.15, (1, 2, number)) if mlm else row))
    heads = list(model.kinds.items())
    model.to("meta")
    for some in (items, items[:1], []):
        loss, stats = model(pack(some, heads, made.special).to("meta"))
        loss.backward()
        assert stats.shape == (len(heads), 2) and not stats.requires_grad
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def _without_mlm(folder):
    path = folder / "small.json"
    values = json.loads(path.read_text())
    values["tasks"] = [task for task in values["tasks"] if task["kind"] != "mlm"]
    path.write_text(json.dumps(values))
    return path
