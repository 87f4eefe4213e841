"""A study as a whole, with the programs that a user runs: a twin on the toy world, made smaller."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from examples.toyworld.__main__ import generate
from studies.__main__ import main
from tests.support.eval_live import fork_programs
from tests.support.launch import REPOSITORY, environment, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """toy/task_count of a smaller world: the encoder as it is, and one task with two seeds."""
    world = tmp_path / "world"
    generate(world, 1, 0.02)
    text = (REPOSITORY / "configs/studies/toy/task_count.json").read_text()
    values = json.loads(text.replace("data/toyworld", str(world)))
    first = json.loads((REPOSITORY / "configs/demo_mlm.json").read_text().replace("data/toyworld", str(world)))
    short = {"steps": 12, "batch": {"examples": 8}, "evaluate": {"every": 12, "examples": 8}, "log_every": 4}
    short |= {"checkpoint": {"every": 4}, "data": str(tmp_path / "data")}
    before = values["before"]["languages"]
    values["before"]["languages"] = {**before, "tasks": first["tasks"], **short}
    before["encoder"]["tokenizer"] = first["encoder"]["tokenizer"]
    values["common"] |= short
    values["variants"] = {name: values["variants"][name] for name in ("none", "a1")}
    values["seeds"] = [1, 2]
    path = tmp_path / "study.json"
    path.write_text(json.dumps(values))
    return path


def contents(out: Path) -> dict[str, int]:
    """What a finished run must not write again: file -> time of its last change."""
    found = [*out.glob("studies/runs/*/done"), *out.glob("studies/runs/*/eval-*/scores.json")]
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in found}


def trainings(pool: Path) -> int:
    return sum(path.read_text().count("train.py") for path in pool.glob("*/study.log"))


def test_killed_moved_and_shared(study: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    assert main([str(study), "plan", "--out", str(out)]) == 0
    assert "4 runs, 4 of them different: 4 waiting" in capsys.readouterr().out and not out.exists()

    def run(folder: Path, *more: str) -> None:
        with monkeypatch.context() as patch:
            fork_programs(patch)
            assert main([str(study), "run", "--out", str(folder), "--num-gpus", "1", *more]) == 0

    run(out, "--only", "1")
    pool = out / "studies" / "runs"
    first = contents(out)
    assert len(first) == 2  # the run before, which is not evaluated, and `none`, in which nothing is trained

    # Ctrl-C ends the training as well. When the runner is killed, the training that it has started goes on, and the
    # next runner waits for it.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "studies"]  # ignored in the background
    command += [str(study), "run", "--out", str(out), "--num-gpus", "1"]
    for sent, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        begun = trainings(pool)
        with log.open("a") as file:
            process = subprocess.Popen(command, cwd=REPOSITORY, env=environment(), stdout=file, stderr=file)
        wait_until(lambda before=begun: trainings(pool) > before, 400, log.read_text)
        time.sleep(random.uniform(0, 5))
        process.send_signal(sent)
        assert process.wait(100) == code
        assert sent != signal.SIGINT or main([str(study), "status", "--out", str(out)]) == 0
        assert sent != signal.SIGINT or "running" not in capsys.readouterr().out
    before = contents(out)

    run(out)
    after = contents(out)
    assert first.items() <= before.items() <= after.items()
    # Both seeds of `none` are one run.
    assert sorted(Path(name).name for name in after) == ["done"] * 3 + ["scores.json"] * 3
    assert not list(pool.glob("*/checkpoints"))
    (found,) = json.loads((out / "studies/toy/task_count/study.json").read_text())["comparisons"]
    assert (found["a"], found["b"], found["target"], found["seeds"]) == ("none", "a1", "toy_tatoeba", 2)
    assert found["crossed"] and found["interval"][0] <= found["difference"] <= found["interval"][1]
    assert (out / "studies/toy/task_count/report.html").is_file()

    # After a move, another study finds the runs and has nothing to do but one new variant's.
    values = json.loads(study.read_text())
    study.write_text(json.dumps({**values, "name": "other"}))
    capsys.readouterr()
    moved = out.rename(tmp_path / "moved")
    assert main([str(study), "plan", "--out", str(moved)]) == 0
    assert "4 runs, 3 of them different: 3 done, used again" in capsys.readouterr().out
    run(moved)
    assert contents(moved) == after
    assert capsys.readouterr().out.count("done") == 5
