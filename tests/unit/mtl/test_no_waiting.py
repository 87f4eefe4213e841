"""Nothing in a micro-step reads a value from the device: on a GPU the host would wait for it.

On torch's `meta` device tensors have shapes and no values, so whatever needs one (item(), a truth value, a boolean
mask, a size that depends on data) is an error.
"""

import json

import pytest

from mtl.run import setup
from tests.support.packing import pack_rows
from tests.support.small import items_of, write_run


@pytest.mark.parametrize(
    ("trimmed", "settings"),
    [
        (False, ["attention=sdpa"]),
        (True, ["attention=sdpa", "gradient_checkpointing=true"]),
        (False, ["attention=padded", "hidden_dropout_prob=0.1"]),
    ],
)
def test_a_micro_step_reads_nothing(tmp_path, tiny_tokenizer_dir, trimmed, settings):
    """Forwards and backwards, with every kind of head; embeddings are trimmed where there is no mlm."""
    path = write_run(tmp_path, tiny_tokenizer_dir)
    if trimmed:
        values = json.loads(path.read_text())
        values["tasks"] = [task for task in values["tasks"] if task["kind"] != "mlm"]
        path.write_text(json.dumps(values))
    made = setup.read(str(path), settings)
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
