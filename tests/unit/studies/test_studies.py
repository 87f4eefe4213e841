"""Study files, what is held equal, identities and states of runs, and the runner's order of work."""

import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import files
from common.errors import InputError
from studies import phases
from studies.__main__ import main
from studies.report.results import oracle
from studies.resolve import resolve
from studies.runner import Options, Runner
from studies.runs import FINISHED, Run, locked
from studies.study import read
from tests.support.small import write_run

STUDY: dict[str, Any] = {
    "name": "small/one", "asks": "Does it?", "baseline": "both", "hold": "steps", "seeds": [1, 2],
    "variants": {"both": {"tasks-": ["my_mlm"]}, "text": {}},
    "evaluate": {"suite": "toy_tatoeba"}, "compare": {"primary": ["toy_tatoeba"]},
}  # fmt: skip
SHARES = {"my_classify": 0.3, "my_choice": 0.5, "my_mlm": 0.2}


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny_tokenizer_dir) -> Path:
    """A config with prepared data, whose tasks have shares."""
    path = write_run(tmp_path_factory.mktemp("base"), tiny_tokenizer_dir)
    values = json.loads(path.read_text())
    values["tasks"] = [
        {**entry, "share": SHARES[entry["name"]]} for entry in values["tasks"] if entry["name"] in SHARES
    ]
    values["mixture"] = {"kind": "fixed", "batches": "mixed"}
    path.write_text(json.dumps(values))
    return path


@pytest.fixture
def write(base: Path, tmp_path: Path):
    """Writes a study file: STUDY over the base, with changes of both."""

    def write(changes: dict[str, Any] | None = None, **common: Any) -> Path:
        path = tmp_path / "study.json"
        values = {**STUDY, "base": str(base), "common": common, **(changes or {})}
        inner = {key: {**STUDY[key], **values[key]} for key in ("variants", "evaluate")}
        path.write_text(json.dumps({**values, **inner}))
        return path

    return write


def steps(path: Path) -> dict[str, int | None]:
    return {run.variant.name: run.config.steps for run in resolve(read(str(path)), path.parent).runs}


def test_every_study_of_this_project_is_valid() -> None:
    folder = Path("configs/studies")
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.rglob("*.json"))]
    assert [read(name).name for name in names] == names and "toy/task_count" in names


def test_a_study_on_another_has_its_fields_and_another_hash(write, tmp_path) -> None:
    first = read(str(write()))
    (tmp_path / "other.json").write_text(
        json.dumps({"name": "other", "base_study": str(first.path), "hold": "task_steps"})
    )
    other = read(str(tmp_path / "other.json"))
    assert other.file == first.file.model_copy(update={"name": "other", "hold": "task_steps"})
    assert other.variants == first.variants and other.sha256 not in (first.sha256, files.file_sha256(other.path))


