"""Study files, what is held equal, identities and states of runs, and the runner's order of work."""

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from common import files
from common.errors import InputError
from data_prep.__main__ import main as data_prep
from data_prep.storage import store
from eval.driver.subprocesses import ProgramFailed
from mtl.data.loader import steps_from
from mtl.distributed.watchdog import Member
from mtl.run import setup
from mtl.run.run_lock import RunLock
from studies import difficulty, estimate, phases
from studies.__main__ import main
from studies.hold import tokens_per_step
from studies.report.results import oracle
from studies.resolve import resolve
from studies.runner import Options, Runner
from studies.runs import FINISHED, Run, evaluation_name, locked
from studies.study import DECLARED, STEPS, read
from tests.support.rows import fails
from tests.support.small import KINDS, write_run, write_tasks

STUDY: dict[str, Any] = {
    "name": "small/one", "asks": "Does it?", "baseline": "both", "hold": "steps", "seeds": [1, 2],
    "variants": {"both": {"tasks-": ["my_mlm"]}, "text": {}},
    "evaluate": {"suite": "toy_tatoeba"}, "compare": {"primary": ["toy_tatoeba"]},
}  # fmt: skip
SHARES = {"my_classify": 0.3, "my_choice": 0.5, "my_mlm": 0.2}


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny_tokenizer_dir) -> Path:
    """A config with prepared data, whose tasks have shares."""
    folder = tmp_path_factory.mktemp("base")
    tasks = write_tasks(folder, kinds=("classify", "choice", "mlm"))
    tasks = [{**entry, "share": SHARES[entry["name"]]} for entry in tasks]
    return write_run(folder, tiny_tokenizer_dir, tasks=tasks, mixture={"kind": "fixed", "batches": "mixed"})


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


def test_every_study_of_this_project_is_valid(tmp_path) -> None:
    folder = Path("configs/studies")
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.rglob("*.json"))]
    assert [read(name).name for name in names] == names and "toy/task_count" in names
    assert main(["difficulty", "plan", "--out", str(tmp_path)]) == 0  # the study, not the program of that name


def test_a_study_on_another_has_its_fields_and_another_hash(write, tmp_path) -> None:
    first = read(str(write()))
    changes = {"name": "other", "hold": "task_steps"}
    files.write_json(tmp_path / "other.json", {"base_study": str(first.path), **changes})
    other = read(str(tmp_path / "other.json"))
    assert other.file == first.file.model_copy(update=changes)
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
        ({"compare": {"primary": ["xnli"]}}, ["primary", "toy_tatoeba", "'xnli'"]),
        ({"compare": {"primary": ["toy_tatoeba:en-xx"]}}, ["primary", "no metric 'en-xx'", "`en->xx`"]),
        ({"evaluate": {"also": ["perturb:typo@2"]}}, ["perturb typo@2", "rate from 0 to 1"]),
        ({"evaluate": {"also": ["mlm_loss"]}}, ["mlm_loss", "`languages`"]),
        ({"variants": {"text": {"steps": 9}}}, ["hold steps", "variant both has 8", "variant text 9"]),
        ({"hold": "task_steps", "variants": {"text": {"steps": 8}}}, ["both has 8", "text 6", "10 steps"]),
        ({"hold": "epochs", "variants": {"text": {"epochs": 2}}}, ["both has steps 8", "text epochs 2"]),
        ({"hold": "examples", "variants": {"text": {"steps": 8, "batch": {"examples": 6}}}}, ["96", "48", "16 steps"]),
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


def test_the_plan_counts_a_training_once(write, base, tmp_path) -> None:
    """Of two exports of a run, at 0.1 tokens a second; a variant that starts from another run waits for it."""
    own, pool = {"tasks-": ["my_mlm"]}, tmp_path / "studies/runs/earlier"
    study = read(str(write({"seeds": [1], "variants": {"text": {**own, "take": "encoder_last"}}})))
    (pool / "eval-0").mkdir(parents=True)
    files.write_json(pool / "config.json", study.variants["both"].config.model_dump(mode="json"))
    (pool / "metrics.jsonl").write_text('{"task": "all", "kind": "train", "tokens_per_second": 0.1}\n')
    files.write_json(pool / "eval-0" / "scores.json", {"targets": {"xnli": {"seconds": 7200}}})
    made = resolve(study, tmp_path)
    training = 8 * tokens_per_step(made.setups["both"].plan) / 0.1 / 3600
    assert f"left to do: {training + 4:.2f} hours" in estimate.render(study, made, tmp_path)
    made.runs[0].folder.mkdir()
    (made.runs[0].folder / "done").touch()
    assert "left to do: 4.00 hours" in estimate.render(study, made, tmp_path)
    first, text = {"base": str(base)}, {"encoder": "{first}/encoder"}
    later = {"before": {"first": first}, "variants": {"text": text}, "seeds": [1]}
    plan = estimate.render(study := read(str(write(later))), resolve(study, tmp_path), tmp_path)
    assert "left to do: at least" in plan and "1 waiting" in plan


