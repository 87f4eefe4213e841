"""Run configs: every shipped one loads; wrong ones are answered in one line that helps."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import run_config
from common.deepspeed_config import read_deepspeed
from common.errors import InputError
from data_prep import run_tasks
from tests.support.launch import HOUSE

GOOD = {"name": "x", "tasks": ["mnli", {"task": "qqp", "cap": 5}], "epochs": 3}


def load(tmp_path, values, *overrides):
    path = tmp_path / "c.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return run_config.load(str(path), list(overrides))


@pytest.mark.parametrize("path", sorted((HOUSE / "configs").glob("*.json")), ids=lambda p: p.stem)
def test_shipped_configs_load(path):
    run = run_config.load(path.name)
    assert run.name == path.stem
    assert read_deepspeed(run)["gradient_clipping"] == run.optimizer.clip


def test_the_published_run():
    run, tasks = run_tasks.load("mtl_all.json")
    assert [t.name for t in tasks] == [
        "anli_plus", "mnli", "qqp", "squad_v1", "squad_v2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa",
    ]  # fmt: skip
    assert (run.mixture.kind, run.mixture.cap, run.mixture.batches) == ("capped", 2**17, "by_task")
    assert run.encoder == "FacebookAI/xlm-roberta-large"
    assert read_deepspeed(run)["zero_optimization"]["stage"] == 2
    assert read_deepspeed(run)["bf16"]["enabled"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tusks": []}, "unknown key `tusks`; did you mean `tasks`?"),
        ({"optimizer": {"learning_rate": 1}}, "unknown key `optimizer.learning_rate`"),
        ({"tasks": ["mnlii"]}, "unknown task 'mnlii'; did you mean `mnli`?"),
        ({"tasks": ["mnli", "mnli"]}, "'mnli' stands there twice"),
        ({"steps": 5}, "give either `epochs` or `steps`"),
        ({"batch": {"examples": 3, "tokens": 4}}, "batch: give either `examples` or `tokens`"),
        ({"batch": {"examples": 0}}, "batch.examples: "),
        ({"mixture": {"kind": "fixed"}}, "needs a `share` in every task"),
        ({"mixture": {"kind": "uniform", "cap": 3}}, "`cap` has no meaning for kind `uniform`"),
        ({"tasks": [{"task": "mnli", "labels": ["a"]}]}, "`labels` is fixed by the table"),
        ({"tasks": [{"name": "mine", "kind": "classify", "train": "t", "dev": "d"}]}, "needs `labels`"),
        ({"tasks": [{"name": "mine", "kind": "mlm"}]}, "needs `train`, `dev`"),
        ({"name": "a/b"}, "plain folder name"),
    ],
)
def test_wrong_configs(tmp_path, change, said):
    with pytest.raises(InputError) as error:
        load(tmp_path, {**GOOD, **change})
    assert said in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_broken_json_names_the_place(tmp_path):
    with pytest.raises(InputError, match=r"c.json: line 1, column \d+: not valid JSON"):
        load(tmp_path, '{"name": }')


def test_overrides(tmp_path):
    run = load(
        tmp_path, GOOD, "optimizer.lr=3e-5", "steps=7", "tasks.qqp.loss_weight=2", "name=other", "batch.tokens=100",
        "tasks.1.max_length=32",
    )  # fmt: skip
    assert run.optimizer.lr == 3e-5
    assert (run.steps, run.epochs) == (7, None)
    assert (run.tasks[1].loss_weight, run.tasks[1].cap) == (2, 5)
    assert run.name == "other"
    assert (run.batch.tokens, run.batch.examples) == (100, None)
    assert run.length_of(1) == 32
    for wrong in ("steps", "=5", "tasks.nope.cap=3", "name.x=1", "optimizer.lrx=1"):
        with pytest.raises(InputError):
            load(tmp_path, GOOD, wrong)


@given(
    key=st.sampled_from(sorted(run_config.RunConfig.model_fields)),
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=6,
    ),
)
@settings(max_examples=50)
def test_anything_in_a_field_is_a_config_or_one_line(tmp_path_factory, key, value):
    try:
        run = load(tmp_path_factory.getbasetemp(), {**GOOD, key: value})
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(run, run_config.RunConfig)
