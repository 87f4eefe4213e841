"""More than a thousand bad inputs, by tests/support/fuzz.py: each is one line and exit code 2, or a correct result."""

import os
import random
import subprocess
import sys

import pytest

from tests.support import fuzz
from tests.support.fuzz_world import FAMILIES, World, offline
from tests.support.launch import HOUSE

TALLIES: list[fuzz.Tally] = []


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_tokenizer_dir):
    with offline():
        yield World.make(tmp_path_factory.mktemp("fuzz") / "world", tiny_tokenizer_dir)


@pytest.mark.parametrize("name", FAMILIES)
def test_bad_input_is_refused_in_one_line_or_right(name, world, tmp_path):
    make, count = FAMILIES[name]
    tally = fuzz.campaign(name, make, world, tmp_path, count)
    TALLIES.append(tally)
    assert not tally.problems, "\n".join(tally.problems[:5])
    # A family that refuses or takes everything would be no test of the other half.
    assert tally.refused >= 10 and tally.accepted >= 10


def test_table(capsys):
    """Prints what was run; there are more than a thousand cases."""
    assert sum(count for _, count in FAMILIES.values()) >= 1000
    if len(TALLIES) == len(FAMILIES):
        with capsys.disabled():
            print("", fuzz.HEADER, *(tally.row() for tally in TALLIES), sep="\n")
        assert sum(tally.cases for tally in TALLIES) >= 1000


def run_for_real(name, number, world, folder):
    """A case as a process of its own: judged as `fuzz.judge` does, its exit code returned."""
    rng = random.Random(f"1/{name}/{number}")
    (folder / "in").mkdir(parents=True)
    case = FAMILIES[name][0](rng, folder, world)
    assert case.arguments is not None
    (folder / "cwd").mkdir()
    if case.out is not None:
        case.out.mkdir(exist_ok=True)
    before = fuzz.tree(folder, case.out)
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(HOUSE)}
    arguments = [str(HOUSE / a) if a == "train.py" else a for a in case.arguments]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder / "cwd", env=env, capture_output=True, text=True, timeout=120
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode in (0, 2), done.stderr
    assert len(errors) == (done.returncode == 2), done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert fuzz.tree(folder, case.out) == before
    assert case.expect != {0: "refuse", 2: "accept"}[done.returncode]
    return done.returncode


REAL = ("own_files", "public_files", "parquet_files", "run_configs", "deepspeed_configs")


@pytest.mark.parametrize("name", REAL)
def test_a_process_of_its_own(name, world, tmp_path):
    run_for_real(name, 3, world, tmp_path / "case")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", REAL)
def test_more_processes(name, world, tmp_path):
    codes = [run_for_real(name, number, world, tmp_path / str(number)) for number in range(4, 16)]
    assert 2 in codes


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FAMILIES)
def test_many_more(name, world, tmp_path):
    make, count = FAMILIES[name]
    tally = fuzz.campaign(name, make, world, tmp_path, 3 * count, seed=2)
    assert not tally.problems, "\n".join(tally.problems[:5])