def test_identity_is_what_the_result_depends_on(write, base, tmp_path) -> None:
    def ids(changes: Any = None, out: Path = tmp_path, **common: Any) -> list[str]:
        found = [run.identity for run in resolve(read(str(write(changes, **common))), out).runs]
        assert len(set(found)) == 4 and all(found)
        return found

    first = ids()
    elsewhere = shutil.copytree(base.parent / "data", tmp_path / "moved")
    ignored = {"name": "x", "log_every": 3, "micro_tokens": 500, "checkpoint": {"every": 2}}
    assert ids(out=tmp_path / "other", data=str(elsewhere), **ignored) == first
    assert ids({"name": "two"}) == first
    others = [ids(optimizer={"lr": 0.5}), ids(evaluate={"every": 2})]
    others += [ids(export={"average": 2}, checkpoint={"every": every}) for every in (2, 4)]
    assert len(set().union(first, *others)) == 4 * 5
    assert ids({"seeds": [2, 1]}) == [first[i] for i in (1, 0, 3, 2)]
    # Alignment in other languages is another evaluation of the same run.
    paths = (write({"evaluate": {"also": ["align"], "languages": [code]}}) for code in ("de", "sw"))
    assert len({run.evaluation.name for path in paths for run in resolve(read(str(path)), tmp_path).runs}) == 2
    # Other data under the same name.
    changed = tmp_path / "choice.jsonl"
    lines = (base.parent / "choice.train.jsonl").read_text().splitlines()
    changed.write_text("\n".join(lines[:-1]) + "\n")
    entries = json.loads(base.read_text())["tasks"]
    entries[1] = {**entries[1], "train": str(changed)}
    made = resolve(read(str(write(tasks=entries))), tmp_path)
    assert list(made.unprepared) == ["both", "text"] and not made.runs[0].identity


def started(monkeypatch: pytest.MonkeyPatch, targets: Callable[[list[str]], Any]) -> list[list[str]]:
    """The commands of the programs that evaluate, which leave scores of `targets(command)` and do nothing else."""
    commands: list[list[str]] = []

    def run(command: list[str], *_: Any) -> None:
        commands.append(command)
        place = Path(command[command.index("--out") + 1], "dev" if "--dev" in command else "")
        place.mkdir(parents=True, exist_ok=True)
        files.write_json(place / "scores.json", {"targets": targets(command)})

    monkeypatch.setattr(phases.subprocesses, "run", run)
    return commands


def evaluated(path: Path, run: Run) -> None:
    phases.evaluate(read(str(path)), run, phases.Place([], ["hub"], 1), lambda: None)


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

    def named(command: list[str]) -> tuple[str, bool]:
        return Path(command[command.index("--encoder") + 1]).name, "--dev" in command

    commands = started(monkeypatch, lambda command: {"toy_xnli": {"languages": found[named(command)]}})
    evaluated(path, run)
    assert sorted(map(named, commands)) == sorted(found)
    assert run.state == "done" and oracle([run], "toy_xnli") == {"de": 41.0, "sw": 71.0, "xx": 1.0}
    assert oracle([run, replace(run, evaluation=path.parent)], "toy_xnli") is None


def test_noise_is_scored_with_the_suite_and_mlm_loss_has_a_head(write, monkeypatch) -> None:
    """By one call; a run whose suite was scored before the noise was asked for is scored again with it.

    The LM head of a run without text is that of its start.
    """
    also = ["perturb:typo@0.1,case", "mlm_loss"]
    path = write({"evaluate": {"also": also, "texts": {"de": "de.txt"}}})
    commands = started(monkeypatch, lambda _: {"toy_tatoeba": {}})
    for run in resolve(read(str(path)), path.parent).runs[::2]:
        run = replace(run, config=run.config.model_copy(update={"encoder": "some/encoder"}))
        run.evaluation.mkdir(parents=True)
        for before in ([], ["suite", "mlm_loss"]):
            files.write_json(run.evaluation / FINISHED, before)
            evaluated(path, run)
            assert sorted(run.finished) == sorted(["suite", *also]) and not run.steps
        scored, loss, again = commands
        assert all("--perturb=typo@0.1,case" in one for one in (scored, again))
        assert "--text=de=de.txt" in loss and ("--head" in loss) == (run.variant.name == "both")
        assert "--head" not in loss or loss[loss.index("--head") + 1] == "some/encoder"
        commands.clear()


