"""Compiled blocks compute what the others do, for any number of tokens, with one graph; runs stay exact.

CPU: torch.compile makes C++ here, Triton on a GPU. The first compilation takes seconds, later ones come from its cache.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel

from mtl.data.packing import mask_tokens, pack, pack_sequences
from mtl.model import dropout
from mtl.model.compiled import Compiled
from mtl.model.encoder import FAMILIES, encode, load_encoder
from mtl.run import setup
from tests.support import exact_reference as ref
from tests.support.exact_cases import distance, launch, write_config
from tests.support.launch import deepspeed, train_and_kill
from tests.support.small import SHAPE, write_run


@pytest.fixture(autouse=True)
def fresh():
    """What was compiled before is forgotten, so that graphs can be counted."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def graphs() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_equal_to_the_others_with_one_graph(tmp_path, tiny_tokenizer_dir, checkpointing):
    """Loss and every gradient, on micro-batches from 2 tokens to all rows, with heads of no rows and of one."""
    path = str(write_run(tmp_path, tiny_tokenizer_dir, seed=3))
    plain = setup.read(path, []).model().train()
    made = setup.read(path, ["compile=true"])
    model = made.model().train()
    assert list(model.state_dict()) == list(plain.state_dict())
    if checkpointing:
        for one in (plain, model):
            one.encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    heads = list(model.kinds.items())
    items = []
    for t, task in enumerate(made.tasks):
        for number, row in enumerate(task.train.take(np.arange(9))):
            kind = task.task.kind
            items.append((t, mask_tokens(row, made.special, 0.15, (1, 2, number)) if kind == "mlm" else row))
    order = np.random.default_rng(0).permutation(len(items))
    one_row = next(item for item in items if heads[item[0]][1] == "classify")
    cases = [[items[i] for i in order[:n]] for n in (20, 1, 3, 7, len(items))] + [[], [one_row]]
    sizes = set()
    for case in cases:
        batch = pack(case, heads, made.special)
        sizes.add(batch.tokens)
        found = []
        for one in (plain, model):
            one.zero_grad()
            loss, stats = one(batch)
            loss.backward()
            found.append((loss, stats, {n: p.grad for n, p in one.named_parameters()}))
        (loss, stats, grads), (other, others_stats, others) = found
        assert other.item() == pytest.approx(loss.item(), rel=1e-5)
        torch.testing.assert_close(others_stats, stats, rtol=1e-5, atol=1e-5)
        whole = torch.stack([g.norm() for g in grads.values() if g is not None]).norm()
        for name, grad in grads.items():
            assert (grad is None) == (others[name] is None), name
            if grad is not None:
                assert (grad - others[name]).norm() <= 1e-5 * grad.norm() + 1e-6 * whole, (len(case), name)
        assert graphs() == 1, f"{batch.tokens} tokens"
    assert len(sizes) == len(cases) and 2 in sizes
    # Evaluation is another graph, once; going back to training is none.
    for size in (5, 2):
        with torch.no_grad():
            model.eval()(pack([items[i] for i in order[:size]], heads, made.special))
        model.train()(pack([items[i] for i in order[:size]], heads, made.special))[0].backward()
        assert graphs() == 2


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(tmp_path, family):
    """Hidden states after every number of blocks, at all places and at some (as tests/unit/mtl/test_packing.py)."""
    torch.manual_seed(0)
    shape = {**SHAPE, "vocab_size": 90, "pad_token_id": 1}
    AutoModel.from_config(AutoConfig.for_model(family, **shape)).save_pretrained(tmp_path)
    plain, compiled = load_encoder(tmp_path), load_encoder(tmp_path, compiled=True)
    rng = np.random.default_rng(1)
    for count in (6, 1, 11):
        batch = pack_sequences([rng.integers(3, 90, size=n) for n in rng.integers(2, 40, size=count)], 1)
        with torch.no_grad():
            for layers in range(SHAPE["num_hidden_layers"] + 1):
                for places in (None, torch.tensor([1]), torch.tensor([1, 0]), torch.tensor([], dtype=torch.long)):
                    expected, found = (encode(e, batch, layers, places) for e in (plain, compiled))
                    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert graphs() == 1


