"""When target training runs, goes on, begins anew or is left out.

The trainer is a fake that writes what a run leaves; the real one is in test_eval_driver.py and, forked, at the end.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from common import run_config as configs
from data_prep.run_tasks import resolve
from eval import suites
from eval.__main__ import main
from eval.driver import subprocesses
from mtl.distributed.watchdog import Member
from mtl.run.run_lock import RunLock
from tests.support.eval_live import fork_programs, prepare_here
from tests.support.eval_run import QUESTIONS, make_run, scores_in, skip_reports, without_seconds, write_tests
from tests.support.launch import program
from tests.support.small import WORDS
from tests.support.target_files import laser, nli, write_parquet


def stop() -> None:
    raise KeyboardInterrupt


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
        run = configs.load(arguments[1], arguments[3::2])  # --config NAME, then --set KEY=VALUE
        folder = run.folder
        self.runs.append(run)
        self.log.append("goes on" if (folder / "checkpoints").exists() else "begins")
        (folder / "done").unlink(missing_ok=True)
        self.before()
        (task,) = [task.name for task in resolve(run)]
        (folder / "config.json").write_text(json.dumps(run.model_dump(mode="json")))
        plan = {"steps": run.steps, "tasks": {task: {"data": ["0"]}}}
        (folder / "run.json").write_text(json.dumps({"plan": plan}))
        dev = {"kind": "dev", "task": "all", "step": run.steps, "mean": 0.03}
        (folder / "metrics.jsonl").write_text(json.dumps(dev) + "\n")
        make_run(folder, self.tokenizer, seed=len(self.runs), heads=(task,))
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "done").write_text("step\n")
        watch()


@pytest.fixture
def trainer(tiny_tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    fake = Trainer(tiny_tokenizer_dir)
    monkeypatch.setattr(subprocesses, "deepspeed", fake)
    monkeypatch.setattr(subprocesses, "data_prep", prepare_here)
    return fake


def train_on(data: Path, count: int) -> None:
    """MNLI's training and dev data."""
    columns = {
        # The first is a row of the test.
        "premise": ["p0", *(f"a {WORDS[i % 7]} runs" for i in range(1, count))],
        "hypothesis": ["h0", *(WORDS[i % 5] for i in range(1, count))],
        "label": [i % 3 for i in range(count)],
        "idx": list(range(count)),
    }
    for split in ("train", "validation_matched"):
        write_parquet(data / "nyu-mll" / "glue" / "mnli", split, columns)


