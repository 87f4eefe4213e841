"""Signals, a dead launcher and a time limit: the run saves, says how to go on, and goes on to the same bits.

Slow: real launches. What each launcher makes of the exit codes stands in docs/cluster.md.
"""

import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from common.errors import InputError
from mtl.distributed.shutdown import STOPPED, seconds_of
from mtl.run import checkpoint, setup
from tests.support.launch import deepspeed, program
from tests.support.live import Live, send
from tests.support.small import KINDS, write_run

pytestmark = pytest.mark.slow
FIELDS = {
    "steps": 120, "optimizer": {"lr": 3e-3}, "hidden_dropout_prob": 0.1, "log_every": 5,
    "evaluate": {"every": 40, "examples": 8}, "checkpoint": {"every": 1000},
}  # fmt: skip
WITHIN = 45  # seconds: every process has ended


@pytest.fixture(scope="module")
def reference(tmp_path_factory, tiny_tokenizer_dir) -> Path:
    """The run folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("reference")
    program("train.py", "--config", write_run(folder, tiny_tokenizer_dir, **FIELDS), ranks=2)
    return folder / "runs" / "small"


def same_bits(one: Path, other: Path) -> bool:
    for part in ("encoder/model", "encoder_last/model", "heads_last/heads"):
        expected, found = (load_file(folder / f"{part}.safetensors") for folder in (one, other))
        if not all(torch.equal(expected[name], found[name]) for name in expected):
            return False
    return True


TIMING = {"tokens_per_second", "seconds_per_step", "memory_gib"}


def figures(folder: Path) -> list[dict]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMING} for line in lines]


def saved_at(live: Live, config: Path) -> int:
    """The step of the newest checkpoint, which must be whole; no lock is left."""
    found = checkpoint.find(live.folder, setup.read(str(config), []).identity(), 2)
    assert found is not None
    assert not found.notes[:-1]
    assert not (live.folder / ".lock").exists()
    assert not (live.folder / "done").exists()
    return found.state.step


@pytest.mark.parametrize(
    ("target", "number", "said"),
    [
        ("rank 0", signal.SIGTERM, "SIGTERM"),
        ("rank 1", signal.SIGUSR1, "SIGUSR1"),
        ("launch.py", signal.SIGTERM, ""),  # it passes SIGTERM on, and then is gone itself
        ("launch.py", signal.SIGUSR1, "the end of the launcher"),
        ("launch.py", signal.SIGKILL, "the end of the launcher"),
        ("launcher", signal.SIGTERM, "the end of the launcher"),
        ("launcher", signal.SIGUSR1, "the end of the launcher"),
        ("launcher", signal.SIGKILL, "the end of the launcher"),
    ],
)
def test_a_signal_saves_and_the_same_command_goes_on(reference, tmp_path, tiny_tokenizer_dir, target, number, said):
    config = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)
    with Live(config) as live:
        live.until_step(5)
        targets = {"rank 0": live.ranks[0], "rank 1": live.ranks[1], "launch.py": live.node, "launcher": live.launcher}
        send(targets[target], number)
        live.end(WITHIN)
        step = saved_at(live, config)
        assert 5 <= step < FIELDS["steps"]
        told = [line for line in live.printed.splitlines() if f"stopped by {said}" in line]
        assert len(told) == 1, live.printed
        assert f"after step {step}; to go on: deepspeed --num_gpus 2" in told[0]
        assert f"--config {config}" in told[0]
        assert not live.errors
        assert "Traceback" not in live.printed
    program("train.py", "--config", config, ranks=2)
    assert same_bits(reference, live.folder)
    assert figures(live.folder) == figures(reference)


def test_a_stop_in_the_middle_of_a_dev_evaluation(reference, tmp_path, tiny_tokenizer_dir):
    """It is given up at once, and done by the resumed run; figures and weights are those of the reference."""
    config = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)
    interrupted(config, tmp_path / "fetched", 40)
    program("train.py", "--config", config, ranks=2)
    folder = tmp_path / "runs" / "small"
    assert same_bits(reference, folder)
    assert figures(folder) == figures(reference)


def test_a_stop_in_the_middle_of_the_last_dev_evaluation(tmp_path, tiny_tokenizer_dir):
    """No step is left to do, but the run is not done: the best encoder has not been found yet."""
    fields = {**FIELDS, "steps": 10, "evaluate": {"every": 10, "examples": 8}}
    config = write_run(tmp_path, tiny_tokenizer_dir, **fields)
    interrupted(config, tmp_path / "fetched", 10)
    folder = tmp_path / "runs" / "small"
    assert not (folder / "encoder").exists()
    program("train.py", "--config", config, ranks=2)
    assert (folder / "done").exists()
    assert (folder / "encoder" / "model.safetensors").exists()
    dev = [line for line in figures(folder) if line["kind"] == "dev" and line["task"] == "all"]
    assert [line["step"] for line in dev] == [10]


def interrupted(config: Path, fetched: Path, step: int) -> None:
    """Runs it until rank 1 gets SIGTERM within the dev evaluation of this step, the first."""
    with Live(config, program="tests/support/stopping_worker.py", FETCHED=fetched) as live:
        live.end(120)
        assert saved_at(live, config) == step
        # The batch at which the signal came is the last of at least one for each task.
        assert len(fetched.read_text().splitlines()) == 2 < len(KINDS)
        # Without the evaluation's figures: it was interrupted, not finished.
        assert not [line for line in figures(live.folder) if line["kind"] == "dev"]
        assert f"dev at step {step}" not in live.printed
        told = [line for line in live.printed.splitlines() if f"stopped by SIGTERM after step {step}" in line]
        assert len(told) == 1, live.printed
        assert not live.errors
        assert "Traceback" not in live.printed


def seconds(count):
    return f"00:{count // 60:02}:{count % 60:02}"


@pytest.mark.timeout(900)
def test_a_time_limit(tmp_path, tiny_tokenizer_dir):
    """Chained short jobs, as in a queue: each saves and ends at its limit, the next goes on, until the run is done."""
    config = write_run(tmp_path, tiny_tokenizer_dir, **{**FIELDS, "steps": 400})
    folder = tmp_path / "runs" / "small"
    stops, limit, reached = 0, 8, 0
    while not (folder / "done").exists():
        if stops == 2:
            limit = 500  # to the end
        done = deepspeed(2, "train.py", "--config", config, "--time-limit", seconds(limit), check=False)
        if done.returncode == 0:
            break
        printed = done.stdout + done.stderr
        assert done.returncode == STOPPED, printed
        told = next(line for line in printed.splitlines() if "stopped by --time-limit after step" in line)
        assert f"--time-limit {seconds(limit)}" in told.split("to go on:")[1]
        step = int(told.split("after step ")[1].split(";")[0])
        # The limit counts from the start of the process; a busy machine may need all of it to import.
        limit, stops = (2 * limit, stops) if step == reached else (limit, stops + 1)
        assert step >= reached
        assert limit < 500
        reached = step
    assert (folder / "done").exists()
    assert stops > 0
    steps = [line["step"] for line in figures(folder) if line["kind"] == "train" and line["task"] == "all"]
    assert steps == list(range(5, 401, 5))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400), ("1:30", 90), ("2:00:00", 7200), ("1-12", 129600), ("1-0:30", 88200), ("0-01:00:05", 3605),
    ],
)  # fmt: skip
def test_time_limits_are_written_as_in_slurm(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "1:2:3:4", "0", "1h", "1-", "٣", "9" * 400, "9" * 5000])
def test_what_is_no_time_limit(text):
    with pytest.raises(InputError, match="--time-limit"):
        seconds_of(text)