def test_variants_are_merged_and_crossed_with_factors(write) -> None:
    levels = {"lr": {"high": {"optimizer": {"lr": 0.5}}, "low": {"batch": {"tokens": 99}, "epochs": 3}}}
    study = read(str(write({"hold": None, "factors": levels}, optimizer={"warmup": 3})))
    assert list(study.variants) == ["both/high", "both/low", "text/high", "text/low"]
    assert study.comparisons == [("text/high", "both/high"), ("text/low", "both/low")]
    high, low = (study.variants[name].config for name in ("text/high", "both/low"))
    assert (high.optimizer.lr, high.optimizer.warmup, high.steps) == (0.5, 3, 8)
    assert (low.steps, low.epochs, low.batch.examples, low.batch.tokens) == (None, 3, None, 99)
    assert [len(config.tasks) for config in (high, low)] == [3, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": [1]}, ["unknown key `seed`", "`seeds`"]),
        ({"variants": {"text": {"stepz": 3}}}, ["variant text", "stepz", "`steps`"]),
        ({"variants": {"text": {"tasks-": ["mine"]}}}, ["variant text", "no 'mine'", "my_mlm"]),
        ({"baseline": "bth"}, ["'bth'", "`both`"]),
        ({"compare": {"primary": ["xnli"]}}, ["primary", "toy_tatoeba", "'xnli'"]),
        ({"evaluate": {"suite": "xtrem"}}, ["suite xtrem"]),
        ({"evaluate": {"also": ["perturb:typo@2"]}}, ["perturb typo@2", "rate from 0 to 1"]),
        ({"evaluate": {"also": ["perturb:codeswitch@0.1"]}}, ["codeswitch", "lexicons"]),
        ({"against": ["xtreme"]}, ["against", "'xtreme'"]),
        ({"evaluate": {"also": ["mlm_loss"]}}, ["mlm_loss", "`languages`"]),
        ({"evaluate": {"oracle": True}}, ["oracle", "toy_tatoeba"]),
        ({"variants": {"text": {"steps": 9}}}, ["hold steps", "variant both has 8", "variant text 9"]),
        ({"hold": "task_steps", "variants": {"text": {"steps": 8}}}, ["both has 8", "text 6", "10 steps"]),
        ({"hold": "epochs", "variants": {"text": {"epochs": 2}}}, ["both has steps 8", "text epochs 2"]),
        ({"hold": "examples", "variants": {"text": {"steps": 8, "batch": {"examples": 6}}}}, ["96", "48", "16 steps"]),
        ({"name": "runs/x"}, ["name", "runs/x"]),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line(write, tmp_path, capsys, monkeypatch, changes, words) -> None:
    monkeypatch.setattr(phases, "prepare", lambda *_: pytest.fail("something ran"))
    assert main([str(write(changes)), "run", "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and all(word in line for word in ("study.json", *words)), line


def test_what_is_held_sets_the_steps(write) -> None:
    assert steps(write()) == {"both": 8, "text": 8}
    assert steps(write({"hold": "task_steps"})) == {"both": 8, "text": 10}
    text = {"text": {"batch": {"examples": 24}}}
    assert steps(write({"hold": "examples", "variants": text})) == {"both": 8, "text": 4}
    tokens = write({"hold": "tokens", "variants": text})
    made = resolve(read(str(tokens)), tokens.parent)
    per_step = {}
    for name, examples in (("both", 12), ("text", 24)):
        rows = {task.name: task.train.take(np.arange(len(task.train))) for task in made.setups[name].tasks}
        means = [np.mean([row["length"] for row in some]) for some in rows.values()]
        per_step[name] = examples * np.average(means, weights=[SHARES[one] for one in rows])
    assert steps(tokens)["text"] == round(8 * per_step["both"] / per_step["text"])
    # Steps of the baseline follow from its epochs: 3 x (60 + 25 examples) / 12.
    assert steps(write(epochs=3, steps=None)) == {"both": 22, "text": 22}
    assert steps(write({"hold": "epochs"}, epochs=3, steps=None)) == {"both": None, "text": None}


def test_identity_is_what_the_result_depends_on(write, base, tmp_path) -> None:
    def ids(changes: Any = None, out: Path = tmp_path, **common: Any) -> list[str]:
        found = [run.identity for run in resolve(read(str(write(changes, **common))), out).runs]
        assert len(set(found)) == 4 and all(found)
        return found

    first = ids()
    elsewhere = shutil.copytree(base.parent / "data", tmp_path / "moved")
    assert ids(out=tmp_path / "other", data=str(elsewhere), name="x", log_every=3, micro_tokens=500) == first
    assert ids({"name": "two"}) == first
    assert not set(first) & set(ids(optimizer={"lr": 0.5}))
    assert not set(first) & set(ids(evaluate={"every": 2}))
    assert ids({"seeds": [2, 1]}) == [first[i] for i in (1, 0, 3, 2)]
    # Other data under the same name.
    changed = tmp_path / "choice.jsonl"
    lines = (base.parent / "choice.train.jsonl").read_text().splitlines()
    changed.write_text("\n".join(lines[:-1]) + "\n")
    entries = json.loads(base.read_text())["tasks"]
    entries[1] = {**entries[1], "train": str(changed)}
    made = resolve(read(str(write(tasks=entries))), tmp_path)
    assert list(made.unprepared) == ["both", "text"] and not made.runs[0].identity


def test_runs_without_a_folder_show_nothing_of_the_current_one(write, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "failed.json").write_text('{"error": "of something else"}')
    (tmp_path / "metrics.jsonl").write_text('{"step": 77}\n')
    assert main([str(write(data=str(tmp_path / "nothing"))), "status"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("to be prepared") == 4 and "something else" not in shown and "77" not in shown


def test_alignment_in_other_languages_is_another_evaluation(write) -> None:
    def evaluations(**evaluate: Any) -> set[str]:
        path = write({"evaluate": {"also": ["align"], **evaluate}})
        return {run.evaluation.name for run in resolve(read(str(path)), path.parent).runs}

    assert len(evaluations() | evaluations(languages=["de"]) | evaluations(languages=["sw"])) == 3


def test_the_lm_head_of_a_run_without_text_is_that_of_its_start(write) -> None:
    path, asked = write({"evaluate": {"also": ["mlm_loss"], "texts": {"de": "de.txt"}}}), {}
    for run in resolve(read(str(path)), path.parent).runs:
        run = replace(run, config=run.config.model_copy(update={"encoder": "some/encoder"}))
        asked[run.variant.name] = phases._beside("mlm_loss", run, phases.Place(["hub"], ["hub"], 1))
    assert all("--text=de=de.txt" in command for command in asked.values()) and "--head" not in asked["text"]
    assert asked["both"][asked["both"].index("--head") + 1] == "some/encoder"


@pytest.mark.parametrize("gpus", [None, 3])
def test_a_login_node_without_gpus(write, tmp_path, monkeypatch, capsys, gpus) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    asked = [] if gpus is None else ["--num-gpus", str(gpus)]
    assert main([str(write()), "slurm", "--out", str(tmp_path), *asked]) == 0
    script = (tmp_path / "studies/small/one/slurm.sh").read_text()
    assert ("--gpus-per-node=3 " in script) == (gpus == 3) == ("--gpus" in script)
    assert ("--num-gpus N" in capsys.readouterr().err) == (gpus is None)


def test_the_oracle_chooses_an_export_by_dev_for_each_language(write, monkeypatch) -> None:
    asked = {"suite": "toy_xnli", "direct": True, "oracle": True}
    path = write({"evaluate": asked, "compare": {"primary": ["toy_xnli"]}})
    run = resolve(read(str(path)), path.parent).runs[0]
    for name in ("encoder", "encoder_mean"):
        (run.folder / name).mkdir(parents=True)
    (run.folder / "done").touch()
    found = {  # (export, dev) -> score by language
        ("encoder", True): {"de": 50.0, "sw": 70.0}, ("encoder", False): {"de": 51.0, "sw": 71.0, "xx": 1.0},
        ("encoder_mean", True): {"de": 60.0, "sw": 60.0}, ("encoder_mean", False): {"de": 41.0, "sw": 61.0, "xx": 9.0},
    }  # fmt: skip
    began = []

    def program(command: list[str], *_: Any) -> None:
        named = Path(command[command.index("--encoder") + 1]).name, "--dev" in command
        began.append(named)
        place = Path(command[command.index("--out") + 1], "dev" if named[1] else "")
        place.mkdir(parents=True, exist_ok=True)
        files.write_json(place / "scores.json", {"targets": {"toy_xnli": {"languages": found[named]}}})

    monkeypatch.setattr(phases.subprocesses, "run", program)
    phases.evaluate(read(str(path)), run, phases.Place([], [], 1), lambda: None)
    assert began == [("encoder", False), ("encoder", True), ("encoder_mean", False), ("encoder_mean", True)]
    assert run.state == "done" and oracle([run], "toy_xnli") == {"de": 41.0, "sw": 71.0, "xx": 1.0}
    assert oracle([run, replace(run, evaluation=path.parent)], "toy_xnli") is None


class Programs:
    """In place of those that train and evaluate: they do nothing for a moment, and write what shows that they ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trained: list[str] = []
        self.broken: set[str] = set()
        monkeypatch.setattr(phases, "train", self.train)
        monkeypatch.setattr(phases, "evaluate", self.evaluate)

    def train(self, run: Run, place: phases.Place, watch: phases.Watch) -> None:
        self.trained.append(run.title)
        time.sleep(0.2)
        if run.title in self.broken:
            raise InputError("out of memory")
        (run.folder / "done").touch()

    def evaluate(self, study: Any, run: Run, place: phases.Place, watch: phases.Watch) -> None:
        run.evaluation.mkdir()
        files.write_json(run.evaluation / FINISHED, ["suite"])


def runner(path: Path, **options: Any) -> Runner:
    return Runner(read(str(path)), Options(path.parent, ["hub"], [], 1, **options))


def states(path: Path) -> list[str]:
    return [run.state for run in resolve(read(str(path)), path.parent).runs]


def test_a_failed_run_stops_no_other_and_is_tried_again(write, monkeypatch, capsys) -> None:
    programs, path = Programs(monkeypatch), write()
    programs.broken = {"both seed 2"}
    assert runner(path).run() == 1
    assert states(path) == ["done", "failed", "done", "done"]
    printed = capsys.readouterr().err
    assert "failed: both seed 2: out of memory (log: " in printed
    programs.broken, programs.trained = set(), []
    assert runner(path).run() == 0
    assert programs.trained == ["both seed 2"] and states(path) == ["done"] * 4


def test_the_first_failure_ends_all_if_asked(write, monkeypatch) -> None:
    programs, path = Programs(monkeypatch), write()
    programs.broken = {"both seed 1"}
    assert runner(path, stop_on_failure=True).run() == 1
    assert states(path) == ["failed", "missing", "missing", "missing"]
    assert runner(path, only=3).run() == 0
    assert states(path) == ["failed", "missing", "done", "missing"]


def test_two_runners_and_two_studies_share_the_runs(write, monkeypatch) -> None:
    programs, path = Programs(monkeypatch), write()
    other = path.with_name("other.json")
    other.write_text(
        json.dumps({**json.loads(path.read_text()), "name": "other", "variants": {"both": {}, "third": {}}})
    )
    values = json.loads(path.read_text())
    values["variants"]["third"] = {}
    path.write_text(json.dumps(values))  # `third` is `text` under another name
    threads = [threading.Thread(target=runner(one, jobs=jobs).run) for one, jobs in ((path, 1), (path, 2), (other, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(programs.trained) == 4  # two different runs, each with two seeds
    assert states(path) == ["done"] * 6 and states(other) == ["done"] * 4
    with locked(resolve(read(str(other)), path.parent).runs[0].folder):
        assert states(other) == ["running", "done", "running", "done"]


def test_noise_is_scored_with_the_suite(write, monkeypatch) -> None:
    """By one call; a run whose suite was scored before the noise was asked for is scored again with it."""
    path = write({"evaluate": {"also": ["perturb:typo@0.1,case"]}})
    study, calls = read(str(path)), []
    run = resolve(study, path.parent).runs[0]

    def start(place: phases.Place, command: list[str], *_: Any) -> None:
        calls.append(command)
        files.write_json(run.evaluation / "scores.json", {"targets": {"toy_tatoeba": {}}})

    monkeypatch.setattr(phases.Place, "start", start)
    run.evaluation.mkdir(parents=True)
    for number, before in enumerate(([], ["suite"]), 1):
        files.write_json(run.evaluation / FINISHED, before)
        phases.evaluate(study, run, phases.Place([], ["hub"], 1), lambda: None)
        assert run.finished == ["suite", "perturb:typo@0.1,case"] and not run.steps
        assert len(calls) == number and "--perturb=typo@0.1,case" in calls[-1]
