"""The driver with real processes: target training by `deepspeed`, prediction by `accelerate launch`, on CPU ranks."""

import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import InputError
from eval.__main__ import main
from eval.driver import subprocesses, suite
from eval.driver import worker as work
from eval.inference.artifacts import Job, predictions
from examples.toyworld.__main__ import main as make_world
from tests.support.eval_live import Driver, totals
from tests.support.eval_run import make_run
from tests.support.live import send
from tests.unit.eval.test_eval_read import nli, parquet


@dataclass
class Place:
    """A toy world, an encoder for it, and where training data are prepared."""

    world: Path
    encoder: Path
    prepared: Path

    def arguments(self, suite: str, **options: Any) -> list[str]:
        values = {"encoder": self.encoder, "suite": suite, "data": self.world, "prepared": self.prepared, **options}
        return [word for key, value in values.items() for word in (f"--{key}", str(value))]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("driver")
    assert make_world(["--out", str(folder / "world"), "--seed", "1", "--scale", "0.05"]) in (None, 0)
    encoder = make_run(folder / "run", folder / "world" / "tokenizer")
    return Place(folder / "world", encoder, folder / "data")


@pytest.fixture
def place(base: Place, tmp_path: Path) -> Place:
    """The same with an evaluation folder of its own."""
    shutil.copytree(base.encoder.parent, tmp_path / "run", ignore=shutil.ignore_patterns("eval"))
    return Place(base.world, tmp_path / "run" / "encoder", base.prepared)


def scores(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place.encoder.parent / "eval" / "scores.json").read_text(encoding="utf-8"))
    return found


def figures(place: Place) -> dict[str, Any]:
    """What must not depend on the number of processes: everything but the seconds."""
    kept = ("languages", "details", "scores", "score", "chance", "truncated", "files")
    return {name: {key: record[key] for key in kept} for name, record in scores(place)["targets"].items()}


