"""Signals, a dead launcher, a time limit: the run saves, says how to go on, and resumes bitwise identical.

SIGUSR1, as Slurm sends it: tests/cluster/test_hosts.py. What each launcher makes of signals and exit codes stands in
docs/cluster.md.
"""

import signal
from pathlib import Path

import pytest

from common.errors import InputError
from mtl.distributed.shutdown import STOPPED, seconds_of
from mtl.run import checkpoint, setup
from tests.support.launch import program
from tests.support.live import Forked, Live, differences, metrics
from tests.support.small import elsewhere

STEPS = 40  # of `finished`, evaluated every 3 steps and after the last
WITHIN = 45  # seconds: every process has ended


def saved_at(config: Path, printed: str, reason: str) -> tuple[int, str]:
    """(the step of the newest checkpoint, which must be whole, the command to go on); no lock is left."""
    folder = config.parent / "runs" / "small"
    found, notes = checkpoint.find(folder, setup.read(str(config), []).identity(), 2)
    assert found is not None
    assert not notes[:-1]
    assert not (folder / ".lock").exists()
    assert not (folder / "done").exists()
    (line,) = [line for line in printed.splitlines() if f"stopped by {reason}" in line]
    before, _, command = line.partition("; to go on: ")
    assert before.endswith(f"after step {found.step}")
    assert f"--config {config}" in command
    assert "error:" not in printed
    assert "Traceback" not in printed
    return found.step, command


@pytest.mark.parametrize(
    ("start", "target", "number", "reason"),
    [
        (Forked, "ranks", signal.SIGTERM, "SIGTERM"),
        pytest.param(Forked, "ranks", signal.SIGINT, "ctrl-C", marks=pytest.mark.slow),
        # launch.py passes it on, and then is gone itself
        pytest.param(Live, "node", signal.SIGTERM, "", marks=pytest.mark.slow),
        # `deepspeed` ends by SIGTERM and SIGUSR1 as by SIGKILL, without a word to the ranks
        pytest.param(Live, "launcher", signal.SIGKILL, "the end of the launcher", marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_one_rank_or_to_the_launcher(finished, tmp_path, start, target, number, reason):
    config = elsewhere(finished[0], tmp_path)
    with start(config) as live:
        live.until_step(5)
        process = getattr(live, target)
        (process[0] if target == "ranks" else process).send_signal(number)
        code = live.end(WITHIN)
    step, command = saved_at(config, live.printed, reason)
    assert 5 <= step < STEPS
    assert command.startswith("deepspeed --num_gpus 2 ") if start is Live else code == STOPPED
    program("train.py", "--config", config, ranks=2)
    assert not differences(live.folder, finished[1])


@pytest.mark.slow
def test_a_stop_in_a_dev_evaluation(finished, tmp_path, monkeypatch):
    """It is given up and done by the resumed run; after the last one no step is left, but the run is not done."""
    config = elsewhere(finished[0], tmp_path)
    folder = tmp_path / "runs" / "small"
    for evaluation, step in ((1, 3), (14, STEPS)):  # the resumed run begins with the first
        monkeypatch.setenv("EVALUATION", str(evaluation))
        stopped = program("tests/support/stopping_worker.py", "--config", config, ranks=2, code=STOPPED)
        assert saved_at(config, stopped.printed, "SIGTERM")[0] == step
        assert not metrics(folder, kind="dev", step=step)
    for _ in range(2):  # once more: it evaluates again, and no line is there twice
        program("train.py", "--config", config, ranks=2)
        assert not differences(folder, finished[1])


@pytest.mark.slow
def test_a_time_limit(finished, tmp_path):
    """Two short jobs in a chain, as in a queue: each saves and ends at its limit."""
    config = elsewhere(finished[0], tmp_path, steps=5000, evaluate={"every": 20, "examples": 8})
    reached = [0]
    for _ in range(2):
        done = program("train.py", "--config", config, "--time-limit", "0:07", ranks=2, code=STOPPED)
        step, command = saved_at(config, done.printed, "--time-limit")
        assert "--time-limit 0:07" in command
        reached.append(step)
    assert reached == sorted(reached)
    steps = [line["step"] for line in metrics(tmp_path / "runs" / "small", kind="train", task="all")]
    assert steps == list(range(2, reached[-1] + 1, 2))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 5400), ("1:30", 90), ("2:00:00", 7200), ("1-12", 129600), ("1-0:30", 88200)]
)
def test_time_limits_are_written_as_in_slurm(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "-5", "1:2:3:4", "0", "1h", "٣", "9" * 400])
def test_what_is_no_time_limit(text):
    with pytest.raises(InputError, match="--time-limit"):
        seconds_of(text)
