"""`deepspeed train.py` on two ranks: what it leaves, kill and resume, and how it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.errors import InputError
from mtl.model.saved_heads import load_heads
from mtl.run import setup
from tests.support.launch import HOUSE, deepspeed, program, train_and_kill
from tests.support.small import KINDS, write_run

FIELDS = {"steps": 40, "optimizer": {"lr": 3e-3}, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_tokenizer_dir):
    """A finished run on two ranks: (config, run folder, what it printed)."""
    folder = tmp_path_factory.mktemp("whole")
    path = write_run(folder, tiny_tokenizer_dir, **FIELDS)
    done = deepspeed(2, "train.py", "--config", path)
    return path, folder / "runs" / "small", done.stdout + done.stderr


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_run_folder(whole):
    _, folder, printed = whole
    names = {p.name for p in folder.iterdir()}
    assert names >= {
        "config.json", "run.json", "metrics.jsonl", "tensorboard", "checkpoints", "encoder", "encoder_last", "heads",
        "done",
    }  # fmt: skip
    record = json.loads((folder / "run.json").read_text())
    assert record["hardware"]["ranks"] == 2
    assert record["attention"] == "sdpa"
    assert record["packages"]["deepspeed"]
    best = json.loads((folder / "checkpoints/step-00000040/state.json").read_text())["best_step"]
    kept = {f"step-{step:08d}" for step in (36, 40, best)}
    assert {p.name for p in (folder / "checkpoints").glob("*step*")} == kept
    assert not (folder / ".lock").exists()
    assert (folder / "checkpoints" / "latest").read_text() == "step-00000040\n"
    assert "dev at step 40" in printed
    assert "Traceback" not in printed


def test_metrics(whole):
    _, folder, _ = whole
    lines = lines_of(folder)
    train = [x for x in lines if x["kind"] == "train" and x["task"] == "all"]
    assert [x["step"] for x in train] == list(range(2, 41, 2))
    assert all(x["tokens_per_second"] > 0 and 0 < x["packing"] <= 1 and x["grad_norm"] > 0 for x in train)
    dev = [x for x in lines if x["kind"] == "dev" and x["step"] == 40]
    assert {x["task"] for x in dev} == {f"my_{k}" for k in KINDS} | {"all"}
    by_task = {x["task"]: x for x in dev}
    assert {"f1", "em", "majority", "loss"} <= set(by_task["my_span"])
    assert {"accuracy", "majority", "loss"} <= set(by_task["my_tag"])
    majors = [x["f1"] if "f1" in x else x["accuracy"] for x in dev if x["task"] != "all"]
    assert by_task["all"]["mean"] == pytest.approx(np.mean(majors))


def test_it_learns(whole):
    """The tag task (long or short word) is easy: 40 steps must bring its loss well down."""
    _, folder, _ = whole
    losses = [x["loss"] for x in lines_of(folder) if x["kind"] == "train" and x["task"] == "my_tag"]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


def test_tensorboard_holds_the_curves(whole):
    _, folder, _ = whole
    board = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = board.Tags()
    expected = "loss lr grad_norm tokens_per_second packing fill memory_gib seconds_per_step"
    assert {f"train/{name}" for name in expected.split()} <= set(tags["scalars"])
    assert {"train_loss/my_mlm", "train_share/my_tag", "dev_f1/my_span", "dev/mean"} <= set(tags["scalars"])
    assert [event.step for event in board.Scalars("train/loss")] == list(range(2, 41, 2))
    assert any("config" in name for name in tags["tensors"])


def test_export_equals_the_trained_encoder_to_the_bit(whole):
    """AutoModel loads it, nothing missing; DeepSpeed's own merge of the checkpoint has the same bits."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    from transformers import AutoModel, AutoTokenizer

    path, folder, _ = whole
    encoder, info = AutoModel.from_pretrained(folder / "encoder_last", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    merged = get_fp32_state_dict_from_zero_checkpoint(str(folder / "checkpoints"), tag="step-00000040")
    exported = encoder.state_dict()
    names = [n for n in merged if n.startswith("encoder.")]
    assert len(names) == len(dict(encoder.named_parameters()))
    for name in names:
        assert torch.equal(merged[name], exported[name.removeprefix("encoder.")]), name
    heads = load_heads(folder / "heads_last")
    for name, head in heads.items():
        for part, weight in head.module.state_dict().items():
            assert torch.equal(merged[f"heads.{name}.{part}"], weight)
    tokenizer = AutoTokenizer.from_pretrained(folder / "encoder_last")
    original = setup.read(str(path), []).tokenizer
    text = "the small dog läuft 小さい"
    assert tokenizer(text).input_ids == original(text).input_ids
    assert "| my_span | span |" in (folder / "encoder" / "README.md").read_text()


def test_killed_and_resumed_is_bit_identical(whole, tmp_path, tiny_tokenizer_dir):
    """kill -9 of everything in mid-run; the same command again ends with the same bits, the same lines, once each."""
    _, folder, _ = whole
    path = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)
    other = tmp_path / "runs" / "small"
    train_and_kill(path, other, step=8, timeout=120)
    again = deepspeed(2, "train.py", "--config", path)
    assert "resuming" in again.stdout + again.stderr
    for part in ("encoder/model", "encoder_last/model", "heads_last/heads"):
        expected, found = (load_file(f / f"{part}.safetensors") for f in (folder, other))
        assert all(torch.equal(expected[n], found[n]) for n in expected), part
    timing = {"tokens_per_second", "seconds_per_step", "memory_gib"}
    kept = [[{k: v for k, v in x.items() if k not in timing} for x in lines_of(f)] for f in (folder, other)]
    assert kept[0] == kept[1]
    curve = EventAccumulator(str(other / "tensorboard")).Reload()
    assert [event.step for event in curve.Scalars("train/loss")] == list(range(2, 41, 2))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "seed=7"], "another run (seed: then 1, now 7)"),
        (["--set", "optimizer.lrr=1"], "unknown key `optimizer.lrr`; did you mean `lr`?"),
        (["--set", "optimizer.lr=1e-5"], "another run (optimizer.lr: then 0.003, now 1e-05)"),
        (["--set", "encoder.config.hidden_size=64"], "another run (encoder.hidden_size: then 32, now 64)"),
        (["--set", "max_length=40"], "python -m data_prep --config {config} --set max_length=40"),
        (["--set", "max_length=69"], "max_length 69 is more than the encoder's 68 positions"),
        (["--set", "deepspeed=zero9.json"], "zero9.json: no such file"),
    ],
)
def test_refusals_are_one_line(whole, arguments, said):
    path, _, _ = whole
    done = program("train.py", "--config", path, *arguments, check=False)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert said.format(config=path) in errors[0]
    assert "Traceback" not in done.stderr


