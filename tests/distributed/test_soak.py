"""Two trials of `make soak`: killed at random moments and resumed, a run is bitwise that of an uninterrupted one."""

import pytest

from tests.support.soak import soak


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    assert soak(2, seed=6, place=tmp_path) == 2  # once all are killed, once rank 0 in the writing of a checkpoint
