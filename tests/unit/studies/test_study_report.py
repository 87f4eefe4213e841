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
from eval.report.compare import Comparison as Compared
from eval.report.load import Entry
from eval.report.perturbed import drop_blocks
from studies import estimate, report
from studies.report.page import sections, sentence, slope_sentence
from studies.report.results import Results, gather
from studies.report.tables import adversarial_table, not_run_table, pools_table
from studies.resolve import Resolved
from studies.runs import Run
from studies.study import DECLARED, Comparison, Evaluation, Study, read
from tests.support.scores_files import Table, aligned, record, scores, set_outcomes, tables

CODES, NAMES = ("de", "nl", "sw"), ("short", "long", "hot")
SEEDS = (1, 2, 3)
NOISE = {"typo@0.2": 0.7, "typo@0.05": 0.9}  # what it leaves of every outcome
STUDY = {
    "name": "small", "asks": "Do more steps help <b>retrieval</b>?", "base": "demo.json", "baseline": "short",
    "variants": {"short": {"steps": 10, "at": 1}, "long": {"steps": 20, "at": 2},
                 "never": {"train": False, "encoder": "x"}, "hot": {"steps": 30, "optimizer": {"lr": 0.5}, "at": 4}},
    "seeds": SEEDS, "evaluate": {"suite": "tatoeba", "also": [f"perturb:{noise}" for noise in NOISE]},
    "compare": {"primary": ["tatoeba"], "equivalence": 0.5, "axis": "steps"},
    "published": [{"text": "neither consistently outperforms", "source": "arXiv:2005.13013, abstract"}],
}  # fmt: skip


def asking(study: Study, **changes: Any) -> Study:
    """The study with other fields in its file."""
    return replace(study, file=study.file.model_copy(update=changes))


def made(folder: Path, study: Study, variant: str, seed: int, every: np.ndarray) -> Run:
    """A finished run of Tatoeba; every: outcomes [variants, seeds, languages, items], in [0, 1]."""
    y, commit = every[NAMES.index(variant), SEEDS.index(seed)], "abc" + "-dirty" * ((variant, seed) == ("hot", 2))
    identity, known = f"{variant}{seed}", study.variants[variant]
    place, evaluation = folder / identity, folder / identity / "eval-0"
    result: dict[str, Any] = scores(identity, "tatoeba", seed, {"tatoeba": CODES}, {"bucc": "no data"})
    found, about = set_outcomes(result, y), result["targets"]["tatoeba"]
    about["protocol"]["n"] = "first 200"
    drops = {code: {"drop": drop, "touched": 50.0} for code, drop in zip(CODES, (10.0, 20.0, 61.0), strict=True)}
    figures = {"clean": 0, "noisy": 0, "drop": 0, "interval": None, "languages": drops}
    for noise, share in {**NOISE, **({"typo@0.5": 0.5} if variant == "hot" else {})}.items():  # of another study
        noisy = set_outcomes(json.loads(json.dumps(result)), y * share)
        about.setdefault("perturbed", {})[noise] = {"setup": "", "metrics": {"en->xx": figures}}
        if variant != "long":
            items.write(evaluation, f"tatoeba~{noise}", noisy, about["fingerprint"])
    items.write(evaluation, "tatoeba", found, about["fingerprint"])
    losses = {code: {"loss": 1.0 + seed + i + ((variant, i) == ("hot", 0))} for i, code in enumerate(CODES)}
    for path, content in {
        "done": "", "run.json": {"commit": commit}, "eval-0/finished.json": ["suite", *study.file.evaluate.also],
        "eval-0/scores.json": result, "eval-0/mlm_loss.json": {"encoders": [{"head": "its own", "languages": losses}]},
    }.items():  # fmt: skip
        (place / path).write_text(json.dumps(content), encoding="utf-8")
    optimizer = known.config.optimizer.model_copy(update={"clip": 1.0 + (variant == "hot")})  # stands in no file
    config = known.config.model_copy(update={"seed": seed, "optimizer": optimizer})
    return Run(known, seed, config, identity, place, evaluation)


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
    runs = [made(folder, study, name, seed, y) for name in NAMES for seed in SEEDS]
    runs += [Run(study.variants["never"], seed, study.variants["never"].config) for seed in SEEDS]
    (folder / DECLARED).write_text("0123456789abcdef", encoding="utf-8")
    assert sorted(path.name for path in report.write(study, runs, folder)) == ["report.html", "report.md", "study.json"]
    stored = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    visible = max(one["visible"] for one in stored["comparisons"])
    plan = estimate.render(study, Resolved(runs=runs), folder)
    assert f"could see: {visible:.1f} points with 3 seeds, by the variances of the 3 that are done" in plan
    return World(folder, y, study, runs, tables(folder / "report.md"))


