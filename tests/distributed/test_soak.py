"""A few trials of the soak; `make soak N=50` runs as many as wanted."""

import pytest

from tests.support.soak import soak


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments(tmp_path):
    assert soak(4, seed=11, place=tmp_path) == 4