def test_rows_left_out_stay_out(write, monkeypatch) -> None:
    """Of target training too; a run whose data were prepared anew is not trained. An encoder that is not there."""
    asked = {"evaluate": {"suite": "toy_xnli"}, "compare": {"primary": ["toy_xnli"]}}
    run = resolve(read(str(path := write(asked))), path.parent).runs[0]
    fails(lambda: runner(path)._check_data(replace(run, identity="another")), "prepared anew")
    run.evaluation.mkdir(parents=True)
    commands = started(monkeypatch, lambda _: {"toy_xnli": {}})
    fewer = read(str(path := write({**asked, "against": ["toy_xquad", "toy_xnli"]}))).variants["both"]
    evaluated(path, replace(run, variant=fewer))
    assert commands[0][commands[0].index("--against") + 1] == "toy_xnli,toy_xquad"
    assert evaluation_name(fewer) != run.evaluation.name
    fails(runner(write({"variants": {"plain": {"train": False, "encoder": "/no/encoder"}}})).run, "/no/encoder")


def test_align_and_mlm_loss_find_their_data_or_nothing_runs(write, tmp_path, capsys) -> None:
    (pairs := tmp_path / "pairs").mkdir()
    (other := tmp_path / "other").mkdir()
    for code in ("deu", "eng"):
        (pairs / f"tatoeba.deu-eng.{code}").write_text("x\n")
    path = write({"evaluate": {"also": [*STEPS], "languages": ["de"]}})
    asked, data = read(str(path)).file.evaluate, [f"xnli={pairs}", str(other), f"tatoeba={pairs}"]
    assert [phases.data_of(step, asked, data) for step in STEPS] == [[str(pairs)], [str(other)]]
    for given, said in ((str(other), "align: no Tatoeba"), (f"tatoeba={pairs}", "mlm_loss: no folder")):
        assert main([str(path), "run", "--out", str(tmp_path), "--data", given]) == 2
        assert capsys.readouterr().err.startswith(f"error: {said}")


def test_a_training_of_another_host_is_waited_for(write, monkeypatch) -> None:
    [run, *_] = resolve(read(str(path := write())), path.parent).runs
    run.folder.mkdir(parents=True)
    locks: list[RunLock] = []

    def beaten(*_: Any, **__: Any) -> None:
        locks.append(RunLock.take(run.folder, Member.here(0))[0])
        raise ProgramFailed("a process of node 2 still works there", 2)

    def watch() -> None:
        (run.folder / "done").touch()
        locks[0].release_all()

    monkeypatch.setattr(phases.subprocesses, "deepspeed", beaten)
    phases.train(run, phases.Place([], [], 1), watch)
    assert run.trained and len(locks) == 1


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


def test_a_failed_run_stops_no_other_unless_asked_and_is_tried_again(write, tmp_path, monkeypatch, capsys) -> None:
    programs, path = Programs(monkeypatch), write()
    programs.broken = {"both seed 1"}
    assert runner(path, stop_on_failure=True).run() == 1
    assert states(path) == ["failed", "missing", "missing", "missing"]
    assert runner(path, only=3).run() == 0
    assert states(path) == ["failed", "missing", "done", "missing"]
    assert runner(path).run() == 1
    assert states(path) == ["failed", "done", "done", "done"]
    assert "failed: both seed 1: out of memory (log: " in capsys.readouterr().err
    programs.broken, programs.trained = set(), []
    assert runner(path).run() == 0
    assert programs.trained == ["both seed 1"] and states(path) == ["done"] * 4
    assert (tmp_path / "studies/small/one" / DECLARED).read_text() == read(str(path)).sha256


def test_two_runners_and_two_studies_share_the_runs(write, monkeypatch) -> None:
    programs, path = Programs(monkeypatch), write()
    other, values = path.with_name("other.json"), json.loads(path.read_text())
    files.write_json(other, {**values, "name": "other", "variants": {"both": {}, "third": {}}})
    values["variants"]["third"] = {}  # `text` under another name
    files.write_json(path, values)
    with ThreadPoolExecutor() as pool:
        assert [*pool.map(lambda one, jobs: runner(one, jobs=jobs).run(), (path, path, other), (1, 2, 1))] == [0, 0, 0]
    assert len(programs.trained) == 4  # two different runs, each with two seeds
    assert states(path) == ["done"] * 6 and states(other) == ["done"] * 4
    with locked(resolve(read(str(other)), path.parent).runs[0].folder):
        assert states(other) == ["running", "done", "running", "done"]