def test_target_training_end_to_end_on_two_ranks(place: Place, tmp_path: Path, capfd: Any) -> None:
    arguments = [*place.arguments("toy_xnli"), "--set", "steps=5", "--set", "batch.examples=16"]
    with Driver(tmp_path / "log", *arguments, "--num_gpus", 2) as driver:
        printed = driver.finish()
    assert totals(printed)[-1] == ("450", "450")  # 3 x 5 steps x 16 examples, and 30 in each of 7 languages
    assert len({total for _, total in totals(printed)}) == 1  # one bar
    target = scores(place)["targets"]["toy_xnli"]
    (training,) = target["protocol"]["training"]
    assert training["config"] == "configs/targets/toy_xnli.json" and training["steps"] == 5
    assert training["overrides"] == ["steps=5", "batch.examples=16"] and training["data"]["mnli"]
    assert target["protocol"]["training_on_target"] == "English" and target["protocol"]["max_length"] == 128
    assert set(target["languages"]) == {"de", "en", "es", "hi", "ja", "ru", "sw"} and not scores(place)["not_run"]

    home = place.encoder.parent / "eval"
    run = home / "targets" / "toy_xnli"
    assert (run / "done").is_file() and not (run / "checkpoints").exists()
    assert json.loads((run / "run.json").read_text())["hardware"]["ranks"] == 2
    # Of the work of a target its log stays, nothing else.
    assert [path.suffix for path in (home / "work").iterdir()] == [".log"]
    logs = {path: path.read_bytes() for path in home.rglob("*.log")}
    assert {path.name.partition(".")[0].partition("-")[0] for path in logs} == {"toy_xnli"} and len(logs) == 3

    # The same command again runs nothing, and says so.
    first, before = scores(place), {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    began = time.monotonic()
    capfd.readouterr()
    assert main([*arguments, "--num_gpus", "2"]) == 0
    assert time.monotonic() - began < 10
    shown = capfd.readouterr().err
    assert "toy_xnli: same encoder, training, protocol and data, taken from" in shown
    assert totals(shown)[-1] == ("210", "210")
    assert scores(place) == first and {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before

    # One process predicts what two did, with the same target training.
    (home / "scores.json").unlink()
    assert main([*arguments, "--num_gpus", "1"]) == 0
    one = scores(place)["targets"]["toy_xnli"]
    assert {**one, "seconds": 0} == {**target, "seconds": 0}
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    assert {path: path.read_bytes() for path in home.rglob("*.log")} == logs


def job_of(place: Place, folder: Path, **fields: Any) -> Job:
    values: dict[str, Any] = {
        "target": "toy_xnli", "encoder": str(place.encoder), "head": "mnli", "data": str(place.world),
        "languages": (), "examples": None, "layer": None, "pooling": "mean", "query_length": 0, "passage_length": 0,
        "micro_tokens": 500, "folder": str(folder / "pieces"),
    }  # fmt: skip
    return Job(**{**values, **fields})


def launch(job: Job, folder: Path, processes: int = 2) -> None:
    (folder / "job.json").write_text(work.as_json(job), encoding="utf-8")
    subprocesses.accelerate(processes, [str(folder / "job.json")], folder / "log", lambda: None)


def test_both_processes_work(place: Place, tmp_path: Path) -> None:
    job = job_of(place, tmp_path)
    launch(job, tmp_path)
    done = [int((tmp_path / f"job.json.done{number}").read_text()) for number in range(2)]
    assert sum(done) == 210 and min(done) > 20
    assert len(predictions(job, "sw")) == 30


def test_a_mistake_in_one_process_ends_all_in_one_line(place: Place, tmp_path: Path) -> None:
    """The second process cannot read its data: the first must not wait for it for ever."""
    job = job_of(place, tmp_path)
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        "if os.environ.get('RANK') == '1':\n"
        "    import data_prep.readers as r\n"
        "    def broken(*_, **__): raise r.InputError('the disk of this process is gone')\n"
        "    r.parquet = broken\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        began = time.monotonic()
        with pytest.raises(InputError, match=rf"^the disk of this process is gone \(log: {tmp_path}/log\)$"):
            launch(job, tmp_path)
    assert time.monotonic() - began < 60
    assert not (tmp_path / "pieces").exists()


@pytest.mark.slow
def test_direct_scores_are_the_same_on_two_processes(place: Place, tmp_path: Path) -> None:
    arguments = [*place.arguments("toy"), "--direct", "--micro-tokens", "600"]
    with Driver(tmp_path / "log", *arguments, "--num_gpus", 1) as driver:
        one = driver.finish()
    first = figures(place)
    assert set(first) == {"toy_tatoeba", "toy_xnli", "toy_xquad"}
    shutil.rmtree(place.encoder.parent / "eval")
    with Driver(tmp_path / "log", *arguments, "--num_gpus", 2) as driver:
        two = driver.finish()
    assert figures(place) == first
    assert totals(one)[-1] == totals(two)[-1] and len(set(totals(two)[-1])) == 1
    assert len(list((place.encoder.parent / "eval" / "work").glob("*.log"))) == 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_both_trained_targets_and_one_whose_training_data_are_missing(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(place.world, source)
    shutil.rmtree(source / "rajpurkar")
    arguments = [*place.arguments("toy_tatoeba,toy_xnli,toy_xquad"), "--set", "steps=5", "--num_gpus", "2"]
    with Driver(tmp_path / "log", *arguments, "--source", source) as driver:
        printed = driver.finish()
    found = scores(place)
    assert set(found["targets"]) == {"toy_tatoeba", "toy_xnli"} and set(found["not_run"]) == {"toy_xquad"}
    assert (
        found["not_run"]["toy_xquad"].startswith("no training data: ") and "squad_v1" in found["not_run"]["toy_xquad"]
    )
    assert "not run: toy_xquad (no training data: " in printed
    assert len(set(totals(printed)[-1])) == 1

    # With the data there, only what is missing is run.
    with Driver(tmp_path / "log2", *arguments) as driver:
        printed = driver.finish()
    after = scores(place)
    assert set(after["targets"]) == {"toy_tatoeba", "toy_xnli", "toy_xquad"} and not after["not_run"]
    assert all(after["targets"][name] == found["targets"][name] for name in found["targets"])
    assert [stage["steps"] for stage in after["targets"]["toy_xquad"]["protocol"]["training"]] == [5]
    assert printed.count("taken from") == 2 and len(set(totals(printed)[-1])) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_interrupted_training_goes_on_and_other_settings_begin_anew(place: Place, tmp_path: Path) -> None:
    run = place.encoder.parent / "eval" / "targets" / "toy_xnli"
    sets = ["--set", "steps=300", "--set", "checkpoint.every=50", "--set", "log_every=1"]
    arguments = [*place.arguments("toy_xnli"), "--num_gpus", "2", *sets]
    with Driver(tmp_path / "log", *arguments) as driver:
        driver.folder = run
        driver.until(lambda: driver.step >= 60, 200)
        os.killpg(driver.launcher.pid, signal.SIGINT)  # as a terminal does: to the launchers and the ranks too
        printed = driver.finish(130, 100)
    assert "interrupted; finished targets are kept" in printed and "Traceback" not in printed
    reached = driver.step
    assert 60 <= reached < 300 and list((run / "checkpoints").glob("step-*")) and not (run / "done").exists()

    with Driver(tmp_path / "log2", *arguments) as driver:
        printed = driver.finish(timeout=400)
    log = (run.parent / "toy_xnli.log").read_text()
    assert f"after step {reached}" in log and sum(line.startswith("$ ") for line in log.splitlines()) == 2
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    numbers = [line["step"] for line in steps if line["kind"] == "train" and line["task"] == "all"]
    assert numbers == list(range(1, 301))
    first = scores(place)["targets"]["toy_xnli"]
    assert not (run.parent / "toy_xnli.1").exists() and totals(printed)[-1][0] == totals(printed)[-1][1]

    # Another setting: the run of before is kept beside it.
    arguments[-6:] = ["--set", "steps=5", "--set", "optimizer.lr=1e-4", "--set", "batch.examples=8"]
    with Driver(tmp_path / "log3", *arguments) as driver:
        printed = driver.finish()
    kept = run.parent / "toy_xnli.1"
    assert f"kept as {kept}" in printed and (kept / "done").is_file() and (run / "done").is_file()
    second = scores(place)["targets"]["toy_xnli"]
    assert second["fingerprint"] != first["fingerprint"] and second["protocol"]["training"][0]["steps"] == 5


@pytest.fixture
def long(place: Place, tmp_path: Path) -> list[str]:
    """Arguments of an evaluation that predicts for a minute or so."""
    data = tmp_path / "long"
    for code in ("en", "de"):
        parquet(data / "facebook" / "xnli" / code / "test-00000-of-00001.parquet", nli([0, 1, 2] * 20000))
    return [*place.arguments("toy_xnli", data=data), "--direct", "--micro-tokens", "300"]


def predicting(driver: Driver) -> bool:
    """Whether both processes have begun with their share."""
    workers = driver._with("eval.driver.worker")
    parts = [part for worker in workers for part in Path(worker.cmdline()[-1]).parent.glob("job.json.done*")]
    return len({part.name for part in parts if part.read_text() not in ("", "0")}) == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_while_predicting_leave_nothing_behind(number: signal.Signals, long: list[str], tmp_path: Path) -> None:
    with Driver(tmp_path / "log", *long, "--num_gpus", 2) as driver:
        driver.until(lambda: predicting(driver), 120)
        send(driver.launcher, number)
        printed = driver.finish(128 + number, 40)
    assert "interrupted; finished targets are kept" in printed and "Traceback" not in printed


@pytest.mark.slow
def test_a_killed_driver_takes_its_processes_with_it(long: list[str], tmp_path: Path) -> None:
    with Driver(tmp_path / "log", *long, "--num_gpus", 2) as driver:
        driver.until(lambda: predicting(driver), 120)
        driver.launcher.kill()
        driver.finish(-9, 40)


@pytest.mark.slow
def test_a_killed_process_is_an_error_and_leaves_nothing_behind(place: Place, long: list[str], tmp_path: Path) -> None:
    with Driver(tmp_path / "log", *long, "--num_gpus", 2) as driver:
        driver.until(lambda: predicting(driver), 120)
        workers = [
            process for process in driver._with("eval.driver.worker") if "accelerate" not in " ".join(process.cmdline())
        ]
        assert len(workers) == 2
        workers[1].kill()
        printed = driver.finish(2, 60)
    said = "error: prediction ended with exit code 1: Signal 9 (SIGKILL) received by PID"
    assert said in printed and printed.count("error: ") == 1 and "(log: " in printed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sigterm_while_training_is_starting_or_training(place: Place, tmp_path: Path) -> None:
    """Also in the seconds in which the ranks are not there yet, and nobody would listen."""
    run = place.encoder.parent / "eval" / "targets" / "toy_xnli"
    arguments = [*place.arguments("toy_xnli"), "--num_gpus", "2", "--set", "steps=2000", "--set", "log_every=1"]
    for trains in (False, True):
        with Driver(tmp_path / "log", *arguments) as driver:
            driver.folder = run
            if trains:
                driver.until(lambda: driver.step >= 20, 200)
            else:
                driver.until(lambda: len(driver._with("deepspeed.launcher.launch")) == 1, 120)
            send(driver.launcher, signal.SIGTERM)
            driver.finish(143, 100)
    assert list((run / "checkpoints").glob("step-*"))


def test_more_gpus_than_there_are_is_said(base: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocesses, "GPU", True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="--num_gpus 2: there are 1 here"):
        suite.run([str(base.encoder)], "toy", [str(base.world)], None, suite.Options(processes=2))
