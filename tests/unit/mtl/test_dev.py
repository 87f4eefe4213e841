"""Dev evaluation: the same metrics for any number of ranks, equal to a count by hand."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mtl.evaluation.dev import DevEvaluation, mean_score
from mtl.model.encoder import encode
from mtl.run import setup
from tests.support.packing import pack_rows
from tests.support.small import ALL, write_run, write_tasks


@pytest.fixture(scope="module")
def small(tmp_path_factory, tiny_tokenizer_dir):
    folder = tmp_path_factory.mktemp("dev")
    made = setup.read(str(write_run(folder, tiny_tokenizer_dir, tasks=write_tasks(folder, kinds=ALL))), [])
    model = made.model()
    with torch.no_grad():  # make answers differ between examples
        for parameter in model.heads.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    return made, model


def scores_of(made, model, ranks):
    """The evaluation on `ranks` ranks, each a thread here: what rank 0 found."""
    barrier, parts = threading.Barrier(ranks, timeout=60), [torch.zeros(0)] * ranks

    def run(rank):
        def add_up(mine):
            parts[rank] = mine
            barrier.wait()
            total = sum(parts)
            barrier.wait()
            return total

        return DevEvaluation(made.plan, made.special, rank, ranks, add_up, lambda: False).run(model)

    with ThreadPoolExecutor(ranks) as pool:
        return next(iter(pool.map(run, range(ranks))))


def test_metrics_do_not_depend_on_the_number_of_ranks(small):
    made, model = small
    one = scores_of(made, model, 1)
    assert model.training
    for ranks in (2, 3, 11):
        found = scores_of(made, model, ranks)
        assert list(found) == list(one)
        assert all(metrics == pytest.approx(found[task], abs=1e-6) for task, metrics in one.items())
    assert list(one) == [f"my_{k}" for k in ALL]
    assert {"map@20", "accuracy", "loss", "majority"} <= set(one[f"my_{ALL[-1]}"])
    for name, metrics in one.items():
        assert metrics["low"] <= metrics["score"] <= metrics["high"] and metrics["low"] < metrics["high"], name
    assert mean_score(one) == pytest.approx(np.mean([metrics["score"] for metrics in one.values()]))


def test_constant_predictions_have_no_correlation(small):
    made, model = small
    weight = model.head("my_regress").out_proj.weight
    with torch.no_grad():
        before = weight.clone()
        weight.zero_()
        found = scores_of(made, model, 3)["my_regress"]
        weight.copy_(before)
    assert found["pearson"] == found["spearman"] == 0 and "accuracy" not in found


def test_metrics_equal_a_count_by_hand(small):
    """Every chosen example alone, in eval mode; 8 of 11 examples, evenly spaced."""
    made, model = small
    found = scores_of(made, model, 2)
    chosen = np.arange(8) * 11 // 8
    heads = list(model.kinds.items())
    model.eval()
    for t, task in enumerate(made.tasks):
        if task.task.kind not in ("classify", "choice", "tag"):
            continue
        right, labels = 0, []
        for row in task.dev.take(np.flatnonzero(np.isin(task.dev.example, chosen))):
            batch = pack_rows([(t, row)], heads, made.special)
            with torch.no_grad():
                hidden = encode(model.encoder, batch, tokens=batch.heads[task.name].tokens)
                scores = model.head(task.name)(hidden, model.encoder)
            gold = np.atleast_1d(row["label"] if "label" in row else row["labels"])
            right += int((scores.argmax(-1).reshape(-1).numpy() == gold).sum())
            labels += gold.tolist()
        assert found[task.name]["accuracy"] == pytest.approx(right / len(labels))
        assert found[task.name]["majority"] == pytest.approx(max(np.bincount(labels)) / len(labels))
