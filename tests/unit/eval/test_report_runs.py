"""Which runs a report reads, from where, what they are called, whose seed is whose; damaged files are one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.__main__ import main
from tests.support.eval_run import error_line
from tests.support.rows import write
from tests.support.scores_files import scores, tables, write_run


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


def test_suites_that_are_shown(tmp_path: Path) -> None:
    """Every suite that was asked for, and what an earlier call scored besides in the suite that it belongs to."""
    both = scores("b", "xtreme-r", 2, {"xquad": ("en",)})
    more = scores("c", "xnli", 3, {"xnli": ("en",), "pawsx": ("en",)})
    places = [write_run(tmp_path, result, None) for result in (both, more)]
    assert main(["report", *map(str, places), "--out", str(tmp_path / "out")]) == 0
    captions = [caption for caption in tables(tmp_path / "out/report.md") if "mean over languages" in caption]
    assert [caption.partition(":")[0] for caption in captions] == ["xtreme-r", "xtreme"]


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "targets": lambda r: r.pop("targets"),
    "unknown target": lambda r: r["targets"].update(xnil=r["targets"]["xnli"]),
    "no target was scored": lambda r: r.update(targets={}),
}


def test_errors_are_one_line(tmp_path: Path, capsys) -> None:
    good = write_run(tmp_path, one("good", 1, "xnli"), 1)

    def says(*arguments: object) -> str:
        return error_line(capsys, "report", *arguments)

    assert "no such run" in says(tmp_path / "nowhere")
    assert "no scores.json there" in says(tmp_path)
    deeper = write(tmp_path / "deep/eval/encoder_last/scores.json", one("a", 1)).parent
    assert f"did you mean {deeper}?" in says(tmp_path / "deep")
    assert "holds the scores.json of one of the runs" in says(good, "--out", good / "eval")
    bad = tmp_path / "bad.json"
    for text, message in ((b"x", "json (expecting value)"), (b"\xff{}", "utf-8"), (b"[1]", "expected a json object")):
        bad.write_bytes(text)
        assert f"{bad}" in (line := says(good, bad)) and message in line.lower()
    assert "cannot be written" in says(good, "--out", bad)
    for message, change in DAMAGE.items():
        result = one("bad", 1, "xnli")
        change(result)
        write(bad, result)
        assert f"{bad}" in (line := says(good, bad)) and message in line
    assert "combined scores of a report" in says(write(tmp_path / "all.json", {"baseline": "a", "runs": {}}))
    align = write(good / "eval/align.json", "[")
    assert "align.json" in says(good)
    write(align, {})
    assert "align.json" in says(good)
