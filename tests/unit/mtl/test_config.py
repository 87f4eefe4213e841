"""Run configs: every shipped one loads; wrong ones are answered in one line that helps."""

import json
from typing import Any

import pytest

from common import run_config
from common.deepspeed_config import read_deepspeed
from data_prep import run_tasks
from mtl.distributed import zero2_gradients
from mtl.distributed.collectives import differences
from mtl.run import setup
from tests.support.launch import REPOSITORY
from tests.support.rows import fails
from tests.support.small import dry_run

GOOD = {"name": "x", "tasks": ["mnli", {"task": "qqp", "cap": 5}], "epochs": 3}


def load(tmp_path, values, *overrides):
    path = tmp_path / "c.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return run_tasks.load(str(path), list(overrides))[0]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.json")), ids=lambda p: p.stem)
def test_shipped_configs_load(path):
    run = run_config.load(path.name)
    assert run.name == path.stem
    assert read_deepspeed(run)["gradient_clipping"] == run.optimizer.clip


def test_the_published_run():
    run, tasks = run_tasks.load("mtl_all.json")
    assert (
        " ".join(t.name for t in tasks) == "anli_plus mnli qqp squad_v1 squad_v2 hellaswag ccg cosmosqa commonsenseqa"
    )
    assert (run.mixture.kind, run.mixture.cap, run.mixture.batches) == ("capped", 2**17, "by_task")
    assert run.encoder == "FacebookAI/xlm-roberta-large"
    assert read_deepspeed(run)["zero_optimization"]["stage"] == 2 and read_deepspeed(run)["bf16"]["enabled"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tusks": []}, "unknown key `tusks`; did you mean `tasks`?"),
        ({"tasks": ["mnlii"]}, "unknown task 'mnlii'; did you mean `mnli`?"),
        ({"tasks": ["mnli", {"task": "mnli", "language": "de"}]}, "'mnli' is given twice; for one head in several"),
        ({"tasks": [{"task": "mnli", "language": "ja"}]}, "mnli: no training data in ja; there: en ar bg de el es fr "),
        ({"tasks": [{"task": "mnli", "languages": {"en": 0, "de": 0}}]}, "the shares add up to nothing"),
        ({"tasks": [{"task": "mnli", "languages": "all", "language": "de"}]}, "either `language` or `languages`"),
        ({"tasks": ["qqp", {"task": "wiki", "share": 1}]}, "the shares leave nothing to the tasks without `share`"),
        ({"tasks": [{"task": "qqp", "share": 0.5}]}, "a `share` in every task is mixture kind `fixed`, not `capped`"),
        ({"steps": 5}, "give either `epochs` or `steps`"),
        ({"mixture": {"kind": "fixed"}}, "needs a `share` in every task"),
        ({"tasks": [{"task": "mnli", "labels": ["a"]}]}, "`labels` is fixed by the table"),
        ({"tasks": [{"name": "mine", "kind": "classify", "train": "t", "dev": "d"}]}, "needs `labels`"),
        ({"name": "a/b"}, "plain folder name"),
    ],
)
def test_wrong_configs(tmp_path, change, said):
    fails(lambda: load(tmp_path, {**GOOD, **change}), str(tmp_path), said)


def test_overrides(tmp_path):
    """Of which one replaces the other; that all say what was written: tests/end_to_end/test_bad_input.py."""
    run = load(tmp_path, GOOD, "steps=7", "tasks.qqp.loss_weight=2", "tasks.1.max_length=32", "batch.tokens=100")
    assert (run.steps, run.epochs, run.batch.tokens, run.batch.examples) == (7, None, 100, None)
    assert (run.tasks[1].loss_weight, run.tasks[1].cap, run.length_of(1)) == (2, 5, 32)


def test_fast_zero2_is_tied_to_one_deepspeed_and_part_of_the_identity(small_run, monkeypatch, capsys):
    plain = setup.read(small_run, [])
    assert setup.code_hash() in plain.rank_identity().values()
    for change, name in (
        ("fast_zero2=false", "fast_zero2"), ("optimizer.lr=1", "optimizer"), ("hidden_dropout_prob=0.3",) * 2,
        ("mixture.cap=9", "mixture"), ("batch.examples=3", "batch examples"), ("deepspeed=zero1.json", "deepspeed"),
    ):  # fmt: skip
        other = setup.read(small_run, [change]).identity()
        assert any(name.split("=")[0] in found[0] for found in differences(plain.identity(), other)), change
    monkeypatch.setattr(zero2_gradients, "version", lambda package: {"deepspeed": "0.20.0"}[package])
    assert dry_run(["--config", small_run]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "0.20.0 is installed" in line and "--set fast_zero2=false" in line
    assert dry_run(["--config", small_run, "--set", "fast_zero2=false"]) == 0
    assert "fast_zero2 off" in capsys.readouterr().out


# DeepSpeed configs as users bring them from the Hugging Face Trainer, accelerate and older versions of DeepSpeed


OFF = {"enabled": False, "loss_scale": 0, "initial_scale_power": 16, "hysteresis": 2, "min_loss_scale": 1}
TRAINER = {
    "train_batch_size": "auto", "gradient_clipping": "auto", "fp16": OFF, "amp": {"enabled": False, "opt_level": "O1"},
    "zero_optimization": {"stage": 2, "reduce_bucket_size": "auto", "stage3_prefetch_bucket_size": "auto"},
}  # fmt: skip


def read(tmp_path: Any, values: dict[str, Any]) -> dict[str, Any]:
    path = tmp_path / "ds.json"
    path.write_text(json.dumps(values))
    return read_deepspeed(run_config.load("mtl_all.json", [f"deepspeed={path}"]))


def test_what_changes_nothing_is_left_out(tmp_path: Any) -> None:
    assert read(tmp_path, TRAINER) == read(tmp_path, {"fp16": {"enabled": False}, "zero_optimization": {"stage": 2}})


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"fp16": {**OFF, "enabled": True}, "scheduler": {}}, ["fp16 skips steps", "use bf16"]),
        (
            {"zero_optimization": {"stage": 2, "cpu_offload": True}, "scheduler": {}},
            ["`scheduler` is decided by `optimizer.warmup`", "zero_optimization: unknown key `cpu_offload`"],
        ),
        ({"zero_optimisation": {}, "fp17": {}}, ["unknown key `zero_optimisation`", "unknown key `fp17`"]),
        ({"bf16": {"enabled": "auto"}}, ["bf16.enabled", "boolean"]),
        ({"zero_optimization": {"stage": "auto"}}, ["zero_optimization.stage"]),
    ],
)
def test_every_reason_is_in_one_line(tmp_path: Any, values: dict[str, Any], parts: list[str]) -> None:
    fails(lambda: read(tmp_path, values), *parts)
