"""Which runs a report reads and what it calls them, whose seed is whose, their differences, overlap and alignment."""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from eval.__main__ import main
from eval.metrics import items
from tests.support.eval_run import error_line
from tests.support.rows import write
from tests.support.scores_files import Table, aligned, scores, set_outcomes, tables, write_run


def one(name: str, seed: int, target: str = "tatoeba", layer: int = 14) -> dict[str, Any]:
    return scores(name, target, seed, {target: ("en",) if target == "xnli" else ("de",)}, layer=layer)


def rows(*places: Path, out: Path) -> dict[str, list[str]]:
    """The runs of every row of a report."""
    assert main(["report", *map(str, places), "--out", str(out)]) == 0
    found: dict[str, list[str]] = {}
    for run, of, *_ in tables(out / "report.md")["Runs"].rows[1:]:
        found.setdefault(of, []).append(run)
    return found


def test_seeds_are_one_row(tmp_path: Path) -> None:
    """Runs whose configs differ in the seed alone; another setting, the same seed again, other weights are no seed."""
    places = [write_run(tmp_path, one(f"mtl_s{seed}", seed), seed) for seed in (1, 2)]
    places.append(write_run(tmp_path, one("hot_s1", 1), 1, lr=1e-4))
    places.append(write_run(tmp_path, one("mtl_s3", 3), 3))
    places += [write_run(tmp_path, one("layer", 4, layer=7), 4), write_run(tmp_path, one("again", 5), 1)]
    # Models without a run; one has a config.json, which is that of transformers.
    places += [write_run(tmp_path, one(name, 6), None) for name in ("model", "other")]
    write(tmp_path / "model/config.json", {"model_type": "xlm-roberta"})
    for seed in (1, 2):
        # A run of one seed starts from a run of the same seed, so its `encoder` differs too.
        before = write_run(tmp_path, one(f"mlm{seed}", seed), seed, lr=3e-5)
        places.append(write_run(tmp_path, one(f"two_s{seed}", seed), seed, encoder=str(before / "encoder")))
        # A Hub encoder has no config.json; its seeds are those of the target training.
        places.append(write(tmp_path / f"out{seed}/scores.json", one("org/model", seed, "xnli")))
    assert rows(*places, out=tmp_path / "report") == {
        "mtl (3 seeds)": ["mtl_s1", "mtl_s2", "mtl_s3"],
        **{name: [name] for name in ("hot_s1", "layer", "again", "model", "other")},
        "two (2 seeds)": ["two_s1", "two_s2"],
        "org/model (2 seeds)": ["org/model", "org/model"],
    }


def test_where_scores_lie_and_what_they_are_called(tmp_path: Path, capsys) -> None:
    """A run, its eval folder and its file are the same; two of one name are called by their encoders."""
    run = write_run(tmp_path, one("a", 1), 5)
    last = write(run / "eval/encoder_last/scores.json", one("a/encoder_last", 2))
    same = [write(tmp_path / f"{n}/scores.json", {**one("same", n), "encoder": f"in/{n}"}) for n in (3, 4)]
    places = [run, run / "eval", run / "eval" / "scores.json", last.parent, *same]
    expected = {"a": ["a"], "a/encoder_last": ["a/encoder_last"], "in/3": ["same"], "in/4": ["same"]}
    assert rows(*places, out=tmp_path / "report") == expected
    kept = (run / "eval" / "scores.json").read_bytes()
    capsys.readouterr()
    for _ in range(2):  # without --out into the eval folder; again: in place of the first
        assert main(["report", str(run)]) == 0
    written = run.resolve() / "eval" / "report"
    assert capsys.readouterr().out.splitlines()[-1] == str(written / "report.html")
    assert (run / "eval" / "scores.json").read_bytes() == kept
    assert len(list(written.glob("tensorboard/*/events*"))) == 2
    assert "baseline" not in (written / "report.md").read_text(encoding="utf-8")  # nothing to compare


def test_errors_are_one_line(tmp_path: Path, capsys) -> None:
    good = write_run(tmp_path, one("good", 1, "xnli"), 1)

    def says(*arguments: object) -> str:
        return error_line(capsys, "report", *arguments)

    assert "no scores.json there" in says(tmp_path)
    assert "holds the scores.json of one of the runs" in says(good, "--out", good / "eval")
    bad = tmp_path / "bad.json"
    unknown = {**one("bad", 1, "xnli"), "targets": {"xnil": {}}}
    for content, message in (("x", "JSON"), ([1], "expected a JSON object"), (unknown, "unknown target")):
        bad.write_text(content if isinstance(content, str) else json.dumps(content))
        assert f"{bad}" in (line := says(good, bad)) and message in line
    assert "cannot be written" in says(good, "--out", bad)


# Differences: crossed and Student's intervals


def written(folder: Path, name: str, seed: int, y: np.ndarray, with_items: bool = True) -> Path:
    """A run of Tatoeba with outcomes [languages, items] of the English queries."""
    result: dict[str, Any] = scores(name, "tatoeba", seed, {"tatoeba": ("de", "nl")})
    found = set_outcomes(result, y)
    place = write_run(folder, result, seed, lr=len(name) * 1e-5)
    if with_items:
        items.write(place / "eval", "tatoeba", found, result["targets"]["tatoeba"]["fingerprint"])
    return place