# Strata of training examples by difficulty, and training on the rows that a file names


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_tokenizer_dir):
    return write_run(tmp_path_factory.mktemp("subset"), tiny_tokenizer_dir, max_length=30)


@pytest.fixture
def run(tmp_path):
    """The folder of a run with dynamics of one task: 40 examples of two rows, 25 of label 0; one is seen only twice."""
    rng = np.random.default_rng(1)
    label = np.repeat((np.arange(40) > 24).astype(int), 2)
    columns = {
        "row": np.arange(80), "id": [f"x{number // 2:02}" for number in range(80)], "label": label,
        "visits": [2 if number == 7 else 4 for number in range(80)],
        **{name: rng.random(80) for name in ("confidence", "variability", "correctness")},
    }  # fmt: skip
    batch = pa.RecordBatch.from_pydict(columns)
    (tmp_path / "run" / "dynamics").mkdir(parents=True)
    store.write_table(tmp_path / "run" / "dynamics" / "nli.arrow", [batch], batch.schema)
    (tmp_path / "run" / "config.json").write_text(json.dumps({"seed": 7}))
    return tmp_path / "run", columns


def test_strata_are_thirds_of_each_label(run, capsys):
    folder, columns = run
    assert difficulty.main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert "nli: 1 of 40 examples have fewer than 3 visits" in said and "seed 7" in said and "label is wrong" in said
    files = folder.glob("dynamics/strata/nli.*.txt")
    strata = {path.stem.partition(".")[2]: path.read_text().split() for path in files}
    assert strata.keys() == {"easy", "medium", "hard", "ambiguous", "random"}
    means = {name: np.array(columns[name]).reshape(-1, 2).mean(1) for name in ("confidence", "variability")}
    for label, members in ((0, [n for n in range(25) if n != 3]), (1, list(range(25, 40)))):
        third = len(members) // 3  # 8 and 5: all strata have 13
        by = {name: sorted(members, key=lambda n, name=name: -means[name][n]) for name in means}
        expected = {
            "easy": by["confidence"][:third], "medium": by["confidence"][third : 2 * third],
            "hard": by["confidence"][-third:], "ambiguous": by["variability"][:third],
        }  # fmt: skip
        for name, numbers in expected.items():
            mine = {one for one in strata[name] if (int(one[1:]) > 24) == label}
            assert mine == {f"x{number:02}" for number in numbers}, name
        assert sum((int(one[1:]) > 24) == label for one in strata["random"]) == third
    assert all(len(set(ids)) == 13 and "x03" not in ids for ids in strata.values())
    fails(lambda: difficulty.main([str(folder), "--visits", "5"]), "too few for thirds")


@pytest.mark.parametrize("kind", KINDS[:4])
def test_a_subset_is_all_that_is_trained_on(config, tmp_path, kind):
    """Every window of a question; the same examples when the data are prepared again, for another length."""
    number, file = KINDS.index(kind), tmp_path / "ids.txt"
    whole = setup.read(str(config), []).tasks[number]
    ids = store.row_ids(whole.prepared).to_pylist()
    wanted = sorted(set(ids), key=lambda one: hash((one, 1)))[::3]
    file.write_text("\n".join(wanted))
    rows = [row for row, one in enumerate(ids) if one in wanted]
    override = f"tasks.my_{kind}.subset={file}"
    made = setup.read(str(config), [override])
    task = made.tasks[number]
    assert len(task.train) == len(rows) < len(whole.train)
    expected = whole.train.take(np.array(rows))
    for ours, theirs in zip(task.train.take(np.arange(len(rows))), expected, strict=True):
        assert ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert task.mean_length == pytest.approx(np.mean([row["length"] for row in expected]))
    drawn = np.concatenate([step.row[step.task == number] for step in steps_from(made.plan, 0)])
    assert set(drawn.tolist()) <= set(range(len(rows)))
    assert made.plan.fingerprint() != setup.read(str(config), []).plan.fingerprint()
    assert data_prep(["--config", str(config), "--jobs", "1", "--set", "max_length=60"]) == 0
    again = setup.read(str(config), [override, "max_length=60"]).tasks[number]
    assert set(store.row_ids(again.prepared).take(pa.array(again.train.chosen)).to_pylist()) == set(wanted)


def test_wrong_subsets_are_one_line(config, tmp_path):
    file = tmp_path / "ids.txt"
    file.write_text("no such id\n")
    for kind, said in (("classify", "my_classify: subset"), ("mlm", "no ids of its training rows")):
        fails(lambda kind=kind: setup.read(str(config), [f"tasks.my_{kind}.subset={file}"]), said)
