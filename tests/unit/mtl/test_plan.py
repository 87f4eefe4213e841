"""The plan: how a global step is divided. The weights of its loss: tests/distributed/test_exact.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from mtl.data.plan import Step
from mtl.run import setup


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


def test_batch_in_tokens_and_epochs(small_run):
    made = setup.read(small_run, ["batch.tokens=2000", "epochs=2"])
    expected = sum(row["probability"] * row["mean_length"] for row in made.plan.expected())
    assert made.plan.batch_examples == round(2000 / expected)
    assert made.plan.epoch_examples == sum(min(len(t.train), 50) for t in made.tasks)
    assert made.plan.steps == -(-2 * made.plan.epoch_examples // made.plan.batch_examples)


def test_an_example_that_does_not_fit_is_named(small_run):
    with pytest.raises(InputError, match="micro_tokens 100 is less than the longest example of my_choice"):
        setup.read(small_run, ["micro_tokens=100"])