def test_study_json(world: World) -> None:
    folder, y, *_ = world
    stored = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    assert stored["study"] == "small" and set(stored["variants"]) == {"short", "long", "hot", "never"}
    hot, never = stored["variants"]["hot"], stored["variants"]["never"]
    assert len(hot["runs"]) == 3 and never == {"runs": [], "targets": {}}
    languages = pytest.approx(dict(zip(CODES, 100 * y[2].mean(axis=(0, 2)), strict=True)))
    assert hot["targets"]["tatoeba"] == {"score": pytest.approx(100 * y[2].mean()), "languages": languages}
    near, far = stored["comparisons"]
    assert (near["a"], near["b"], near["target"], near["verdict"]) == ("short", "long", "tatoeba", "equivalent")
    assert (far["b"], far["verdict"], far["seeds"], far["primary"]) == ("hot", "better", 3, True)
    gains = 100 * (y[2] - y[0]).mean(axis=(1, 2))
    assert far["difference"] == pytest.approx(gains.mean())
    assert far["student"] == pytest.approx(tuple(scipy.stats.ttest_1samp(gains, 0).confidence_interval()))
    assert far["interval"][0] < gains.mean() < far["interval"][1] and far["visible"] > 0 and far["crossed"]
    assert stored["slopes"][0]["axis"] == "steps" and stored["slopes"][0]["crossed"]


@pytest.mark.parametrize(("grouped", "over"), [(False, "3 seeds"), (True, "2 groups"), (True, "3 seeds")])
def test_slope(world: World, tmp_path: Path, grouped: bool, over: str) -> None:
    """Of items without spread the crossed interval is Student's: over seeds or, if that is wider, over groups."""
    groups = {"long": "a", "hot": "b"} if grouped else {}
    variants = {name: replace(one, group=groups.get(name, "")) for name, one in world.study.variants.items()}
    study, y = replace(world.study, variants=variants), 0.3 + 0.1 * np.random.default_rng(1).random((3, 3))
    if grouped:  # y: [variants, seeds]; the line of the second group is that of the first, or a steeper one
        y[2] = y[0] + 3 * (y[1] - y[0]) + 0.3 * (over == "2 groups")
    every = y[:, :, None, None] + np.zeros((3, 4))
    (slope,) = gather(study, [made(tmp_path, study, name, s, every) for name in NAMES for s in SEEDS]).slopes
    # By least squares over 1, 2 and 4.
    each = 100 * (y[1:] - y[0]) / [[1], [3]] if grouped else np.polyfit([1, 2, 4], 100 * y, 1)[:1]
    lines = each.mean(axis=int(over == "2 groups"))
    assert (slope.found.difference, slope.over) == (pytest.approx(lines.mean()), over)
    assert slope.found.interval == pytest.approx(tuple(scipy.stats.ttest_1samp(lines, 0).confidence_interval()))


def test_averages_of_an_official_suite(world: World) -> None:
    """Means over seeds; `hot` lacks a target, and so the average and that of the last group."""
    runs = [[load.Run(scores("", "xtreme", seed, not_run=lacks)) for seed in SEEDS] for lacks in ({}, {"bucc": "none"})]
    entries = {name: Entry(name, tuple(some)) for name, some in zip(("short", "hot"), runs, strict=True)}
    found = sections(Results(asking(world.study, evaluate=Evaluation(suite="xtreme")), world.runs, entries, [], []))
    whole, groups = next(one.blocks for one in found if one.title == "xtreme, against short")
    each = [run.scores["average"] for run in runs[0]]
    mean, group = np.mean([(one["score"], one["groups"]["retrieval"]["score"]) for one in each], axis=0)
    shown = [cells[-1].values[0] for cells in (*whole.rows, *groups.rows)]
    assert shown == [f"{mean:.1f}", "no average", "none", f"{group:.1f}", "no average"]
    assert "no average: bucc not run" in whole.notes