def differences(folder: Path, places: list[Path]) -> tuple[Table, list[dict[str, Any]]]:
    assert main(["report", *map(str, places), "--out", str(folder / "out")]) == 0
    found = [one for caption, one in tables(folder / "out/report.md").items() if "differences from" in caption]
    return found[0], json.loads((folder / "out/scores.json").read_text(encoding="utf-8"))["differences"]


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
        assert table.cell("large (3 seeds)", name) == f"[{interval.low:+.1f}, {interval.high:+.1f}]"
    assert table.cell("large (3 seeds)", "verdict") == ("better" if interval.low > 0 else "indistinguishable")
    seen = 2.8 * np.std(gains, ddof=1) * 100 / 3**0.5
    assert table.cell("large (3 seeds)", "could have seen") == f"{seen:.1f}"
    assert stored["crossed"] and stored["b"] == "large (3 seeds)"
    assert stored["interval"] == pytest.approx(tuple(interval))


def test_one_seed_and_runs_without_items(tmp_path: Path) -> None:
    y = np.random.default_rng(1).random((2, 2, 20))
    places = [written(tmp_path, name, 1, row) for name, row in zip(("base", "other"), y, strict=True)]
    places.append(written(tmp_path, "before", 1, y[1], with_items=False))
    table, _ = differences(tmp_path, places)
    crossed = table.cell("other", "95 % crossed")
    assert "run-to-run variation" in table.noted(crossed) and table.cell("other", "95 % Student") == "one seed"
    assert not any(row[0].startswith("before") for row in table.rows)
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "Not compared, since not all runs have the same items beside their scores: before on " in page


# Training data that hold rows of a test


OVERLAPPING = {"xnli": ["de"], "xquad": ["de"], "mlqa": ["de"], "lareqa": ["de"], "tatoeba": ["de"]}


def test_unchecked_and_left_out_rows_are_noted(tmp_path):
    made = [scores(name, "xtreme-r", seed, OVERLAPPING) for seed, name in enumerate(("base", "nine"))]
    (stage,) = made[0]["targets"]["mlqa"]["protocol"]["training"]  # target training
    stage["overlap"] = {"squad_v1": {"kind": "span", "against": [], "left_out": {}}}
    runs = [write_run(tmp_path, one, seed) for seed, one in enumerate(made)]
    overlap = {
        "squad_v1": {"kind": "span", "against": ["mlqa"], "left_out": {"mlqa": 1275}},
        "squad_v2": {"kind": "span", "against": ["mlqa", "xquad"], "left_out": {}},
        "mnli": {"kind": "classify", "against": ["xnli"], "left_out": {}},
        "mnli_triplets": {"kind": "pair", "against": ["xquad"], "left_out": {"xquad": 3}},
    }
    (runs[1] / "run.json").write_text(json.dumps({"overlap": overlap}))
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "out")]) == 0
    unchecked = "nine: trained on squad_v1, not checked for rows of this test (--against)"
    left_out = "nine: trained without 1,275 rows of squad_v1 that this test has too"
    table = next(one for name, one in tables(tmp_path / "out" / "report.md").items() if "mean over lang" in name)
    notes = {head.split()[0]: table.noted(head) for head in table.rows[0][1:]}
    assert unchecked in notes["xquad"] and unchecked in notes["lareqa"] and left_out in notes["mlqa"]
    assert unchecked.replace("nine", "base") in notes["mlqa"]
    assert unchecked.replace("squad_v1", "mnli_triplets") in notes["xnli"] and "3 rows of mnli_tr" in notes["xquad"]
    assert "mnli," not in notes["xnli"] and "trained" not in notes["tatoeba"]


# Alignment: tables by layer recomputed from align.json, heat maps, and who has none


def test_alignment_by_layer(tmp_path: Path) -> None:
    results = [scores(name, "xnli", 1, {"xnli": ("en",)}) for name in "abc"]
    places = [write_run(tmp_path, result, None) for result in results]
    a = aligned(results[0], 1, {"de": 1000, "kk": 575})
    b = aligned(results[1], 2, {"de": 1000, "kk": 575, "sw": 390})
    b["languages"]["kk"]["layers"]["0"]["cka@575"]["score"] = None
    # Both in the file of the second run, as one call leaves them.
    (places[1] / "eval" / "align.json").write_text(json.dumps({"protocol": {}, "encoders": [a, b]}), encoding="utf-8")
    assert main(["report", *map(str, places), "--out", str(tmp_path / "out")]) == 0
    found = tables(tmp_path / "out/report.md")

    def mean(encoder: dict[str, Any], layer: int, *names: str, which: str = "score") -> float:
        """Over the languages that both have."""
        each = [encoder["languages"][code] for code in ("de", "kk")]
        return statistics.fmean(
            one["layers"][str(layer)][f"{name}@{one['n']}"][which] for one in each for name in names
        )

    (top1,) = (table for caption, table in found.items() if caption.startswith("top-1, mean of both directions"))
    for layer in (0, 1, 2):
        means = [mean(encoder, layer, "top1_en->xx", "top1_xx->en") for encoder in (a, b)]
        control = mean(a, layer, "top1_en->xx", "top1_xx->en", which="random")
        row = [str(layer), f"{means[0]:.1f}", f"{means[1]:.1f} ({means[1] - means[0]:+.1f})", f"{control:.1f}"]
        assert top1.rows[layer + 1] == row
    (cka,) = (table for caption, table in found.items() if caption.startswith("linear CKA"))
    assert cka.cell("0", "b") == "not defined [1]" and cka.notes["[1]"].startswith("not defined: no score")
    assert cka.cell("1", "a") == f"{mean(a, 1, 'cka'):.3f}"
    text = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "(n = 390 to 1000)" in text and "Not there for c" in text
    assert len(list((tmp_path / "out/plots").glob("align_*_[12].png"))) == 2 * 7  # seven scores, two encoders