class Stub(nn.Module):
    """A block whose part behind attention is nothing but dropout of rate `p`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.attention = nn.Module()
        self.attention.output = Stub.Output()
        self.attention.output.dropout = dropout.Dropout(p)

    class Output(nn.Module):
        def forward(self, context, hidden):
            return self.dropout(context) + hidden

    def feed_forward_chunk(self, x):
        return x


def test_dropout_has_its_rate_and_follows_the_seed():
    run, block = Compiled(), Stub(0.1).train()
    context, nothing = torch.ones(1, 4000, 64), torch.zeros(1, 4000, 64)
    torch.manual_seed(1)
    run.ready(block, nothing)  # must not draw from the generator
    first = run(block, context, nothing)
    n = first.numel()
    dropped = (first == 0).double().mean().item()
    assert abs(dropped - 0.1) < 5 * (0.1 * 0.9 / n) ** 0.5
    assert torch.allclose(first[first != 0], torch.tensor(1 / 0.9))
    for seed, same in ((1, True), (2, False)):
        torch.manual_seed(seed)
        assert torch.equal(run(block, context, nothing), first) == same
    assert not torch.equal(run(block, context, nothing), run(block, context, nothing))  # the next block's mask
    assert torch.equal(run(block.eval(), context, nothing), context)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_ranks_equal_one_float64_process(tmp_path, tiny_tokenizer_dir):
    """Under every stage, as tests/distributed/test_exact.py demands of the others; ranks without rows among them."""
    config = write_config(tmp_path, tiny_tokenizer_dir)
    cases = {
        f"stage{stage}-{batches}-{more}": {
            "ds": {"zero_optimization": {"stage": stage}},
            "set": [f"mixture.batches={batches}", "compile=true", f"gradient_checkpointing={more}"],
            "micro_steps": micro, "moments": [0, 1],
        }
        for stage, batches, more, micro in (
            (0, "mixed", "false", 2), (1, "by_task", "false", 3), (2, "mixed", "true", 3), (2, "by_task", "false", 1),
        )
    }  # fmt: skip
    folder = launch(2, config, cases, timeout=800)
    for name in cases:
        reference = ref.Reference(config, [f"mixture.batches={'by_task' if 'by_task' in name else 'mixed'}"])
        far = distance(torch.load(folder / f"{name}.pt", weights_only=False), reference, reference.train())
        assert far.gradient < 1e-5 and far.zero < 1e-6 and far.norm < 2e-5 and far.moment < 1e-4, (name, far)
        assert far.weight < 0.02, (name, far)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_runs_repeat_and_resume_to_the_bit(tmp_path, tiny_tokenizer_dir, monkeypatch):
    """With dropout: twice the same, and killed and resumed, each with an empty cache of compiled code."""
    outputs = []
    for name in ("whole", "again", "killed"):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / f"cache_{name}"))
        (tmp_path / name).mkdir()
        path = write_run(
            tmp_path / name, tiny_tokenizer_dir, steps=12, compile=True, hidden_dropout_prob=0.1,
            micro_tokens=320, evaluate={"every": 5, "examples": 8},
        )  # fmt: skip
        folder = tmp_path / name / "runs" / "small"
        if name == "killed":
            train_and_kill(path, folder, 4, timeout=300)
            monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache_resumed"))
        deepspeed(2, "train.py", "--config", path, timeout=300)
        outputs.append(folder)
        assert json.loads((folder / "run.json").read_text())["compile"] is True
    whole, *others = (weights(folder) for folder in outputs)
    assert not any("_orig_mod" in name for name in whole)
    plain = write_run(tmp_path, tiny_tokenizer_dir, steps=12)
    expected = setup.read(str(plain), []).model().encoder.state_dict()
    assert set(load_file(outputs[0] / "encoder_last" / "model.safetensors")) == set(expected)
    for other in others:
        assert other.keys() == whole.keys()
        assert all(torch.equal(other[name], value) for name, value in whole.items())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{part}/{name}": value
        for part in ("encoder_last/model", "heads_last/heads")
        for name, value in load_file(folder / f"{part}.safetensors").items()
    }