def test_other_metrics_than_the_headline(world: World) -> None:
    """Tatoeba's other direction has half of every outcome here; LAReQA's settings stand in a table of their own."""
    study = asking(world.study, compare=Comparison(primary=["tatoeba:xx->en", "tatoeba"], equivalence=0))
    half, whole = (one for one in gather(study, world.runs).compared if one.b == "hot")
    assert half.target == "tatoeba:xx->en" and half.primary and half.verdict == "better"
    assert half.found.of.difference == pytest.approx(whole.found.of.difference / 2)
    seeds = [{"map_mono": 60.0, "map_cross": 40.0, "map_multi": 30.0 + seed} for seed in (1, 2)]
    records = [{"details": dict.fromkeys(CODES, one), "rank_distance": one["map_multi"]} for one in seeds]
    entry = Entry("hot", tuple(load.Run({"targets": {"lareqa": one}}) for one in records))
    table = pools_table(replace(gather(study, world.runs), entries={"hot": entry}), "lareqa")
    assert [cell.values[0] for cell in table.rows[0]] == ["hot", "60.0", "40.0", "31.5", "31.5"]


def test_what_the_page_says(world: World) -> None:
    folder, y, study, runs, shown = world
    text = (folder / "report.md").read_text(encoding="utf-8")
    (line,) = (one for one in text.splitlines() if one.startswith("hot - short on tatoeba: +"))
    assert "3 seeds, 3 languages: better; could have seen" in line and "], 3 seeds.\n" in text
    assert "in common: never - short on tatoeba.\n" in text and "when its sha256 was 0123456789abcdef. " in text
    assert "Fewer than 5 seeds" in text and "neither consistently outperforms (arXiv:2005.13013" in text
    robust = shown["tatoeba: over languages without English"]
    each = 100 * y[2].mean(axis=(0, 2))
    assert "first 200 rows of each language only" in robust.notes.values()
    assert robust.cell("hot", "worst") == f"{each.min():.1f} ({CODES[each.argmin()]})"
    assert [robust.cell("hot", n) for n in ("mean", "spread")] == [f"{each.mean():.1f}", f"{each.std(ddof=1):.1f}"]
    curve = shown["tatoeba, en→xx: score by share of units with noise (typo)"]
    expected = [f"{100 * share * y[2].mean():.1f}" for share in (1, 0.9, 0.7)]
    # All items lose the same share, so that the ratio is known exactly.
    expected += ["30.0", "[+30.0, +30.0]", "sw (61.0)", "33", "50"]  # at the end what scores.json says by language
    assert curve.rows[0][2:4] == ["0.05", "0.20"] and curve.rows[-1] == ["hot", *expected]
    assert len(curve.rows) == 3 and "(typo): left out long: not all of it scored, or not all seeds" in text
    drops = drop_blocks(Compared([gather(study, runs).entries["long"]], everything=True), "tatoeba")
    assert "long, typo@0.2, en→xx is left out: not all seeds" in repr(drops)
    alone = gather(study, [run for run in runs if run.seed == 1])
    assert sentence(alone.compared[1]).endswith(". One seed: this covers other test items, not run-to-run variation.")
    assert not any(one["crossed"] for kind in ("comparisons", "slopes") for one in alone.plain()[kind])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert 'class="fits"' in page.partition('id="plot-primaries"')[2].partition("<img")[0]  # on a phone
    assert "&lt;b&gt;retrieval" in page and "http" not in page.split("</style>")[0]
    of_tatoeba = {f"tatoeba_{plot}" for plot in ("typo_en_xx", "differences", "scores")}
    assert {path.stem for path in (folder / "plots").iterdir()} == {"primaries", *of_tatoeba}


