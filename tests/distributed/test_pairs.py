"""Pairs: every query against every passage of the global batch, the same on any number of ranks and micro-steps."""

import json
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score
from torch.nn import functional as F

from mtl.model import pairs
from tests.support import exact_reference as ref
from tests.support.exact_cases import LARGE, SMALL, _case, launch
from tests.support.launch import program
from tests.support.small import SHAPE, row_of, sentence, write_run


def write_pairs(folder, count, seed):
    """Pairs of which some share a passage; the query is a part of it."""
    rng = random.Random(seed)
    passages = [sentence(rng, 6, 12) for _ in range(count * 2 // 3)]
    rows = []
    for number in range(count):
        passage = passages[number % len(passages)]
        rows.append({"query": " ".join(rng.sample(passage.split(), 3)), "passage": passage})
    folder.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_tokenizer_dir):
    folder = tmp_path_factory.mktemp("pairs")
    rng = random.Random(5)
    for split, count in (("train", 40), ("dev", 11)):
        rows = [json.dumps(row_of("classify", rng)) for _ in range(count)]
        (folder / f"classify.{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    tasks = [
        {
            "name": "my_classify", "kind": "classify", "labels": ["no", "yes"],
            "train": str(folder / "classify.train.jsonl"), "dev": str(folder / "classify.dev.jsonl"),
        },
        {
            "name": "my_pair", "kind": "pair",
            "train": write_pairs(folder / "pair.train.jsonl", 50, 1),
            "dev": write_pairs(folder / "pair.dev.jsonl", 12, 2),
        },
    ]  # fmt: skip
    return write_run(
        folder, tiny_tokenizer_dir, tasks=tasks, seed=3, batch={"examples": 16}, steps=ref.STEPS,
        encoder={"config": {**SHAPE, "initializer_range": 0.2}, "tokenizer": str(tiny_tokenizer_dir)},
        optimizer={
            "lr": ref.LR, "head_lr": ref.HEAD_LR, "eps": ref.EPS, "weight_decay": ref.DECAY, "warmup": 2,
            "clip": ref.CLIP,
        },
    )  # fmt: skip


CASES = {
    "stage0-mixed-1": _case(0, "mixed", SMALL, 1), "stage1-mixed-3": _case(1, "mixed", SMALL, 3),
    "stage2-mixed-2": _case(2, "mixed", LARGE, 2), "stage2-by_task-3": _case(2, "by_task", SMALL, 3),
}  # fmt: skip


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_step_equals_one_float64_process(config, ranks):
    """In-batch negatives are those of the whole global batch, so gradients do not depend on how it is divided."""
    folder = launch(ranks, config, {name: {**case, "moments": []} for name, case in CASES.items()}, timeout=200)
    for name in CASES:
        found = torch.load(folder / f"{name}.pt", weights_only=False)
        reference = ref.Reference(config, [f"mixture.batches={'by_task' if 'by_task' in name else 'mixed'}"])
        run = reference.train()
        for number, (grads, weights) in enumerate(zip(found["grads"], found["weights"], strict=False)):
            expected = reference.gradients(number, weights)
            whole = torch.stack([g.norm() for g in expected.values()]).norm()
            for parameter, grad in grads.items():
                if parameter not in expected:
                    assert not grad.any(), (name, number, parameter)
                    continue
                far = (grad.double() - expected[parameter]).norm()
                if parameter.endswith(("self.key.bias", "logit_scale")):
                    # 0 by construction; a sum of cosines of both signs, nearly 0 beside its terms
                    assert far < 1e-6 * whole, (name, number, parameter, far)
                else:
                    assert far < 1e-5 * expected[parameter].norm(), (name, number, parameter, far)
        last = found["weights"][-1]
        assert max(float((last[n].double() - w).abs().max()) for n, w in run.weights[-1].items()) < 0.02 * ref.LR * 5


@pytest.mark.slow
def test_dev_scores_do_not_depend_on_the_ranks(config, tmp_path):
    lines = {}
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        sets = [a for value in (f"output={folder}", "evaluate.every=5") for a in ("--set", value)]
        program("train.py", "--config", config, *sets, ranks=ranks)
        found = map(json.loads, (folder / "small" / "metrics.jsonl").read_text().splitlines())
        lines[ranks] = [line for line in found if line["kind"] == "dev" and line["task"] == "my_pair"]
    for one, two in zip(lines[1], lines[2], strict=True):
        assert one.keys() >= {"map@20", "accuracy", "loss", "majority"}
        assert one.keys() == two.keys()
        for key in ("loss", "accuracy", "map@20", "majority", "examples"):
            assert two[key] == pytest.approx(one[key], rel=1e-3), key
    assert lines[1]


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_gradients_equal_autograd_through_everything(count, seed):
    """The cached gradients, attached in two parts, give the gradient of the plain loss of all vectors."""
    torch.manual_seed(seed)
    raw = torch.randn(count, 2, 6, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    keys = torch.randint(0, 4, (count,))
    vectors = F.normalize(raw, dim=2)
    total = 0
    for i in range(count):
        seen = [j for j in range(count) if j == i or keys[j] != keys[i]]
        scores = scale * (vectors[i, 0] @ vectors[seen, 1].T)
        total = total - torch.log_softmax(scores, 0)[seen.index(i)]
    expected = torch.autograd.grad(total, (raw, scale))
    by_vector, by_scale, units = pairs.gradients(pairs.Gathered(vectors.detach(), keys), scale)
    assert torch.allclose(units[:, 0].sum().double(), total.detach(), rtol=1e-5)
    assert torch.allclose(by_scale.double(), expected[1], rtol=1e-4, atol=1e-4)
    found = torch.autograd.grad((F.normalize(raw, dim=2) * by_vector).sum(), raw)[0]
    assert torch.allclose(found, expected[0], rtol=1e-4, atol=1e-5)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_average_precision_is_scikit_learns(count, seed):
    rng = np.random.default_rng(seed)
    queries, texts = rng.normal(size=(count, 5)), rng.normal(size=(count, 5))
    keys = rng.integers(0, count, size=count)
    texts = texts[keys]  # the same key, the same text
    pool = texts[np.sort(np.unique(keys, return_index=True)[1])]
    pool_keys = keys[np.sort(np.unique(keys, return_index=True)[1])]
    found = pairs.average_precision(*(torch.from_numpy(x) for x in (queries, texts, keys)), k=count)
    wanted = [
        label_ranking_average_precision_score((pool_keys == key)[None], (query @ pool.T)[None])
        for query, key in zip(queries, keys, strict=True)
    ]
    assert found.numpy() == pytest.approx(wanted)
