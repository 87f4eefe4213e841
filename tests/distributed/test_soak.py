"""A run killed at a random moment and resumed is bitwise that of an uninterrupted one; `make soak N=50` tries more.

kill -9 of a rank, of `launch.py`, of the `deepspeed` launcher or of all of them, half of the time while a checkpoint
is written; then the same command again.
"""

import os
import random
import time
from contextlib import suppress

import psutil
import pytest

from tests.support.launch import program
from tests.support.live import Live, differences
from tests.support.small import elsewhere

FIRST = 2  # whose trial kills rank 0 while it writes a checkpoint
TRIALS = range(FIRST, FIRST + int(os.environ.get("SOAK", "1")))
TARGETS = ("rank 0", "rank 1", "launch.py", "launcher", "all")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", TRIALS)
def test_killed_at_random_moments(finished, tmp_path, seed):
    rng = random.Random(seed)
    target, in_a_save, step = rng.choice(TARGETS), rng.random() < 0.5, rng.randrange(1, 32)
    config = elsewhere(finished[0], tmp_path)
    with Live(config) as live:

        def saving() -> bool:
            return any((live.folder / "checkpoints").glob(".writing-*"))

        live.until_step(step)
        first, second = live.ranks
        processes = {"rank 0": first, "rank 1": second, "launch.py": live.node, "launcher": live.launcher}
        if in_a_save:
            live.until(saving, timeout=30)
        time.sleep(rng.random() * (0.01 if in_a_save else 0.1))
        print(f"\nkill -9 {target} at step {live.step}{' during a save' if saving() else ''}")
        for process in [processes[target]] if target in processes else processes.values():
            with suppress(psutil.Error):
                process.kill()
        live.end(60)
    program("train.py", "--config", config, ranks=2)
    assert not differences(live.folder, finished[1])
