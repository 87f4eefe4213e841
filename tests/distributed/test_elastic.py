"""A run goes on with another number of ranks or micro-batch: the same examples, moments kept, equal to rounding."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mtl.run import checkpoint
from tests.support.launch import program
from tests.support.small import write_run

pytestmark = pytest.mark.slow
STEPS, LR = 24, 1e-3
# Where a weight's gradient is near zero Adam turns rounding into a part of a step; most weights are equal to 1e-6.
LARGEST, MEAN = 0.05 * LR * STEPS, 1e-6
FIELDS = {
    "steps": STEPS, "optimizer": {"lr": LR, "eps": 1e-6}, "hidden_dropout_prob": 0.0, "log_every": 3,
    "checkpoint": {"every": 4, "keep": 99}, "evaluate": {"every": 8, "examples": 8},
}  # fmt: skip


def go_on(config: Path, source: Path, target: Path, after: int, ranks: int, *arguments: object) -> Path:
    """Copies a run folder as it was after step `after` and lets `ranks` ranks finish it: the new run folder."""
    folder = target / "runs" / "small"
    shutil.copytree(source, folder)
    for name in checkpoint.names(folder / "checkpoints"):
        if name > f"step-{after:08d}":
            shutil.rmtree(folder / "checkpoints" / name)
    done = program("train.py", "--config", config, "--set", f"output={target / 'runs'}", *arguments, ranks=ranks)
    assert f"after step {after}" in done.stdout + done.stderr
    return folder


def distance(one: Path, other: Path) -> tuple[float, float]:
    """(largest, mean) difference of two runs' last weights."""
    found = []
    for part in ("encoder_last/model", "heads_last/heads"):
        a, b = (load_file(folder / f"{part}.safetensors") for folder in (one, other))
        found += [(a[name] - b[name]).abs().flatten() for name in a]
    everything = torch.cat(found)
    return float(everything.max()), float(everything.mean())


def losses(folder: Path) -> list[tuple[int, str, float, float]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(x["step"], x["task"], x["loss"], x.get("grad_norm", 0.0)) for x in lines if "loss" in x]


@pytest.fixture(scope="module")
def two(tmp_path_factory, tiny_tokenizer_dir):
    """An uninterrupted run on two ranks: (config, run folder)."""
    folder = tmp_path_factory.mktemp("two")
    config = write_run(folder, tiny_tokenizer_dir, **FIELDS)
    program("train.py", "--config", config, ranks=2)
    return config, folder / "runs" / "small"


def close(one: Path, other: Path) -> None:
    largest, mean = distance(one, other)
    print(f"largest difference {largest:.1e}, mean {mean:.1e}, after {STEPS} steps at {LR}")
    assert largest < LARGEST
    assert mean < MEAN
    ours, theirs = losses(one), losses(other)
    assert [x[:2] for x in ours] == [x[:2] for x in theirs]  # the same tasks, lines once each
    for a, b in zip(ours, theirs, strict=True):
        assert a[2] == pytest.approx(b[2], rel=1e-4), (a, b)
        assert a[3] == pytest.approx(b[3], rel=1e-3), (a, b)


def test_two_one_two(two, tmp_path):
    """One rank from step 8 on, two again from step 16 on, with another micro-batch: equal to two all the way."""
    config, reference = two
    one = go_on(config, reference, tmp_path / "one", 8, 1)
    again = go_on(config, one, tmp_path / "again", 16, 2, "--set", "micro_tokens=330")
    close(one, reference)
    close(again, reference)


def test_two_four(two, tmp_path):
    config, reference = two
    four = go_on(config, reference, tmp_path / "four", 12, 4)
    close(four, reference)


def test_forgotten_moments_would_be_seen(two, tmp_path):
    """The comparison can fail: the same weights with moments of zero end somewhere else."""
    config, reference = two
    folder = tmp_path / "runs" / "small"
    shutil.copytree(reference, folder)
    for name in checkpoint.names(folder / "checkpoints"):
        if name > "step-00000008":
            shutil.rmtree(folder / "checkpoints" / name)
    newest = folder / "checkpoints" / "step-00000008"
    for path in newest.glob("zero*optim_states.pt"):
        values = torch.load(path, weights_only=False)
        for state in values["optimizer_state_dict"]["base_optimizer_state"]["state"].values():
            for part in state.values():
                part.zero_()
        torch.save(values, path)
    files = {p.name: checkpoint.file_sha256(p) for p in newest.iterdir() if p.name != "manifest.json"}
    (newest / "manifest.json").write_text(checkpoint.manifest_text(files))
    program("train.py", "--config", config, "--set", f"output={tmp_path / 'runs'}")
    assert distance(folder, reference)[1] > 10 * MEAN