@pytest.fixture
def world(tmp_path: Path, tiny_tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """run/encoder; data/: test data of Tatoeba, XNLI and XQuAD, MNLI and SQuAD to train on."""
    make_run(tmp_path / "run", tiny_tokenizer_dir)
    data = tmp_path / "data"
    write_tests(data)
    laser(data, "deu", [(a, b) for a in WORDS[:4] for b in WORDS[4:8]])
    skip_reports(monkeypatch)
    for split in ("train", "validation"):
        write_parquet(data / "rajpurkar" / "squad" / "plain_text", split, {**QUESTIONS, "title": ["t", "t"]})
    train_on(data, 30)
    (tmp_path / "empty").mkdir()
    return tmp_path


def evaluate(world: Path, suite: str, *more: str, run: str = "run", code: int = 0) -> dict[str, Any]:
    """scores.json after the command, {} if there is none."""
    data, empty = str(world / "data"), str(world / "empty")
    arguments = ["--encoder", str(world / run / "encoder"), "--suite", suite, "--data", data]
    arguments += ["--source", empty, "--source", data, "--prepared", str(world / "prepared"), "--num_gpus", "1"]
    assert main([*arguments, "--set", "steps=3", *more]) == code
    folder = world / run / "eval"
    return scores_in(folder) if (folder / "scores.json").exists() else {}


def test_dev_is_scored_after_the_training_for_the_tests(trainer: Trainer, world: Path) -> None:
    tests = evaluate(world, "toy_xnli")
    write_parquet(world / "data" / "facebook" / "xnli" / "de", "validation", nli([0, 1]))
    assert evaluate(world, "toy_xnli", "--dev") == tests and len(trainer.runs) == 1
    assert scores_in(world / "run/eval/dev")["targets"]["toy_xnli"]["languages"].keys() == {"de"}


def test_what_is_done_is_not_done_again(world: Path, trainer: Trainer, capfd: Any) -> None:
    scores = evaluate(world, "toy_xnli,toy_xquad")
    assert [run.name for run in trainer.runs] == ["toy_xnli", "toy_squad"]
    assert all(run.encoder == str((world / "run" / "encoder").resolve()) and run.steps == 3 for run in trainer.runs)
    xquad = scores["targets"]["toy_xquad"]
    assert [(stage["selected_at_step"], stage["dev"]) for stage in xquad["protocol"]["training"]] == [(3, 3.0)]
    where = f"of {world / 'data'}, as {world / 'empty'} lacks it"
    assert xquad["supplied"] == [f"target training on squad_v1 {where}"]
    assert evaluate(world, "toy_xnli,toy_xquad") == scores and len(trainer.runs) == 2
    assert "toy_xnli: same encoder, training, protocol and data, taken from" in capfd.readouterr().err

    # Scores gone, training still there, and all of it moved: only predictions are made.
    (world / "run" / "eval" / "scores.json").unlink()
    (world / "run").rename(world / "moved")
    again = evaluate(world, "toy_xnli,toy_xquad", run="moved")
    assert len(trainer.runs) == 2 and without_seconds(again) == without_seconds(scores)


def test_other_settings_and_weights_are_trained_anew_and_the_old_run_is_kept(
    world: Path, trainer: Trainer, tiny_tokenizer_dir: Path
) -> None:
    fingerprints = {evaluate(world, "toy_xnli")["targets"]["toy_xnli"]["fingerprint"]}
    changes = ("--against=xnli", "--set=optimizer.lr=1", "--set=tasks.mnli.max_length=64", "--set=deepspeed=zero0.json")
    for change in changes:
        fingerprints.add(evaluate(world, "toy_xnli", change)["targets"]["toy_xnli"]["fingerprint"])
    # What has no influence on the weights trains nothing anew.
    evaluate(world, "toy_xnli", changes[-1], "--set", "log_every=7", "--set", "notes=x")
    assert len(trainer.runs) == len(fingerprints) == 5
    make_run(world / "run", tiny_tokenizer_dir, seed=9, heads=())
    evaluate(world, "toy_xnli", changes[-1])
    assert trainer.log == ["begins"] * 6
    kept = [path.parent.name for path in (world / "run" / "eval" / "targets").glob("*/done")]
    assert sorted(kept) == ["toy_xnli", *(f"toy_xnli.{number}" for number in range(1, 6))]


def test_interrupted_training_goes_on_only_as_it_was_asked_for(world: Path, trainer: Trainer) -> None:
    folder = world / "run" / "eval" / "targets" / "toy_xnli"

    def interrupted(*more: str, begun: bool) -> None:
        trainer.before = lambda: ((folder / "checkpoints").mkdir() if begun else None, stop())
        assert evaluate(world, "toy_xnli", *more, code=130)["targets"] == {}
        trainer.before = lambda: None

    interrupted(begun=True)
    old = evaluate(world, "toy_xnli")["targets"]["toy_xnli"]
    assert trainer.log == ["begins", "goes on"] and not (folder / "checkpoints").exists()
    # Stopped before it began: the run of other settings in the folder, which is done, is not taken for this one.
    interrupted("--set", "seed=5", begun=False)
    new = evaluate(world, "toy_xnli", "--set", "seed=5")["targets"]["toy_xnli"]
    assert [run.seed for run in trainer.runs] == [1, 1, 5, 5]
    assert new["protocol"]["training"][0]["seed"] == 5 and new["fingerprint"] != old["fingerprint"]
    # On other data than those that it was begun on, it begins anew.
    interrupted("--set", "seed=2", begun=True)
    train_on(world / "data", 20)
    evaluate(world, "toy_xnli", "--set", "seed=2")
    assert trainer.log[4:] == ["begins", "begins"]


def test_missing_training_data_leave_a_target_out(world: Path, trainer: Trainer, capfd: Any) -> None:
    evaluate(world, "toy_xnli,toy_xquad")
    shutil.rmtree(world / "data" / "rajpurkar")
    assert list(evaluate(world, "toy_xnli,toy_xquad")["targets"]) == ["toy_xnli", "toy_xquad"]  # scored already
    # With other settings its older score is not shown.
    scores = evaluate(world, "toy_xnli,toy_xquad", "--set", "seed=2")
    assert list(scores["targets"]) == ["toy_xnli"] and list(scores["not_run"]) == ["toy_xquad"]
    assert scores["not_run"]["toy_xquad"].startswith("no training data: ")
    assert scores["average"]["missing"] == {"toy_xquad": "not run"}
    *_, table = capfd.readouterr().out.rpartition("\ntarget ")
    assert "\ntoy_xnli " in table and "\ntoy_xquad " not in table
    evaluate(world, "toy_xquad", "--set", "seed=2", code=2)
    assert "error: --suite toy_xquad: nothing to run: toy_xquad: no training data: " in capfd.readouterr().err


def test_a_folder_at_which_another_process_works_is_left_alone(world: Path, trainer: Trainer, capfd: Any) -> None:
    evaluate(world, "toy_xnli")
    folder = world / "run" / "eval" / "targets" / "toy_xnli"
    lock, _ = RunLock.take(folder, Member.here(0))
    evaluate(world, "toy_xnli", "--set", "seed=2", code=2)
    assert f"error: {folder}: rank 0 on" in capfd.readouterr().err
    assert (folder / "done").is_file() and len(trainer.runs) == 1
    lock.release_all()


# Chains: Social IQa, then COPA


def change(world: Path, name: str, **fields: Any) -> None:
    """Writes the config of a training `name` as that of toy_xnli, with other values."""
    values = json.loads((configs.REPOSITORY / "configs" / "targets" / "toy_xnli.json").read_text())
    (world / "targets").mkdir(exist_ok=True)
    (world / "targets" / name).write_text(json.dumps({**values, "name": name, **fields}))


@pytest.fixture
def chain(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """toy_xnli is trained by two configs, one after the other."""
    monkeypatch.chdir(world)
    for name in ("first", "second"):
        change(world, name)
    monkeypatch.setitem(suites.TARGETS, "toy_xnli", replace(suites.TARGETS["toy_xnli"], training=("first", "second")))
    return world


def test_a_chain_goes_from_one_run_to_the_next(chain: Path, trainer: Trainer) -> None:
    scores = evaluate(chain, "toy_xnli")
    stages = scores["targets"]["toy_xnli"]["protocol"]["training"]
    assert [stage["config"] for stage in stages] == ["configs/targets/first.json", "configs/targets/second.json"]
    # Another first run makes another second one, another second run leaves the first alone.
    change(chain, "first", seed=7)
    evaluate(chain, "toy_xnli")
    change(chain, "second", seed=8)
    evaluate(chain, "toy_xnli")
    assert [(run.name, run.seed) for run in trainer.runs] == [
        ("first", 1), ("second", 1), ("first", 7), ("second", 1), ("second", 8),
    ]  # fmt: skip


def test_a_chain_with_the_real_trainer(chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run starts from encoder and head of the first: with a learning rate of 1e-12 it ends with them.

    Rows of the test are left out of both where that is asked for.
    """
    fork_programs(monkeypatch)
    change(chain, "second", optimizer={"lr": 1e-12, "head_lr": 1e-12})
    scores = evaluate(chain, "toy_xnli", "--against", "xnli")["targets"]["toy_xnli"]
    assert [s["overlap"]["mnli"]["left_out"] for s in scores["protocol"]["training"]] == [{"xnli": 1}] * 2
    folder = chain / "run" / "eval" / "targets"
    for file in ("encoder_last/model.safetensors", "heads_last/heads.safetensors"):
        first, second = load_file(folder / "first" / file.replace("_last", "")), load_file(folder / "second" / file)
        assert all(torch.allclose(first[name], second[name], atol=1e-7) for name in first)
    start = load_file(chain / "run" / "encoder" / "model.safetensors")
    trained = load_file(folder / "first" / "encoder" / "model.safetensors")
    assert any(not torch.allclose(start[name], trained[name], atol=1e-5) for name in start)


def test_direct_scores_are_the_same_on_two_processes(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors, also of noisy queries, labels and answers; there is a log of each target's processes."""
    fork_programs(monkeypatch)
    options = ("--direct", "--micro-tokens", "20", "--perturb", "typo@0.3")
    one = without_seconds(evaluate(world, "toy", *options))
    assert "typo@0.3" in one["toy_tatoeba"]["perturbed"]
    assert one.keys() == {"toy_tatoeba", "toy_xnli", "toy_xquad"}
    shutil.rmtree(world / "run" / "eval")
    two = evaluate(world, "toy", *options, "--num_gpus", "2")
    assert without_seconds(two) == one and len(list((world / "run" / "eval" / "work").glob("*.log"))) == 3


MODULES = """
import sys
from eval.__main__ import main
code = main(sys.argv[1:])
found = {name for name, module in sys.modules.items() if name.startswith("eval.") and not hasattr(module, "__path__")}
print(*sorted(name for name in found if not name.startswith("eval.report")))
sys.exit(code)
"""


def test_few_modules_enter_a_direct_score(world: Path, tmp_path: Path) -> None:
    """Whoever reads how a head's score comes about reads at most 15 modules of eval; the report comes after it."""
    (tmp_path / "modules.py").write_text(MODULES)
    arguments = ("--encoder", world / "run" / "encoder", "--data", world / "data", "--suite", "toy_xnli", "--direct")
    modules = program(tmp_path / "modules.py", *arguments).stdout.splitlines()[-1].split()
    assert "eval.inference.predict" in modules and "eval.driver.target_training" not in modules
    assert len(modules) <= 15, modules
