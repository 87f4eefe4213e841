"""`python -m eval align` as a whole: scores of vectors of a padded transformers loop, its files, and its errors.

The scores themselves: tests/unit/eval/test_scores_retrieval.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.__main__ import main
from eval.alignment import measures
from eval.alignment.measures import SCORES
from tests.support.eval_run import make_run, padded_vectors, scores_in
from tests.support.target_files import laser
from tests.support.tiny_tokenizer import LINES

ENGLISH = [f"{a} {b}" for a in LINES[2].split()[:6] for b in LINES[3].split()[:4]]
OTHER = [f"{b} {a} Hund" for a in LINES[2].split()[:6] for b in LINES[3].split()[:4]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    first, second = (make_run(folder / name, tiny_tokenizer_dir, seed, ()) for name, seed in (("a", 4), ("b", 5)))
    return first, second


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """German and French share their English side, Russian has fewer pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    for iso3, some in (("deu", slice(None)), ("fra", slice(None)), ("rus", slice(0, 10))):
        other = [text + " am Fluss" * (iso3 == "fra") for text in OTHER[some]]
        laser(folder / "tatoeba", iso3, list(zip(ENGLISH[some], other, strict=True)))
    return folder


PART = ("--layers", "2,3", "--languages", "ru,de", "--examples", "12", "--pooling", "cls")


@pytest.mark.parametrize(
    ("options", "layers", "sizes"),
    [((), [0, 1, 2, 3, 4], {"de": 24, "fr": 24, "ru": 10}), (PART, [2, 3], {"de": 12, "ru": 10})],
)
def test_two_encoders(
    runs: tuple[Path, Path], pairs: Path, tmp_path: Path, capsys: Any, options: Any, layers: Any, sizes: dict[str, int]
) -> None:
    two = [f"--encoder={run}" for run in runs]
    assert main(["align", "--data", str(pairs), "--out", str(tmp_path), *two, *options]) == 0
    encoders = scores_in(tmp_path, "align.json")["encoders"]
    assert [one["name"] for one in encoders] == ["a", "b"]
    pooling = "cls" if options else "mean"
    for folder, one in zip(runs, encoders, strict=True):
        assert one["layers"] == layers and {code: found["n"] for code, found in one["languages"].items()} == sizes
        for code in ("de", "ru"):
            n, scores = sizes[code], one["languages"][code]["layers"]["3"]
            assert set(scores) == {f"{name}@{n}" for name in SCORES}
            expected = measures.align(*(padded_vectors(folder, texts[:n], 3, pooling) for texts in (ENGLISH, OTHER)))
            assert all(scores[key]["score"] == pytest.approx(expected[key]["score"], abs=1e-3) for key in scores)
    printed = capsys.readouterr().out
    languages = [one["languages"].values() for one in encoders]
    cka = [np.mean([one["layers"]["2"][f"cka@{one['n']}"]["score"] for one in some]) for some in languages]
    assert "b less a" in printed and "random, highest" in printed and f"{cka[1] - cka[0]:+.3f}" in printed
    assert f"{cka[0]:.3f}" in printed
