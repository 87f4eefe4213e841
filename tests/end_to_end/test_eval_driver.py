"""The driver with real processes on two CPU ranks, stopped, killed and continued by the same command.

`deepspeed` trains, `accelerate launch` predicts. One process and two give the same scores: test_eval_training.py.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.eval_live import Driver, totals
from tests.support.eval_run import make_run, scores_in
from tests.support.live import metrics
from tests.support.target_files import nli, write_parquet

STEPS = 100


def predicting(driver: Driver) -> list[Any]:
    """The two processes that predict, once both have begun with their share."""
    started = driver._with("eval.driver.worker")
    workers = [process for process in started if "accelerate" not in " ".join(process.cmdline())]
    parts = [part for worker in workers for part in Path(worker.cmdline()[-1]).parent.glob("job.done*")]
    return workers if len({part.name for part in parts if part.read_text() not in ("", "0")}) == 2 else []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_ends_it_nothing_is_left_behind_and_the_same_command_goes_on(
    tmp_path: Path, tiny_tokenizer_dir: Path
) -> None:
    """Ctrl-C while ranks train; kill -9 of a process that predicts, SIGTERM to the driver, kill -9 of it."""
    out, run = tmp_path / "out", tmp_path / "out" / "targets" / "toy_xnli"
    encoder = make_run(tmp_path / "run", tiny_tokenizer_dir, heads=())
    for split in ("train", "validation_matched"):
        write_parquet(tmp_path / "data" / "nyu-mll" / "glue" / "mnli", split, nli([0, 1, 2] * 40))
    for code in ("en", "de"):
        write_parquet(tmp_path / "data" / "facebook" / "xnli" / code, "test", nli([0, 1, 2] * 1000))
    values = (f"steps={STEPS}", "batch.examples=16", "evaluate.examples=20", "log_every=1")
    sets = [word for value in values for word in ("--set", value)]
    places = ["--encoder", encoder, "--data", tmp_path / "data", "--prepared", tmp_path / "prepared", "--out", out]
    arguments = ["--suite", "toy_xnli", *places, "--micro-tokens", 200, "--num_gpus", 2, *sets]

    with Driver(tmp_path / "log", *arguments) as driver:
        driver.folder = run
        driver.until(lambda: driver.step >= 10, 240)
        os.killpg(driver.launcher.pid, signal.SIGINT)  # as a terminal does: to the launchers and the ranks too
        printed = driver.finish(130, 100)
    assert "interrupted; finished targets are kept" in printed and "Traceback" not in printed
    reached = driver.step
    assert 10 <= reached < STEPS and list((run / "checkpoints").glob("step-*")) and not (run / "done").exists()

    with Driver(tmp_path / "log", *arguments) as driver:
        driver.until(lambda: predicting(driver), 300)
        predicting(driver)[1].kill()
        printed = driver.finish(2, 60)
    said = "error: prediction ended with exit code 1: Signal 9 (SIGKILL) received by PID"
    assert said in printed and printed.count("error: ") == 1 and "(log: " in printed
    log = (run.parent / "toy_xnli.log").read_text()
    assert f"after step {reached}" in log and sum(line.startswith("$ ") for line in log.splitlines()) == 2
    steps = [line["step"] for line in metrics(run, kind="train", task="all")]
    assert steps == list(range(1, STEPS + 1)) and json.loads((run / "run.json").read_text())["hardware"]["ranks"] == 2
    assert not (run / "checkpoints").exists() and not (run.parent / "toy_xnli.1").exists()

    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):  # launchers do not pass SIGTERM on
        with Driver(tmp_path / "log", *arguments) as driver:
            driver.until(lambda: predicting(driver), 240)
            driver.launcher.send_signal(number)
            printed = driver.finish(code, 60)
        assert ("the same command goes on" in printed) == (code == 143) and "Traceback" not in printed

    with Driver(tmp_path / "log", *arguments) as driver:
        printed = driver.finish()
    assert [path.suffix for path in (out / "work").iterdir()] == [".log"]  # nothing else stays of the work
    assert totals(printed)[-1][0] == totals(printed)[-1][1] and len({total for _, total in totals(printed)}) == 1
    (target,) = scores_in(out)["targets"].values()
    (training,) = target["protocol"]["training"]
    assert training["config"] == "configs/targets/toy_xnli.json" and training["steps"] == STEPS
    assert training["overrides"] == list(values) and training["data"]["mnli"]
    assert set(target["languages"]) == {"de", "en"}
