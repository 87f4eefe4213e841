"""Compiled blocks compute what the others do, for any number of tokens, with one graph; runs stay exact.

CPU: torch.compile makes C++ here, Triton on a GPU. The first compilation takes seconds, later ones come from its cache.
Under every stage, against float64: tests/distributed/test_exact.py. Other families: test_packing.py.
"""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mtl.run import setup
from tests.support.launch import program
from tests.support.live import differences, train_and_kill
from tests.support.packing import pack_rows
from tests.support.small import items_of, write_run


@pytest.fixture(autouse=True)
def fresh():
    """What was compiled before is forgotten, so that graphs can be counted."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def graphs() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_equal_to_the_others_with_one_graph(tmp_path, tiny_tokenizer_dir, checkpointing):
    """Loss and every gradient, on micro-batches from 2 tokens to all rows, with heads of no rows and of one."""
    path = str(write_run(tmp_path, tiny_tokenizer_dir, seed=3))
    made = setup.read(path, ["compile=true"])
    plain, model = (m.model().train() for m in (setup.read(path, []), made))
    assert list(model.state_dict()) == list(plain.state_dict())
    if checkpointing:
        for one in (plain, model):
            one.encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    heads = list(model.kinds.items())
    items = items_of(made, 9)
    order = np.random.default_rng(0).permutation(len(items))
    one_row = next(item for item in items if heads[item[0]][1] == "classify")
    cases = [[items[i] for i in order[:n]] for n in (20, 1, 7, len(items))] + [[], [one_row]]
    for case in cases:
        batch = pack_rows(case, heads, made.special)
        found = []
        for one in (plain, model):
            one.zero_grad()
            loss, stats = one(batch)
            loss.backward()
            found.append((loss, stats, {n: p.grad for n, p in one.named_parameters() if p.grad is not None}))
        (loss, stats, grads), (other, others_stats, others) = found
        assert other.item() == pytest.approx(loss.item(), rel=1e-5)
        torch.testing.assert_close(others_stats, stats, rtol=1e-5, atol=1e-5)
        assert grads.keys() == others.keys()
        whole = torch.stack([g.norm() for g in grads.values()]).norm()
        for name, grad in grads.items():
            assert (grad - others[name]).norm() <= 1e-5 * grad.norm() + 1e-6 * whole, (len(case), name)
        assert graphs() == 1, f"{batch.tokens} tokens"
    # Evaluation is another graph, once; going back to training is none.
    for size in (5, 2):
        with torch.no_grad():
            model.eval()(pack_rows([items[i] for i in order[:size]], heads, made.special))
        model.train()(pack_rows([items[i] for i in order[:size]], heads, made.special))[0].backward()
        assert graphs() == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_and_resumed_with_an_empty_cache_is_bitwise_identical(tmp_path, tiny_tokenizer_dir, monkeypatch):
    """With dropout, on two ranks; the resumed run compiles anew. Weights have the names of a run that does not."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        path = write_run(
            tmp_path / name, tiny_tokenizer_dir, steps=12, compile=True, hidden_dropout_prob=0.1,
            micro_tokens=320, evaluate={"every": 5, "examples": 8},
        )  # fmt: skip
        folder = tmp_path / name / "runs" / "small"
        if name == "killed":
            train_and_kill(path, folder, 4, timeout=300)
            monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache_resumed"))
        program("train.py", "--config", path, ranks=2, timeout=300)
        assert json.loads((folder / "run.json").read_text())["compile"] is True
    assert not differences(folder, tmp_path / "whole" / "runs" / "small")
    plain = setup.read(str(path), ["compile=false"]).model().encoder.state_dict()
    assert set(load_file(folder / "encoder_last" / "model.safetensors")) == set(plain)
