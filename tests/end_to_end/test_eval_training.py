"""When target training runs, goes on, begins anew or is left out. The trainer itself is stood in for by a fake that
writes what a run leaves; test_eval_driver.py and the last test here start the real one.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import data_prep.__main__ as data_prep_program
from common import run_config as configs
from eval import suites
from eval.__main__ import main
from eval.driver import subprocesses
from eval.driver.target_training import Settings, chain
from eval.inference.encoder import Subject
from examples.toyworld.__main__ import write_supply
from mtl.distributed.watchdog import Member
from mtl.run.run_lock import Lock
from tests.support.eval_live import totals
from tests.support.eval_run import make_run
from tests.support.small import WORDS


def in_process(arguments: list[str], log: Path) -> None:
    """`python -m data_prep`, without the seconds that a process costs."""
    parser = argparse.ArgumentParser()
    for name in ("config", "out"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--source", action="append")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args(arguments)
    data_prep_program.run(options.config, options.set, options.source, options.out, 1)


class Trainer:
    """Stands in for `deepspeed train.py`: `runs` are the configs that it was started with, `log` whether it went on.

    `before` is called first; what it raises leaves a run that has been asked for and not begun, as a killed one does.
    """

    def __init__(self, tokenizer: Path) -> None:
        self.tokenizer = tokenizer
        self.runs: list[configs.RunConfig] = []
        self.before: Callable[[], Any] = lambda: None
        self.log: list[str] = []

    def __call__(self, processes: int, arguments: list[str], log: Path, watch: Callable[[], None]) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("--config")
        parser.add_argument("--set", action="append", default=[])
        options = parser.parse_args(arguments)
        run = configs.load(options.config, options.set)
        folder = run.folder
        self.runs.append(run)
        self.log.append("goes on" if (folder / "checkpoints").exists() else "begins")
        (folder / "done").unlink(missing_ok=True)
        self.before()
        (task,) = [task.name for task in run.resolved_tasks()]
        (folder / "config.json").write_text(json.dumps(run.model_dump(mode="json")))
        plan = {"steps": run.steps, "tasks": {task: {"data": ["0"]}}}
        (folder / "run.json").write_text(json.dumps({"plan": plan}))
        for step in range(1, (run.steps or 1) + 1):
            with (folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"step": step, "kind": "dev", "task": "all", "mean": step / 100}) + "\n")
            watch()
        make_run(folder, self.tokenizer, seed=len(self.runs), heads=(task,))
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "done").write_text("step\n")


@pytest.fixture
def trainer(tiny_tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made = Trainer(tiny_tokenizer_dir)
    monkeypatch.setattr(subprocesses, "deepspeed", made)
    monkeypatch.setattr(subprocesses, "data_prep", in_process)
    return made


@pytest.fixture
def place(tmp_path: Path, tiny_tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An encoder without heads, XNLI's and XQuAD's test data, MNLI and SQuAD to train on."""
    from tests.unit.eval.test_eval_read import nli, parquet

    make_run(tmp_path / "run", tiny_tokenizer_dir, heads=())
    data = tmp_path / "data"
    for code in ("en", "de"):
        parquet(data / "facebook" / "xnli" / code / "test-00000-of-00001.parquet", nli([0, 1, 2, 0]))
    context = "the small dog runs to the old house"
    rows = {
        "id": ["1"], "title": ["t"], "question": ["a dog"], "context": [context],
        "answers": [{"text": ["dog"], "answer_start": [10]}],
    }  # fmt: skip
    questions = {key: value for key, value in rows.items() if key != "title"}
    parquet(data / "google" / "xquad" / "xquad.de" / "validation-00000-of-00001.parquet", questions)
    train_on(data, 30)
    for split in ("train", "validation"):
        parquet(data / "rajpurkar" / "squad" / "plain_text" / f"{split}-00000-of-00001.parquet", rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train_on(data: Path, count: int) -> None:
    from tests.unit.eval.test_eval_read import parquet

    columns = {
        "premise": [f"a {WORDS[i % 7]} runs" for i in range(count)],
        "hypothesis": [WORDS[i % 5] for i in range(count)],
        "label": [i % 3 for i in range(count)],
        "idx": list(range(count)),
    }
    for split in ("train", "validation_matched"):
        parquet(data / "nyu-mll" / "glue" / "mnli" / f"{split}-00000-of-00001.parquet", columns)


def evaluate(place: Path, suite: str, *more: str, code: int = 0) -> dict[str, Any]:
    arguments = ["--encoder", str(place / "run" / "encoder"), "--data", str(place / "data"), "--suite", suite]
    arguments += ["--prepared", str(place / "prepared"), "--num_gpus", "1", "--set", "steps=3", *more]
    assert main(arguments) == code
    path = place / "run" / "eval" / "scores.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def test_what_is_done_is_not_done_again(place: Path, trainer: Trainer, capfd: Any) -> None:
    scores = evaluate(place, "toy_xnli,toy_xquad")
    assert [run.name for run in trainer.runs] == ["toy_xnli", "toy_squad"]
    assert all(run.encoder == str((place / "run" / "encoder").resolve()) and run.steps == 3 for run in trainer.runs)
    assert totals(capfd.readouterr().err)[-1] == ("873", "873")  # 2 x 3 x 3 steps x 48 examples, 9 rows
    training = scores["targets"]["toy_xquad"]["protocol"]["training"]
    assert [(stage["selected_at_step"], stage["dev"]) for stage in training] == [(3, 3.0)]
    assert evaluate(place, "toy_xnli,toy_xquad") == scores and len(trainer.runs) == 2

    # Scores gone, training still there: only predictions are made.
    (place / "run" / "eval" / "scores.json").unlink()
    again = evaluate(place, "toy_xnli,toy_xquad")
    assert len(trainer.runs) == 2
    for record in [*scores["targets"].values(), *again["targets"].values()]:
        del record["seconds"]
    assert again == scores


@pytest.mark.parametrize("change", ["optimizer.lr=1e-4", "tasks.mnli.max_length=64", "deepspeed=zero0.json"])
def test_other_settings_are_trained_anew_and_the_old_run_is_kept(place: Path, trainer: Trainer, change: str) -> None:
    first = evaluate(place, "toy_xnli")["targets"]["toy_xnli"]
    second = evaluate(place, "toy_xnli", "--set", change)["targets"]["toy_xnli"]
    assert len(trainer.runs) == 2 and trainer.log == ["begins", "begins"]
    assert first["fingerprint"] != second["fingerprint"]
    folder = place / "run" / "eval" / "targets"
    assert (folder / "toy_xnli.1" / "done").is_file() and (folder / "toy_xnli" / "done").is_file()
    # What says nothing of the weights trains nothing anew.
    evaluate(place, "toy_xnli", "--set", change, "--set", "log_every=7", "--set", "notes=x")
    assert len(trainer.runs) == 2


def test_a_run_stopped_before_it_began_is_not_taken_for_the_one_before(place: Path, trainer: Trainer) -> None:
    """The run of other settings was done; that of these was asked for, and stopped while it was starting."""

    def stop() -> None:
        raise KeyboardInterrupt

    old = evaluate(place, "toy_xnli")["targets"]["toy_xnli"]
    trainer.before = stop
    assert evaluate(place, "toy_xnli", "--set", "seed=5", code=130)["targets"] == {}
    trainer.before = lambda: None
    new = evaluate(place, "toy_xnli", "--set", "seed=5")["targets"]["toy_xnli"]
    assert [run.seed for run in trainer.runs] == [1, 5, 5]
    assert new["protocol"]["training"][0]["seed"] == 5 and new["fingerprint"] != old["fingerprint"]
    names = sorted(path.name for path in (place / "run" / "eval" / "targets").iterdir() if path.is_dir())
    assert names == ["toy_xnli", "toy_xnli.1"]


def test_interrupted_training_goes_on(place: Path, trainer: Trainer) -> None:
    folder = place / "run" / "eval" / "targets" / "toy_xnli"

    def stop() -> None:
        (folder / "checkpoints").mkdir()
        raise KeyboardInterrupt

    trainer.before = stop
    evaluate(place, "toy_xnli", code=130)
    trainer.before = lambda: None
    evaluate(place, "toy_xnli")
    assert trainer.log == ["begins", "goes on"] and not (folder / "checkpoints").exists()

    # On other data than those that it was begun on, it begins anew.
    trainer.before = stop
    evaluate(place, "toy_xnli", "--set", "seed=2", code=130)
    train_on(place / "data", 20)
    trainer.before = lambda: None
    evaluate(place, "toy_xnli", "--set", "seed=2")
    assert trainer.log[2:] == ["begins", "begins"]


def test_other_weights_of_the_encoder(place: Path, trainer: Trainer, tiny_tokenizer_dir: Path) -> None:
    evaluate(place, "toy_xnli")
    make_run(place / "run", tiny_tokenizer_dir, seed=9, heads=())
    evaluate(place, "toy_xnli")
    assert trainer.log == ["begins", "begins"]


def test_a_folder_in_which_a_run_works_is_not_moved(place: Path, trainer: Trainer, capfd: Any) -> None:
    evaluate(place, "toy_xnli")
    folder = place / "run" / "eval" / "targets" / "toy_xnli"
    lock, _ = Lock.take(folder, Member.here(0))
    evaluate(place, "toy_xnli", "--set", "seed=2", code=2)
    assert f"error: {folder}: rank 0 on" in capfd.readouterr().err and (folder / "done").is_file()
    assert len(trainer.runs) == 1
    lock.release_all()


def test_missing_training_data_leave_a_target_out_and_the_others_go_on(place: Path, trainer: Trainer) -> None:
    shutil.rmtree(place / "data" / "rajpurkar")
    scores = evaluate(place, "toy_xnli,toy_xquad")
    assert list(scores["targets"]) == ["toy_xnli"] and list(scores["not_run"]) == ["toy_xquad"]
    assert scores["not_run"]["toy_xquad"].startswith("no training data: ")
    assert scores["average"]["missing"] == {"toy_xquad": "not run"}


def test_a_suite_without_any_training_data_is_an_error(place: Path, trainer: Trainer, capfd: Any) -> None:
    shutil.rmtree(place / "data" / "rajpurkar")
    assert evaluate(place, "toy_xquad", code=2) == {}
    assert "error: --suite toy_xquad: nothing to run: toy_xquad: no training data: " in capfd.readouterr().err


def test_what_cannot_run_now_is_not_shown_with_an_older_score(place: Path, trainer: Trainer, capfd: Any) -> None:
    evaluate(place, "toy_xnli,toy_xquad")
    shutil.rmtree(place / "data" / "rajpurkar")
    scores = evaluate(place, "toy_xnli,toy_xquad", "--set", "seed=2")
    assert list(scores["targets"]) == ["toy_xnli"]
    printed = capfd.readouterr().out.splitlines()
    last = printed[len(printed) - printed[::-1].index(next(x for x in printed[::-1] if x.startswith("target"))) :]
    assert not any(line.startswith("toy_xquad") for line in last)
    # What was scored with these settings stays, though its training data are gone now.
    assert list(evaluate(place, "toy_xnli", "--set", "seed=2")["targets"]) == ["toy_xnli"]


@pytest.mark.parametrize("override", ["name=x", "output=x", "data=x", "encoder=x", "encoder.config.hidden_size=8"])
def test_fields_that_the_driver_sets(place: Path, trainer: Trainer, override: str, capfd: Any) -> None:
    evaluate(place, "toy_xnli", "--set", override, code=2)
    said = f"`{override.partition('=')[0].partition('.')[0]}` of a target run is set by this program"
    assert said in capfd.readouterr().err and not trainer.runs and not (place / "run" / "eval").exists()


def test_a_head_with_other_labels_is_refused(place: Path, trainer: Trainer, capfd: Any) -> None:
    path = place / "run" / "heads" / "heads.json"
    make_run(place / "run", trainer.tokenizer)
    about = json.loads(path.read_text())
    about["mnli"]["labels"] = ["yes", "no", "maybe"]
    path.write_text(json.dumps(about))
    evaluate(place, "toy_xnli", "--direct", code=2)
    said = "its head mnli: its labels are yes, no, maybe; toy_xnli has entailment, neutral, contradiction"
    assert said in capfd.readouterr().err


def test_two_drivers_in_one_folder(place: Path, trainer: Trainer, capfd: Any) -> None:
    from eval.driver import results

    folder = place / "run" / "eval"
    with results.locked(folder):
        evaluate(place, "toy_xnli", code=2)
    assert f"error: {folder}: another evaluation is at work there" in capfd.readouterr().err
    evaluate(place, "toy_xnli")


def test_work_of_other_settings_does_not_pile_up(
    place: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors of a million texts are gigabytes; those that nothing will go on with are removed."""
    from eval.metrics import score_target

    with monkeypatch.context() as patch:

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(score_target, "figures", stop)
        evaluate(place, "toy_xnli", code=130)
    work = place / "run" / "eval" / "work"
    (old,) = work.iterdir()
    other = work / "xnli-0123456789ab"  # another target's, whose name ends alike
    other.mkdir()
    evaluate(place, "toy_xnli", "--set", "seed=2")
    assert not old.exists() and [path.name for path in work.iterdir()] == [other.name]


# Chains: Social IQa, then COPA


def write_chain(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two configs that toy_xnli is trained by, one after the other."""
    values = json.loads((configs.HOUSE / "configs" / "targets" / "toy_xnli.json").read_text())
    (place / "targets").mkdir()
    for name in ("first", "second"):
        (place / "targets" / name).write_text(json.dumps({**values, "name": name}))
    target = replace(suites.TARGETS["toy_xnli"], training=("first", "second"))
    monkeypatch.setitem(suites.TARGETS, "toy_xnli", target)


def test_a_chain_goes_from_one_run_to_the_next(place: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    write_chain(place, monkeypatch)
    scores = evaluate(place, "toy_xnli")
    one, two = trainer.runs
    folder = (place / "run" / "eval" / "targets").resolve()
    assert (one.name, two.name) == ("first", "second")
    assert one.encoder == str((place / "run" / "encoder").resolve()) and one.tasks[0].head is None
    assert (
        two.encoder == str(folder / "first" / "encoder") and two.tasks[0].head == f"{folder / 'first' / 'heads'}:mnli"
    )
    stages = scores["targets"]["toy_xnli"]["protocol"]["training"]
    assert [stage["config"] for stage in stages] == ["configs/targets/first.json", "configs/targets/second.json"]

    # Another first run makes another second one, though its own settings are the same.
    values = json.loads((place / "targets" / "first").read_text())
    values["seed"] = 7
    (place / "targets" / "first").write_text(json.dumps(values))
    evaluate(place, "toy_xnli")
    assert [(run.name, run.seed) for run in trainer.runs[2:]] == [("first", 7), ("second", 1)]
    # And another second run leaves the first alone.
    values = json.loads((place / "targets" / "second").read_text())
    values["seed"] = 8
    (place / "targets" / "second").write_text(json.dumps(values))
    evaluate(place, "toy_xnli")
    assert [(run.name, run.seed) for run in trainer.runs[4:]] == [("second", 8)]


def test_requests_do_not_depend_on_places(place: Path) -> None:
    """An evaluation folder that was moved is still that of its encoder."""
    settings = Settings((), place / "prepared", ("hub",), 2)
    moved = replace(settings, processes=1, prepared=place / "other", sources=(str(place),))
    shutil.copytree(place / "run", place / "moved")
    here, there = (
        chain(("toy_xnli",), Subject(str(place / name / "encoder"), torch.device("cpu")), place / name / "eval", one)
        for name, one in (("run", settings), ("moved", moved))
    )
    assert here[0].request() == there[0].request() and here[0].folder != there[0].folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_chain_with_the_real_trainer(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run starts from the first one's weights: with a learning rate of nothing it ends with them."""
    from safetensors.torch import load_file

    write_chain(place, monkeypatch)
    values = json.loads((place / "targets" / "second").read_text())
    values["optimizer"] |= {"lr": 1e-12, "head_lr": 1e-12}
    (place / "targets" / "second").write_text(json.dumps(values))
    scores = evaluate(place, "toy_xnli")
    assert len(scores["targets"]["toy_xnli"]["protocol"]["training"]) == 2
    folder = place / "run" / "eval" / "targets"
    for file in ("encoder_last/model.safetensors", "heads_last/heads.safetensors"):
        first = load_file(folder / "first" / file.replace("_last", ""))
        second = load_file(folder / "second" / file)
        assert all(torch.allclose(first[name], second[name], atol=1e-7) for name in first)
    start = load_file(place / "run" / "encoder" / "model.safetensors")
    trained = load_file(folder / "first" / "encoder" / "model.safetensors")
    assert any(not torch.allclose(start[name], trained[name], atol=1e-5) for name in start)


def test_data_that_the_first_source_lacks_are_named(place: Path, tmp_path: Path) -> None:
    write_supply(tmp_path / "toyworld", seed=1, scale=0.01)
    (tmp_path / "samples").mkdir()
    samples, toy = str(tmp_path / "samples"), str(tmp_path / "toyworld")
    subject = Subject(str(place / "run" / "encoder"), torch.device("cpu"))

    def supplied(*sources: str) -> list[str]:
        settings = Settings((), place / "prepared", sources, 2)
        return chain(("mewslix",), subject, place / "eval", settings)[0].supplied()

    assert supplied(samples, toy) == [f"target training on mewslix of {toy}, as {samples} lacks it"]
    assert supplied(toy, samples) == supplied(toy) == supplied("hub", toy) == []
