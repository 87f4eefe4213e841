"""The page of a study: verdicts, intervals and what stands beside them, from runs made of drawn outcomes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.stats

from eval.metrics import items
from eval.report import load
from eval.report.load import Entry
from studies import estimate, report
from studies.report.results import gather
from studies.report.tables import adversarial_table, pools_table
from studies.resolve import Resolved
from studies.runs import Run
from studies.study import Comparison, Evaluation, Study, read
from tests.support.scores_files import Table, aligned, record, scores, set_outcomes, tables

CODES = ("de", "nl", "sw")
SEEDS = (1, 2, 3)
NOISE = {"typo@0.2": 0.7, "typo@0.05": 0.9}  # what it leaves of every outcome
STUDY = {
    "name": "small", "asks": "Do more steps help <b>retrieval</b>?", "base": "demo.json", "baseline": "short",
    "variants": {
        "short": {"steps": 10, "at": 1}, "long": {"steps": 20, "at": 2},
        "hot": {"steps": 30, "optimizer": {"lr": 0.5}, "at": 4}, "never": {"steps": 40},
    },
    "seeds": SEEDS, "evaluate": {"suite": "tatoeba", "also": [f"perturb:{noise}" for noise in NOISE]},
    "compare": {"primary": ["tatoeba"], "equivalence": 0.5, "axis": "steps"},
    "published": [{"text": "neither consistently outperforms", "source": "arXiv:2005.13013, abstract"}],
}  # fmt: skip


def made(folder: Path, study: Study, variant: str, seed: int, y: np.ndarray, commit: str) -> Run:
    """A finished run of Tatoeba with outcomes [languages, items], in [0, 1]."""
    identity = f"{variant}{seed}"
    place, evaluation = folder / identity, folder / identity / "eval-0"
    result: dict[str, Any] = scores(identity, "tatoeba", seed, {"tatoeba": CODES}, {"bucc": "no data"})
    found = set_outcomes(result, y)
    about = result["targets"]["tatoeba"]
    for noise, share in {**NOISE, **({"typo@0.5": 0.5} if variant == "hot" else {})}.items():  # of another study
        noisy = set_outcomes(json.loads(json.dumps(result)), y * share)
        figures = {"clean": 0, "noisy": 0, "drop": 0, "interval": None, "languages": {}}
        about.setdefault("perturbed", {})[noise] = {"setup": "", "metrics": {"en->xx": figures}}
        items.write(evaluation, f"tatoeba~{noise}", noisy, about["fingerprint"])
    evaluation.mkdir(parents=True, exist_ok=True)
    loss = {"head": "its own", "languages": {code: {"loss": 1.0 + seed + i} for i, code in enumerate(CODES)}}
    loss["languages"]["de"]["loss"] += variant == "hot"
    for path, content in (
        (evaluation / "scores.json", result), (place / "run.json", {"commit": commit}),
        (evaluation / "mlm_loss.json", {"encoders": [loss]}),
    ):  # fmt: skip
        path.write_text(json.dumps(content), encoding="utf-8")
    for name, written in (("done", ""), ("eval-0/finished.json", json.dumps(["suite", *study.file.evaluate.also]))):
        (place / name).write_text(written, encoding="utf-8")
    items.write(evaluation, "tatoeba", found, result["targets"]["tatoeba"]["fingerprint"])
    about = study.variants[variant]
    return Run(about, seed, about.config.model_copy(update={"seed": seed}), identity, place, evaluation)


class World(NamedTuple):
    """The written report, outcomes [variants, seeds, languages, items] of short, long and hot, and what it is from."""

    folder: Path
    y: np.ndarray
    study: Study
    runs: list[Run]
    shown: dict[str, Table]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("study")
    (folder / "small.json").write_text(json.dumps(STUDY), encoding="utf-8")
    study, rng = read(str(folder / "small.json")), np.random.default_rng(0)
    y = np.repeat(rng.random((1, 3, 3, 200)) * 0.5, 3, axis=0)
    y[1] += 0.001 * rng.random((3, 3, 200))  # long: nearly the same
    y[2] += 0.1 + 0.02 * rng.random((3, 3, 200))
    y[2, :, 2] = y[0, :, 2]  # nothing in Swahili
    runs = [
        made(folder, study, name, seed, y[v, s], "abc-dirty" if (name, seed) == ("hot", 2) else "abc")
        for v, name in enumerate(("short", "long", "hot"))
        for s, seed in enumerate(SEEDS)
    ]
    runs += [Run(study.variants["never"], seed, study.variants["never"].config) for seed in SEEDS]
    paths = report.write(study, runs, folder / "out")
    assert sorted(path.name for path in paths) == ["report.html", "report.md", "study.json"]
    stored = json.loads((folder / "out" / "study.json").read_text(encoding="utf-8"))
    visible = max(one["visible"] for one in stored["comparisons"])
    plan = estimate.render(study, Resolved(runs=runs), folder)
    assert f"could see: {visible:.1f} points with 3 seeds, by the variances of the 3 that are done" in plan
    return World(folder / "out", y, study, runs, tables(folder / "out" / "report.md"))


def test_study_json(world: World) -> None:
    folder, y, *_ = world
    stored = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    assert stored["study"] == "small" and set(stored["variants"]) == {"short", "long", "hot", "never"}
    hot, never = stored["variants"]["hot"], stored["variants"]["never"]
    assert len(hot["runs"]) == 3 and never == {"runs": [], "targets": {}}
    score = pytest.approx(100 * y[2].mean())
    languages = pytest.approx(dict(zip(CODES, 100 * y[2].mean(axis=(0, 2)), strict=True)))
    assert hot["targets"]["tatoeba"] == {"score": score, "languages": languages}
    near, far = stored["comparisons"]
    assert (near["a"], near["b"], near["target"], near["verdict"]) == ("short", "long", "tatoeba", "equivalent")
    assert (far["b"], far["verdict"], far["seeds"], far["primary"]) == ("hot", "better", 3, True)
    gains = 100 * (y[2] - y[0]).mean(axis=(1, 2))
    assert far["difference"] == pytest.approx(gains.mean())
    assert far["student"] == pytest.approx(tuple(scipy.stats.ttest_1samp(gains, 0).confidence_interval()))
    low, high = far["interval"]
    assert low < gains.mean() < high and far["visible"] > 0
    # By least squares over 1, 2 and 4, of the means over seeds.
    slope = np.polyfit([1, 2, 4], 100 * y.mean(axis=(1, 2, 3)), 1)[0]
    assert stored["slopes"][0]["slope"] == pytest.approx(slope) and stored["slopes"][0]["axis"] == "steps"


def test_other_metrics_than_the_headline(world: World) -> None:
    """Tatoeba's other direction has half of every outcome here; LAReQA's settings stand in a table of their own."""
    compare = Comparison(primary=["tatoeba", "tatoeba:xx->en"], equivalence=0)
    study = replace(world.study, file=world.study.file.model_copy(update={"compare": compare}))
    whole, half = (one for one in gather(study, world.runs).compared if one.b == "hot")
    assert half.target == "tatoeba:xx->en" and half.primary and half.verdict == "better"
    assert half.found.of.difference == pytest.approx(whole.found.of.difference / 2)
    seeds = [{"map_mono": 60.0, "map_cross": 40.0, "map_multi": 30.0 + seed} for seed in (1, 2)]
    records = [{"details": dict.fromkeys(CODES, one), "rank_distance": one["map_multi"]} for one in seeds]
    entry = Entry("hot", tuple(load.Run({"targets": {"lareqa": one}}) for one in records))
    table = pools_table(replace(gather(study, world.runs), entries={"hot": entry}), "lareqa")
    assert [cell.values[0] for cell in table.rows[0]] == ["hot", "60.0", "40.0", "31.5", "31.5"]


def test_what_the_page_says(world: World) -> None:
    folder, y, _, _, shown = world
    text = (folder / "report.md").read_text(encoding="utf-8")
    (line,) = (one for one in text.splitlines() if one.startswith("hot - short on tatoeba: +"))
    assert "3 seeds, 3 languages: better; could have seen" in line
    assert "Fewer than 5 seeds" in text and "neither consistently outperforms (arXiv:2005.13013" in text
    robust = shown["tatoeba: over languages without English"]
    each = 100 * y[2].mean(axis=(0, 2))
    assert robust.cell("hot", "mean") == f"{each.mean():.1f}"
    assert robust.cell("hot", "worst") == f"{each.min():.1f} ({CODES[each.argmin()]})"
    assert robust.cell("hot", "spread") == f"{each.std(ddof=1):.1f}"
    curve = shown["tatoeba, en→xx: score by share of units with noise (typo)"]
    clean = 100 * y[2].mean()
    expected = [f"{share * clean:.1f}" for share in (1, 0.9, 0.7)]
    # All items lose the same share, so that the ratio is known exactly.
    assert curve.rows[0][2:4] == ["0.05", "0.20"] and curve.rows[-1] == ["hot", *expected, "30.0", "[+30.0, +30.0]"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;retrieval" in page and "http" not in page.split("</style>")[0]
    of_tatoeba = {f"tatoeba_{plot}" for plot in ("typo_en_xx", "differences", "scores")}
    assert {path.stem for path in (folder / "plots").iterdir()} == {"primaries", *of_tatoeba}


def test_what_is_missing_or_differs(world: World) -> None:
    shown = world.shown
    absent = shown["Not run"].rows[1:]
    assert ["never", "the run", "missing", "1, 2, 3"] in absent and ["short", "bucc", "no data", "1, 2, 3"] in absent
    settings = {(cells[0], cells[1]): cells[2:] for cells in shown["Settings that differ from the baseline"].rows[1:]}
    assert settings["hot", "steps"] == ["10", "30", "yes"] and settings["hot", "optimizer.lr"][1:] == ["0.5", "yes"]
    runs = shown["Runs"]
    dirty = [cells for cells in runs.rows if cells[3].startswith("abc-dirty")]
    assert [cells[:3] for cells in dirty] == [["hot", "2", "done"]] and "in no commit" in runs.noted(dirty[0][3])
    assert any("2 versions" in note for note in runs.notes.values())


def test_forgetting(world: World) -> None:
    (found,) = (table for caption, table in world.shown.items() if caption.startswith("MLM loss"))
    assert found.rows[0] == ["language", "short", "long", "hot"]
    assert found.cell("de", "hot").endswith("(+1.000)") and found.cell("sw", "hot").startswith("5.000 ")
    assert found.cell("mean of 3", "hot").endswith("(+0.333)") and "its own" in " ".join(found.notes.values())


def test_hard_pairs_beside_the_rest(world: World) -> None:
    """Low alignment: nl. Distant: sw, where `hot` has what `short` has. PAWS-X's distractors."""
    _, y, study, runs, _ = world
    for run in runs:
        if run.evaluated:
            scores = json.loads((run.evaluation / "scores.json").read_text())
            pawsx = scores["targets"]["pawsx"] = record("pawsx", ("de", "en"), 1)
            pawsx["details"]["de"] |= {"distractor_accuracy": 30.0 + run.seed, "other_accuracy": 90.0}
            (run.evaluation / "scores.json").write_text(json.dumps(scores))
            shares = {"accuracy": 0.5, "distractor_accuracy": (30.0 + run.seed) / 100, "other_accuracy": 0.9}
            outcomes = items.means({name: [share] * 4 for name, share in shares.items()}).named(list("abcd"))
            items.write(run.evaluation, "pawsx", {"de": outcomes, "en": outcomes}, pawsx["fingerprint"])
            encoder = aligned(scores, run.seed, dict.fromkeys(CODES, 200))
            for code, score in zip(CODES, (50.0, 10.0, 80.0), strict=True):
                for layer in encoder["languages"][code]["layers"].values():
                    layer["mexa@200"]["score"] = score + run.seed
            (run.evaluation / "align.json").write_text(json.dumps({"encoders": [encoder]}))
    asked = {
        "evaluate": Evaluation(suite="tatoeba,pawsx"), "compare": Comparison(primary=["tatoeba", "pawsx"])
    }  # fmt: skip
    table = adversarial_table(gather(replace(study, file=study.file.model_copy(update=asked)), runs))
    found = {}
    for cells in table.rows:
        variant, _, pairs, *figures, codes = (cell.text() for cell in cells)
        found[variant, pairs, codes] = [text.partition(" ")[0] for text in figures]
    mean = 100 * y.mean(axis=(1, 3))  # [variants, languages]
    for name, hard, rest in (("low alignment", [1], [0, 2]), ("distant", [2], [0, 1])):
        a, b, c, d = (mean[v, some].mean() for some in (hard, rest) for v in (0, 2))
        figures = [f"{a:.1f}", f"{b:.1f}", f"{b - a:+.1f}", f"{c:.1f}", f"{d:.1f}", f"{d - c:+.1f}"]
        assert found["hot", name, CODES[hard[0]]] == figures
    assert found["hot", "distractors", "de"] == ["32.0", "32.0", "+0.0", "90.0", "90.0", "+0.0"]
