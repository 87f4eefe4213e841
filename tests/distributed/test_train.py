"""train.py on two ranks: what it leaves, kill and resume, and how it refuses."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mtl.model.saved_heads import heads_folder_of, load_heads
from mtl.run import checkpoint, setup
from tests.support.launch import program, the_error
from tests.support.live import differences, metrics, train_and_kill
from tests.support.small import KINDS, elsewhere, rewind, write_run

pytestmark = pytest.mark.timeout(600)
STEPS = 40


def test_the_run_folder(finished):
    config, folder = finished
    assert not (folder / ".lock").exists()
    record = json.loads((folder / "run.json").read_text())
    assert record["hardware"]["ranks"] == 2
    assert record["attention"] == "sdpa"
    assert record["packages"]["deepspeed"]
    assert record["overlap"]["my_span"] == {"kind": "span", "against": [], "left_out": {}}
    assert (folder / "checkpoints" / "latest").read_text() == f"step-{STEPS:08d}\n"
    assert "| my_span | span |" in (folder / "encoder" / "README.md").read_text()
    printed = (config.parent / "printed.txt").read_text()
    assert f"dev at step {STEPS}" in printed
    assert "Traceback" not in printed


def test_metrics_and_curves(finished):
    """Every line once; the tag task (long or short word) is easy, so its loss must come well down."""
    folder = finished[1]
    train = metrics(folder, kind="train", task="all")
    assert [x["step"] for x in train] == list(range(2, STEPS + 1, 2))
    assert all(x["tokens_per_second"] > 0 and 0 < x["packing"] <= 1 and x["grad_norm"] > 0 for x in train)
    plan = setup.read(str(finished[0]), []).plan
    tokens = [plan.step(number).tokens for number in range(STEPS)]
    assert [x["tokens_per_step"] for x in train] == [
        sum(two) / 2 for two in zip(tokens[::2], tokens[1::2], strict=True)
    ]
    losses = [x["loss"] for x in metrics(folder, kind="train", task="my_tag")]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    dev = {x["task"]: x for x in metrics(folder, kind="dev", step=STEPS)}
    assert set(dev) == {f"my_{k}" for k in KINDS} | {"all"}
    assert {"f1", "em", "majority", "loss"} <= set(dev["my_span"])
    assert {"accuracy", "majority", "loss"} <= set(dev["my_tag"])
    scores = [x["f1"] if "f1" in x else x["accuracy"] for task, x in dev.items() if task != "all"]
    assert dev["all"]["mean"] == pytest.approx(np.mean(scores))
    board = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = board.Tags()
    expected = "loss lr grad_norm tokens_per_second packing fill memory_gib seconds_per_step"
    assert {f"train/{name}" for name in expected.split()} <= set(tags["scalars"])
    assert {"train_loss/my_mlm", "train_share/my_tag", "dev_f1/my_span", "dev/mean"} <= set(tags["scalars"])
    assert [event.step for event in board.Scalars("train/loss")] == [x["step"] for x in train]
    assert any("config" in name for name in tags["tensors"])


def test_the_export_is_bitwise_deepspeeds_own_merge_of_the_checkpoint(finished):
    """AutoModel loads it, nothing missing; its tokenizer is the run's."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    from transformers import AutoModel, AutoTokenizer

    config, folder = finished
    encoder, info = AutoModel.from_pretrained(folder / "encoder_last", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    merged = get_fp32_state_dict_from_zero_checkpoint(str(folder / "checkpoints"), tag=f"step-{STEPS:08d}")
    exported = {f"encoder.{name}": weight for name, weight in encoder.named_parameters()}
    for name, head in load_heads(folder / "heads_last").items():
        exported |= {f"heads.{name}.{part}": weight for part, weight in head.module.named_parameters()}
    assert set(exported) == set(merged)
    for name, weight in merged.items():
        assert torch.equal(weight, exported[name]), name
    text = "the small dog läuft 小さい"
    tokenizer = AutoTokenizer.from_pretrained(folder / "encoder_last")
    assert tokenizer(text).input_ids == setup.read(str(config), []).tokenizer(text).input_ids


def test_encoder_mean_is_the_mean_of_the_last_checkpoints_masters(finished):
    """Of those every 4 steps, though others are there; read by DeepSpeed's own merge, summed in float64."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    folder = finished[1]
    tags = [f"step-{step:08d}" for step in (32, 36, 40)]
    merged = [get_fp32_state_dict_from_zero_checkpoint(str(folder / "checkpoints"), tag=tag) for tag in tags]
    exported = {f"encoder.{n}": w for n, w in load_file(folder / "encoder_mean" / "model.safetensors").items()}
    exported |= {f"heads.{n}": w for n, w in load_file(folder / "heads_mean" / "heads.safetensors").items()}
    assert set(exported) == set(merged[0])
    for name, weight in exported.items():
        expected = np.mean([one[name].detach().double().numpy() for one in merged], axis=0).astype(np.float32)
        assert np.array_equal(weight.numpy(), expected), name
        assert name.startswith("encoder.pooler") or not torch.equal(merged[0][name], merged[2][name]), name
    assert "mean of those after steps 32, 36, 40" in (folder / "encoder_mean" / "README.md").read_text()
    assert load_heads(heads_folder_of(folder / "encoder_mean")).keys() == load_heads(folder / "heads").keys()


def test_killed_and_resumed_is_bitwise_identical(finished, tmp_path):
    """All ranks killed in mid-run, the newest checkpoint damaged; then the same weights and lines, once each."""
    config, folder = finished
    copy = elsewhere(config, tmp_path)
    other = tmp_path / "runs" / "small"
    train_and_kill(copy, other, step=8, timeout=240)
    newest = other / "checkpoints" / checkpoint.names(other / "checkpoints")[0]
    os.truncate(newest / "mp_rank_00_model_states.pt", 1000)
    printed = program("train.py", "--config", copy, ranks=2).printed
    assert f"checkpoint {newest} is damaged" in printed and "resuming" in printed
    assert newest.with_name(f"damaged-{newest.name}").is_dir()
    assert not differences(other, folder)
    curve = EventAccumulator(str(other / "tensorboard")).Reload()
    assert [event.step for event in curve.Scalars("train/loss")] == list(range(2, STEPS + 1, 2))


@pytest.mark.parametrize(
    ("ranks", "arguments", "said"),
    [
        (2, "--set seed=7", ["another run (seed: then 1, now 7)"]),
        (
            1, "--set encoder.config.hidden_size=64 --set deepspeed=zero0.json --accept-changes",
            ["encoder.hidden_size: then 32, now 64", "its weights or moments have another form"],
        ),
    ],
)  # fmt: skip
def test_refusals_are_one_line(finished, ranks, arguments, said):
    """The run is finished and has checkpoints; nothing of it changes."""
    config = finished[0]
    the_error(program("train.py", "--config", config, *arguments.split(), ranks=ranks, code=2).stderr, *said)


def test_ranks_that_have_other_data_or_another_plan_stop_with_a_sentence(finished, tmp_path, tiny_tokenizer_dir):
    """As on two nodes of which one has another file."""
    other = write_run(tmp_path, tiny_tokenizer_dir, seed_of_data=7)
    each = [["--config", config, "--set", f"optimizer.clip={clip}"] for clip, config in ((1, finished[0]), (2, other))]
    done = program("train.py", "--set", f"output={tmp_path / 'out'}", ranks=2, code=2, each=each)
    the_error(done.printed, "rank 1 on", "tasks.my_classify.data: ['", "same code, config and prepared data")
    assert not (tmp_path / "out").exists()


def test_resume_never_keeps_the_old_run_and_accepted_changes_go_on(tmp_path, tiny_tokenizer_dir):
    """Without a choice task the pooler is frozen: bf16 must not round it on its way to the export."""
    path = write_run(tmp_path, tiny_tokenizer_dir, steps=2, deepspeed="zero1.json")
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "tasks": [t for t in values["tasks"] if t["kind"] != "choice"]}))
    run = tmp_path / "runs" / "small"
    program("train.py", "--config", path)
    before = setup.read(str(path), []).model().encoder.state_dict()
    after = load_file(run / "encoder_last" / "model.safetensors")
    assert torch.equal(before["pooler.dense.weight"], after["pooler.dense.weight"])
    assert not torch.equal(before["encoder.layer.0.output.dense.weight"], after["encoder.layer.0.output.dense.weight"])
    # One evaluation, the last step's, is enough for a best encoder.
    assert (run / "encoder" / "model.safetensors").exists()

    program("train.py", "--config", path, "--resume", "never", "--set", "seed=5")
    for name, seed in (("small", 5), ("small.1", 1)):
        assert json.loads((tmp_path / f"runs/{name}/config.json").read_text())["seed"] == seed

    # On the same number of ranks and on another one the optimizer's settings are the new ones, which change nothing.
    before, still = load_file(run / "encoder_last" / "model.safetensors"), ["--set", "optimizer.lr=1e-30"]
    for steps, ranks in ((4, 1), (5, 2)):
        still += ["--set", f"steps={steps}", "--set", "seed=5", "--accept-changes"]
        more = program("train.py", "--config", path, *still, ranks=ranks)
        assert (run / "done").read_text() == f"step {steps}\n"
        after = load_file(run / "encoder_last" / "model.safetensors")
        assert all(torch.equal(before[name], after[name]) for name in before)
    assert "accepted: steps: then 4, now 5" in more.printed
    assert max(line["step"] for line in metrics(run)) == 5


def test_early_stopping(tmp_path, tiny_tokenizer_dir):
    """With a learning rate of next to nothing no evaluation is better than the first: it stops after two more."""
    path = write_run(
        tmp_path, tiny_tokenizer_dir, steps=30, optimizer={"lr": 1e-30}, evaluate={"every": 2, "patience": 2}
    )
    assert "no better mean dev score in 2 evaluations" in program("train.py", "--config", path).printed
    assert (tmp_path / "runs/small/done").read_text() == "step 6\n"
    more = program("train.py", "--config", path, "--set", "evaluate.patience=3")
    assert "resuming" in more.printed
    assert (tmp_path / "runs/small/done").read_text() == "step 8\n"


@pytest.mark.slow
def test_the_offloaded_optimizer_resumes_bitwise_with_trimmed_embeddings(steady, tmp_path):
    """DeepSpeed's own kernel would not: see `OffloadedAdamW`. Without `mlm` the embeddings left out have decayed."""
    config, _ = steady
    arguments = ["--config", config, "--set", "deepspeed=zero2_offload.json", "--set", "steps=8"]
    arguments += ["--set", "checkpoint.every=3", "--set", f"output={tmp_path}"]
    program("train.py", *arguments)
    again = rewind(tmp_path / "small", tmp_path / "again" / "small", 3)
    assert "after step 3" in program("train.py", *arguments[:-1], f"output={tmp_path / 'again'}").printed
    assert not differences(again, tmp_path / "small")
