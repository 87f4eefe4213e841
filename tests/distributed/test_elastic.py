"""A run goes on with another number of ranks or micro-batch: the same examples, moments kept, equal to rounding."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.launch import program
from tests.support.live import metrics
from tests.support.small import STEADY, rewind

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def go_on(config: Path, source: Path, target: Path, after: int, ranks: int, *arguments: object) -> Path:
    """Copies a run folder as it was after step `after` and lets `ranks` ranks finish it: the new run folder."""
    rewind(source, target / "small", after)
    done = program("train.py", "--config", config, "--set", f"output={target}", *arguments, ranks=ranks)
    assert f"after step {after}" in done.printed
    return target / "small"


def losses(folder: Path) -> list[tuple[int, str, float, float]]:
    return [(x["step"], x["task"], x["loss"], x.get("grad_norm", 0.0)) for x in metrics(folder) if "loss" in x]


def close(one: Path, other: Path, steps: int) -> None:
    """Equal but for rounding in the last `steps` steps: weights, and what every line says, once each."""
    found = []
    for part in ("encoder_last/model", "heads_last/heads"):
        a, b = (load_file(folder / f"{part}.safetensors") for folder in (one, other))
        found += [(a[name] - b[name]).abs().flatten() for name in a]
    difference = torch.cat(found)
    print(f"\nlargest difference {difference.max():.1e}, mean {difference.mean():.1e}, after {steps} steps")
    # Where a weight's gradient is near zero Adam turns rounding into a part of a step; most weights are equal to 1e-6.
    assert difference.max() < 0.05 * STEADY["lr"] * steps
    assert difference.mean() < 1e-6
    ours, theirs = losses(one), losses(other)
    assert [x[:2] for x in ours] == [x[:2] for x in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a[2] == pytest.approx(b[2], rel=1e-4), (a, b)
        assert a[3] == pytest.approx(b[3], rel=1e-3), (a, b)


def test_two_one_two(steady, tmp_path):
    """One rank from step 30 on, two again from step 40 on, with another micro-batch: equal to two all the way."""
    config, reference = steady
    one = go_on(config, reference, tmp_path / "one", 30, 1)
    again = go_on(config, one, tmp_path / "again", 40, 2, "--set", "micro_tokens=330")
    close(one, reference, 20)
    close(again, reference, 20)


def test_two_four(steady, tmp_path):
    config, reference = steady
    close(go_on(config, reference, tmp_path / "four", 40, 4), reference, 10)
