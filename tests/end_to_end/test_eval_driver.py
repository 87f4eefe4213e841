"""The driver with real processes on two CPU ranks, interrupted, killed and continued by the same command.

`deepspeed` trains, `accelerate launch` predicts. One process and two give the same scores: test_eval_training.py.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from examples.toyworld.__main__ import generate
from tests.support.eval_live import Driver, totals
from tests.support.eval_run import make_run, scores_in, skip_reports
from tests.support.live import send
from tests.support.target_files import nli, write_parquet


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a toy world, an encoder for it, and where training data are prepared."""
    folder = tmp_path_factory.mktemp("driver")
    generate(folder / "world", seed=1, scale=0.05)
    make_run(folder / "run", folder / "world" / "tokenizer")
    return folder


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    skip_reports(monkeypatch)
    return tmp_path / "eval"


def command(base: Path, out: Path, suite: str, *more: object, data: str = "world") -> list[str]:
    places = ("--encoder", base / "run" / "encoder", "--data", base / data, "--prepared", base / "data", "--out", out)
    return [str(word) for word in ("--suite", suite, *places, *more)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_interrupted_training_goes_on(base: Path, out: Path, tmp_path: Path) -> None:
    """By SIGTERM while there are no ranks yet that would listen, by ctrl-C while they train; with the same command."""
    run = out / "targets" / "toy_xnli"
    sets = [word for value in ("steps=80", "checkpoint.every=50", "log_every=1") for word in ("--set", value)]
    arguments = command(base, out, "toy_xnli", "--num_gpus", 2, *sets)
    with Driver(tmp_path / "log", *arguments) as driver:
        driver.until(lambda: len(driver._with("deepspeed.launcher.launch")) == 1, 120)
        send(driver.launcher, signal.SIGTERM)
        printed = driver.finish(143, 100)
    assert "interrupted; finished targets are kept" in printed and "Traceback" not in printed

    with Driver(tmp_path / "log", *arguments) as driver:
        driver.folder = run
        driver.until(lambda: driver.step >= 10, 200)
        os.killpg(driver.launcher.pid, signal.SIGINT)  # as a terminal does: to the launchers and the ranks too
        printed = driver.finish(130, 100)
    assert "interrupted; finished targets are kept" in printed and "Traceback" not in printed
    reached = driver.step
    assert 10 <= reached < 80 and list((run / "checkpoints").glob("step-*")) and not (run / "done").exists()

    with Driver(tmp_path / "log", *arguments) as driver:
        printed = driver.finish(timeout=400)
    log = (run.parent / "toy_xnli.log").read_text()
    assert f"after step {reached}" in log and sum(line.startswith("$ ") for line in log.splitlines()) == 3
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "train" and line["task"] == "all"]
    assert steps == list(range(1, 81)) and json.loads((run / "run.json").read_text())["hardware"]["ranks"] == 2
    assert not (run / "checkpoints").exists() and not (run.parent / "toy_xnli.1").exists()
    assert [path.suffix for path in (out / "work").iterdir()] == [".log"]  # nothing else stays of the work
    assert totals(printed)[-1][0] == totals(printed)[-1][1] and len({total for _, total in totals(printed)}) == 1
    (target,) = scores_in(out)["targets"].values()
    (training,) = target["protocol"]["training"]
    assert training["config"] == "configs/targets/toy_xnli.json" and training["steps"] == 80
    assert training["overrides"] == sets[1::2] and training["data"]["mnli"]
    assert set(target["languages"]) == {"de", "en", "es", "hi", "ja", "ru", "sw"}


def predicting(driver: Driver) -> list[Any]:
    """The two processes that predict, once both have begun with their share."""
    workers = [
        process for process in driver._with("eval.driver.worker") if "accelerate" not in " ".join(process.cmdline())
    ]
    parts = [part for worker in workers for part in Path(worker.cmdline()[-1]).parent.glob("job.done*")]
    return workers if len({part.name for part in parts if part.read_text() not in ("", "0")}) == 2 else []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_ends_a_prediction_leaves_nothing_behind(base: Path, out: Path, tmp_path: Path) -> None:
    """kill -9 of a process of it, SIGTERM to the driver, kill -9 of it: all end, and the same command begins again."""
    for code in ("en", "de"):
        write_parquet(base / "long" / "facebook" / "xnli" / code, "test", nli([0, 1, 2] * 5000))
    arguments = command(base, out, "toy_xnli", "--direct", "--micro-tokens", 200, "--num_gpus", 2, data="long")
    with Driver(tmp_path / "log", *arguments) as driver:
        driver.until(lambda: predicting(driver), 240)
        predicting(driver)[1].kill()
        printed = driver.finish(2, 60)
    said = "error: prediction ended with exit code 1: Signal 9 (SIGKILL) received by PID"
    assert said in printed and printed.count("error: ") == 1 and "(log: " in printed

    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        with Driver(tmp_path / "log", *arguments) as driver:
            driver.until(lambda: predicting(driver), 240)
            send(driver.launcher, number)
            printed = driver.finish(code, 60)
        assert ("the same command goes on" in printed) == (code == 143) and "Traceback" not in printed