def test_what_is_missing_or_differs(world: World) -> None:
    shown = world.shown
    absent = shown["Not run"].rows[1:]
    assert ["never", "the run", "missing", "1, 2, 3"] in absent and ["short", "bucc", "no data", "1, 2, 3"] in absent
    assert ": none, until all" in slope_sentence(gather(world.study, world.runs[3:]).slopes[0], "steps")
    wider = gather(asking(world.study, evaluate=Evaluation(suite="tatoeba,xnli")), world.runs)
    rows = [[cell.values[0] for cell in cells] for cells in not_run_table(wider).rows]
    assert ["short", "xnli", "done", "1, 2, 3"] in rows
    settings = {(cells[0], cells[1]): cells[2:] for cells in shown["Settings that differ from the baseline"].rows[1:]}
    assert settings["hot", "steps"] == ["10", "30", "yes"] and settings["hot", "optimizer.lr"][1:] == ["0.5", "yes"]
    assert settings["hot", "optimizer.clip"] == ["1.0", "2.0", "no: beyond the factor"]
    assert ("never", "train") in settings and ("never", "steps") not in settings
    runs = shown["Runs"]
    dirty = [cells for cells in runs.rows if cells[3].startswith("abc-dirty")]
    assert [(*cells[:3], cells[4]) for cells in dirty] == [("hot", "2", "done", "def")]
    assert "in no commit" in runs.noted(dirty[0][3])
    assert any("2 versions" in note for note in runs.notes.values())


def test_forgetting(world: World) -> None:
    (found,) = (table for caption, table in world.shown.items() if caption.startswith("MLM loss"))
    assert found.rows[0] == ["language", "short", "long", "hot"]
    assert found.cell("de", "hot").endswith("(+1.000)") and found.cell("sw", "hot").startswith("5.000 ")
    assert found.cell("mean of 3", "hot").endswith("(+0.333)") and "its own" in " ".join(found.notes.values())


def test_hard_pairs_and_heat_maps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Low alignment: nl. Distant: sw, where `hot` has what `short` has. PAWS-X's distractors. Then the heat maps."""
    _, y, study, runs, _ = world
    for run in runs[:9]:
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
    asked = {"evaluate": Evaluation(suite="tatoeba,pawsx"), "compare": Comparison(primary=["tatoeba", "pawsx"])}
    results, found = gather(asking(study, **asked), runs), {}
    for cells in adversarial_table(results).rows:
        variant, _, pairs, *figures, codes = (cell.text() for cell in cells)
        found[variant, pairs, codes] = [text.partition(" ")[0] for text in figures]
    mean = 100 * y.mean(axis=(1, 3))  # [variants, languages]
    for name, hard, rest in (("low alignment", [1], [0, 2]), ("distant", [2], [0, 1])):
        a, b, c, d = (mean[v, some].mean() for some in (hard, rest) for v in (0, 2))
        figures = [f"{a:.1f}", f"{b:.1f}", f"{b - a:+.1f}", f"{c:.1f}", f"{d:.1f}", f"{d - c:+.1f}"]
        assert found["hot", name, CODES[hard[0]]] == figures
    assert found["hot", "distractors", "de"] == ["32.0", "32.0", "+0.0", "90.0", "90.0", "+0.0"]
    grids: dict[str, Any] = {}
    for module in ("studies.report.page", "eval.report.alignment"):
        monkeypatch.setattr(f"{module}.heat", lambda name, caption, grid, *_, **__: grids.setdefault(name, grid))
    blocks = (block for section in sections(results) for block in section.content())
    layers = next(block for block in blocks if getattr(block, "caption", "").startswith("MEXA")).rows
    drawn = [*grids["tatoeba_scores"].loc["hot"], *grids["tatoeba_differences"].loc["hot - short"]]
    assert drawn == pytest.approx([*mean[2], *(mean[2] - mean[0])], abs=0.051)  # differences to one decimal
    assert [[c.values[0] for c in cells[:4]] for cells in layers] == [[n, *["48.7"] * 3] for n in "012"]
