"""The plan: how a global step is divided, and the weights of its loss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from mtl.data import loader
from mtl.data.plan import Step
from mtl.run import setup
from tests.support.small import write_run


def step_of(lengths):
    n = len(lengths)
    zeros = np.zeros(n, dtype=np.int64)
    count = np.array([n])
    return Step(0, zeros, zeros, np.array(lengths, dtype=np.int64), count, count, np.array([1.0 / n]), count)


@given(
    lengths=st.lists(st.integers(2, 300), min_size=1, max_size=60),
    ranks=st.integers(1, 9),
    capacity=st.integers(300, 2000),
)
def test_every_example_goes_to_one_rank_and_fits(lengths, ranks, capacity):
    step = step_of(lengths)
    shares = step.divide(ranks, capacity)
    assert all(len(row) == ranks for row in shares)
    assert sorted(np.concatenate([p for row in shares for p in row]).tolist()) == list(range(len(lengths)))
    assert all(step.length[p].sum() <= capacity for row in shares for p in row)


@given(lengths=st.lists(st.integers(2, 300), min_size=1, max_size=300), ranks=st.integers(1, 64))
def test_the_longest_go_first_each_to_the_emptiest_rank(lengths, ranks):
    """Graham's rule written out, for few ranks and for more than are filled by whole rounds."""
    step, loads = step_of(lengths), [0] * ranks
    for length in sorted(lengths, reverse=True):
        loads[loads.index(min(loads))] += length
    divided = step.divide(ranks, 10**6)
    assert step.loads(divided).tolist() == [sorted(loads, reverse=True)]
    assert step.loads(divided).tolist() == [[int(step.length[p].sum()) for p in divided[0]]]


@pytest.fixture(scope="module")
def small(tmp_path_factory, tiny_tokenizer_dir):
    return str(write_run(tmp_path_factory.mktemp("plan"), tiny_tokenizer_dir))


@pytest.mark.parametrize("batches", ["mixed", "by_task"])
def test_weights_follow_the_definition(small, batches):
    """lambda_t * (n_t / N) * mean over t's units, counted again from the rows themselves."""
    made = setup.read(small, [f"mixture.batches={batches}", "tasks.my_tag.loss_weight=3"])
    seen = set()
    for step in loader.steps_from(made.plan, 0):
        for t, task in enumerate(made.tasks):
            rows = task.train.take(step.row[step.task == t])
            n = len(rows)
            if not n:
                assert step.weights[t] == 0
                continue
            if task.task.kind == "tag":
                units = sum(len(r["labels"]) for r in rows)
            elif task.task.kind == "mlm":
                units = sum(max(1, round(0.15 * (len(r["input_ids"]) - 2))) for r in rows)
            else:
                units = n
            weight = (3 if task.task.kind == "tag" else 1) * n / len(step.task) / units
            assert step.weights[t] == pytest.approx(weight)
            seen.add(t)
    assert seen == set(range(5))


def test_batch_in_tokens_and_epochs(small):
    made = setup.read(small, ["batch.tokens=2000", "epochs=2"])
    expected = sum(row["probability"] * row["mean_length"] for row in made.plan.expected())
    assert made.plan.batch_examples == round(2000 / expected)
    assert made.plan.epoch_examples == sum(min(len(t.train), 50) for t in made.tasks)
    assert made.plan.steps == -(-2 * made.plan.epoch_examples // made.plan.batch_examples)


def test_an_example_that_does_not_fit_is_named(small):
    with pytest.raises(InputError, match="micro_tokens 100 is less than the longest example of my_choice"):
        setup.read(small, ["micro_tokens=100"])
