"""The differences of a report: crossed and Student's intervals where every item's outcome is there, else the latter."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from eval.__main__ import main
from eval.metrics import items
from tests.support.scores_files import Table, scores, set_outcomes, tables, write_run

CODES = ("de", "nl")


def written(folder: Path, name: str, seed: int, y: np.ndarray, with_items: bool = True) -> Path:
    """A run of Tatoeba with outcomes [languages, items] of the English queries."""
    result: dict[str, Any] = scores(name, "tatoeba", seed, {"tatoeba": CODES})
    found = set_outcomes(result, y)
    place = write_run(folder, result, seed, lr=len(name) * 1e-5)
    if with_items:
        items.write(place / "eval", "tatoeba", found, result["targets"]["tatoeba"]["fingerprint"])
    return place


def differences(folder: Path, places: list[Path]) -> tuple[Table, list[dict[str, Any]]]:
    assert main(["report", *map(str, places), "--out", str(folder / "out")]) == 0
    found = [one for caption, one in tables(folder / "out/report.md").items() if "differences from" in caption]
    return found[0], json.loads((folder / "out/scores.json").read_text(encoding="utf-8"))["differences"]


def points(*values: float) -> str:
    """[-0.6, +1.5]"""
    return f"[{', '.join(f'{value + 0.0:+.1f}' for value in values)}]"


@pytest.mark.parametrize("alone", [False, True])
def test_three_seeds(tmp_path: Path, alone: bool) -> None:
    """Every item gains the same in a seed, so that only seeds differ: both intervals are Student's, paired by seed.

    alone: the baseline is a single run, from which each seed of the other one differs.
    """
    rng = np.random.default_rng(0)
    base, gains = rng.random((3, 2, 20)), [0.02, 0.05, 0.03]
    if alone:
        base[:] = base[0]
    places = [written(tmp_path, f"base_s{s}", s, base[s]) for s in ((0,) if alone else range(3))]
    places += [written(tmp_path, f"large_s{s}", s, base[s] + gains[s]) for s in (2, 0, 1)]
    table, [stored] = differences(tmp_path, places)
    interval = scipy.stats.ttest_1samp(np.array(gains) * 100, 0).confidence_interval()
    target = table.cell("large (3 seeds)", "target")
    assert target.startswith("tatoeba accuracy en→xx") and ("is one run" in table.noted(target)) == alone
    assert table.cell("large (3 seeds)", "difference") == "+3.3" and table.cell("large (3 seeds)", "seeds") == "3"
    for name in ("95 % crossed", "95 % Student"):
        assert table.cell("large (3 seeds)", name) == points(*interval)
    assert table.cell("large (3 seeds)", "verdict") == ("better" if interval.low > 0 else "indistinguishable")
    seen = 2.8 * np.std(gains, ddof=1) * 100 / 3**0.5
    assert table.cell("large (3 seeds)", "could have seen") == f"{seen:.1f}"
    assert (
        stored["crossed"] and stored["interval"] == pytest.approx(tuple(interval)) and stored["b"] == "large (3 seeds)"
    )


def test_one_seed_and_runs_without_items(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    y = rng.random((2, 2, 20))
    places = [written(tmp_path, name, 1, row) for name, row in zip(("base", "other"), y, strict=True)]
    places.append(written(tmp_path, "before", 1, y[1], with_items=False))
    table, _ = differences(tmp_path, places)
    # Each language's queries are its own: the variances of two means.
    gains = (y[1] - y[0]) * 100
    spread = (gains.var(axis=1, ddof=1) / 20).sum() ** 0.5 / 2
    half = scipy.stats.t.ppf(0.975, 39) * spread
    crossed = table.cell("other", "95 % crossed")
    assert crossed.partition(" [1")[0] == points(gains.mean() - half, gains.mean() + half)
    assert "nothing about training again" in table.noted(crossed) and table.cell("other", "95 % Student") == "one seed"
    assert "evaluate again" in table.noted(table.cell("before", "95 % crossed"))
    assert table.cell("before", "difference") == table.cell("other", "difference")
    assert table.cell("before", "verdict") == table.cell("before", "could have seen") == "none"


def test_seeds_without_items(tmp_path: Path) -> None:
    """Student's interval of before, over seeds alone; different seeds are not paired."""
    rng = np.random.default_rng(2)
    y = rng.random((5, 2, 20))
    places = [written(tmp_path, f"base_s{s}", s, y[s], with_items=False) for s in (0, 1)]
    places += [written(tmp_path, f"large_s{s}", s, y[s]) for s in (2, 3, 4)]
    table, _ = differences(tmp_path, places)
    each = 100 * y.mean(axis=(1, 2))
    welch = scipy.stats.ttest_ind(each[2:], each[:2], equal_var=False).confidence_interval()
    row = "large (3 seeds)"
    assert table.cell(row, "95 % Student") == points(*welch) and table.cell(row, "95 % crossed").startswith("no items")
    assert table.cell(row, "seeds") == "2" and table.cell(row, "verdict").endswith("these items")