def test_an_error_on_two_ranks_is_printed_once(whole):
    path, _, _ = whole
    done = deepspeed(2, "train.py", "--config", path, "--set", "seed=7", check=False)
    assert done.returncode != 0
    assert (done.stdout + done.stderr).count("another run") == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_a_key_in_both_configs_names_both(whole, tmp_path):
    path, _, _ = whole
    values = json.loads((HOUSE / "ds_configs" / "zero2_cpu.json").read_text())
    (tmp_path / "mine.json").write_text(json.dumps({**values, "gradient_clipping": 2.0}))
    done = program("train.py", "--config", path, "--set", f"deepspeed={tmp_path / 'mine.json'}", check=False)
    assert done.returncode == 2
    assert "`gradient_clipping` is decided by `optimizer.clip`" in done.stderr


def test_dry_run(whole):
    path, _, _ = whole
    done = program("train.py", "--config", path, "--dry-run")
    made = setup.read(str(path), [])
    for row in made.plan.expected():
        assert f"{row['probability']:.4f}" in done.stdout
    encoder = sum(p.numel() for p in made.model().encoder.parameters())
    assert f"{encoder:,} encoder" in done.stdout
    assert "ZeRO stage 2" in done.stdout


def test_resume_never_keeps_the_old_run(tmp_path, tiny_tokenizer_dir):
    path = write_run(tmp_path, tiny_tokenizer_dir, steps=2)
    program("train.py", "--config", path)
    program("train.py", "--config", path, "--resume", "never", "--set", "seed=5")
    assert json.loads((tmp_path / "runs/small/config.json").read_text())["seed"] == 5
    assert json.loads((tmp_path / "runs/small.1/config.json").read_text())["seed"] == 1
    # One evaluation, the last step's, is enough for a best encoder.
    assert (tmp_path / "runs/small/encoder/model.safetensors").exists()


@pytest.mark.slow
def test_early_stopping(tmp_path, tiny_tokenizer_dir):
    """With a learning rate of next to nothing no evaluation is better than the first: it stops after two more."""
    path = write_run(
        tmp_path, tiny_tokenizer_dir, steps=30, optimizer={"lr": 1e-30}, evaluate={"every": 2, "patience": 2}
    )
    done = program("train.py", "--config", path)
    assert "no better mean dev score in 2 evaluations" in done.stdout + done.stderr
    assert (tmp_path / "runs/small/done").read_text() == "step 6\n"
    more = program("train.py", "--config", path, "--set", "evaluate.patience=3")
    assert "resuming" in more.stdout + more.stderr
    assert (tmp_path / "runs/small/done").read_text() == "step 8\n"


def test_own_files_that_changed_are_not_mixed_up(tmp_path, tiny_tokenizer_dir):
    """Two configs with a task of one name and other files: each trains on its own, a changed file is told."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = write_run(tmp_path / "a", tiny_tokenizer_dir, data=str(tmp_path / "data"))
    two = write_run(tmp_path / "b", tiny_tokenizer_dir, data=str(tmp_path / "data"), seed_of_data=7)
    rows = [setup.read(str(path), []).tasks[0].train.take(np.arange(3)) for path in (one, two, one)]
    assert [r["input_ids"].tolist() for r in rows[0]] == [r["input_ids"].tolist() for r in rows[2]]
    assert [r["input_ids"].tolist() for r in rows[0]] != [r["input_ids"].tolist() for r in rows[1]]
    with (tmp_path / "a" / "classify.train.jsonl").open("a") as file:
        file.write('{"text_a": "one", "text_b": "more", "label": "no"}\n')
    with pytest.raises(InputError, match=r"is not prepared .* as they are now; run: python -m data_prep"):
        setup.read(str(one), [])


def test_what_is_never_trained_is_exported_as_it_came(tmp_path, tiny_tokenizer_dir):
    """Without a choice task the pooler is frozen; bf16 must not round it on its way to the export."""
    path = write_run(tmp_path, tiny_tokenizer_dir, steps=2)
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "tasks": [t for t in values["tasks"] if t["kind"] != "choice"]}))
    program("train.py", "--config", path, "--set", "deepspeed=zero2.json")
    before = setup.read(str(path), []).model().encoder.state_dict()
    after = load_file(tmp_path / "runs/small/encoder_last/model.safetensors")
    assert torch.equal(before["pooler.dense.weight"], after["pooler.dense.weight"])
    assert not torch.equal(before["encoder.layer.0.output.dense.weight"], after["encoder.layer.0.output.dense.weight"])
