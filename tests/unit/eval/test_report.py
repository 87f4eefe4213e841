"""What a reader of `python -m eval report` sees, recomputed from the runs' scores; what is missing is named."""

import copy
import html
import json
import re
import statistics
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.languages import LANGUAGES as KNOWN
from eval.__main__ import main
from eval.metrics import aggregate
from eval.suites import GROUPS, resolve_suite
from eval.suites import LANGUAGES as OFFICIAL
from tests.support.scores_files import Table, headline, scores, tables, write_run

T_975 = {1: 12.7062, 2: 4.3027}  # Student's t by degrees of freedom, from a printed table
SUITE = "xtreme"
XNLI, PAWSX = (resolve_suite(target)[1][0].of_suite(SUITE) for target in ("xnli", "pawsx"))
LANGUAGES = {
    "xnli": XNLI, "pawsx": PAWSX, "xquad": ("de", "en"), "bucc": ("de", "zh"),
    "tatoeba": ("de", "nl", "sw", "ta"),
}  # fmt: skip
ABSENT = {"panx": "DIR has no <b>WikiANN</b> & no words | none"}
ODD = '<odd> "one" & 100%'


@dataclass
class World:
    """Two seeds of a baseline, three of another run, and one run that lacks a target and languages."""

    folder: Path
    tables: dict[str, Table]
    runs: dict[str, list[dict[str, Any]]]  # scores.json of every row
    said: str  # in the terminal


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("runs")
    runs: dict[str, list[dict[str, Any]]] = {"base (2 seeds)": [], "mtl (3 seeds)": [], ODD: []}
    places = []
    for name, row, seeds in (("base", "base (2 seeds)", (1, 2)), ("mtl", "mtl (3 seeds)", (11, 12, 13))):
        for seed in seeds:
            runs[row].append(scores(f"{name}_s{seed}", SUITE, seed, LANGUAGES, ABSENT))
            places.append(write_run(folder, runs[row][-1], seed, lr=len(name) * 1e-5))
    less = {target: codes for target, codes in LANGUAGES.items() if target != "bucc"}
    less |= {"xnli": tuple(code for code in XNLI if code not in ("sw", "th")), "xquad": ("hi",)}
    odd = scores(ODD, SUITE, 30, less, {**ABSENT, "bucc": "no BUCC"}, layer=7)
    odd["targets"]["pawsx"]["protocol"]["n"] = "first 50"
    odd["targets"]["pawsx"]["supplied"] = ["target training on pawsx of data/toyworld, as samples lacks it"]
    runs[ODD].append(odd)
    places.append(write_run(folder, odd, None))
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *parts, **_: lines.append(" ".join(map(str, parts))))
        assert main(["report", *map(str, places), "--out", str(folder / "out")]) == 0
    return World(folder / "out", tables(folder / "out/report.md"), runs, "\n".join(lines))


def shown(each: list[list[float]], first: list[list[float]] | None = None) -> str:
    """A cell: of every metric (F1 and EM) its mean over seeds, with the interval and the difference from `first`."""

    def one(values: list[float]) -> str:
        half = T_975[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
        return f"{statistics.fmean(values):.1f}" + ("" if half is None else f" ± {half:.1f}")

    text = " / ".join(map(one, each))
    if first is None:
        return text
    pairs = zip(each, first, strict=True)
    return text + f" ({' / '.join(f'{statistics.fmean(a) - statistics.fmean(b):+.1f}' for a, b in pairs)})"


def over(runs: list[dict[str, Any]], target: str, codes: tuple[str, ...] | list[str]) -> list[list[float]]:
    """Of every metric of a cell, each seed's mean over some languages."""
    return [
        [statistics.fmean(run["targets"][target]["details"][code][name] for code in codes) for run in runs]
        for name in headline(target)
    ]


SHARED = {**LANGUAGES, "xnli": [code for code in XNLI if code not in ("sw", "th")]}


@pytest.mark.parametrize("target", ["xnli", "pawsx", "bucc", "tatoeba"])
def test_the_table_of_the_suite(world: World, target: str) -> None:
    """Mean ± half of Student's interval over seeds, (difference from the baseline), over the languages all have."""
    table = world.tables[f"{SUITE}: mean over languages, in percent"]
    base, *others = world.runs.values()
    first = over(base, target, SHARED[target])
    assert table.cell("base (2 seeds)", target) == shown(first)
    for name, runs in zip(list(world.runs)[1:], others, strict=True):
        if target in runs[0]["targets"]:
            assert table.cell(name, target) == shown(over(runs, target, SHARED[target]), first)


def test_languages(world: World) -> None:
    base, mtl, _ = world.runs.values()
    xquad = world.tables["xquad: F1 / EM by language, in percent"]
    for code in ("de", "en"):
        expected = shown(over(mtl, "xquad", [code]), over(base, "xquad", [code]))
        assert xquad.cell(code, "mtl") == expected
    xnli = world.tables["xnli: accuracy by language, in percent"]
    assert [row[0] for row in xnli.rows[1:]] == [*sorted(XNLI), "mean of 13", "mean without en"]
    assert xnli.cell("de", "base") == shown(over(base, "xnli", ["de"]))
    assert xnli.cell("mean without en", "base") == shown(over(base, "xnli", [c for c in SHARED["xnli"] if c != "en"]))
    assert xnli.cell("de", "chance") == f"{base[0]['targets']['xnli']['details']['de']['chance']:.1f}"


def test_families_and_scripts(world: World) -> None:
    """Mean over the targets that all runs have of the mean over the languages of a class, without English."""
    # XTREME-R counts 14 families and two isolates (Ruder et al. 2021).
    assert len({one.family.split(":")[0] for one in KNOWN.values()}) == 16
    for kind, name, classes in (
        ("family", "IE: Germanic", {"xnli": ["de"], "pawsx": ["de"], "tatoeba": ["de", "nl"]}),
        ("script", "Tamil", {"tatoeba": ["ta"]}),
    ):
        base, mtl, _ = (
            [[statistics.fmean(column) for column in zip(*(over(r, t, c)[0] for t, c in classes.items()), strict=True)]]
            for r in world.runs.values()
        )
        assert world.tables[f"By {kind}, in percent"].cell(name, "mtl") == shown(mtl, base)


def test_what_is_missing_is_named(world: World) -> None:
    table = world.tables[f"{SUITE}: mean over languages, in percent"]
    heads = {head.split()[0]: table.noted(head) for head in table.rows[0]}

    def why(row: str, column: str) -> tuple[str, str]:
        text = table.cell(row, column)
        return text.partition(" [")[0], table.noted(text)

    assert why(ODD, "bucc") == ("not run", "not run: no BUCC")
    assert why(ODD, "panx") == ("not run", f"not run: {ABSENT['panx']}")
    assert "not scored yet" in why(ODD, "mlqa")[1]
    # Where languages differ, all rows are over the shared ones, and the head of the column says so.
    assert heads["xnli"] == "over 13 of 15 languages: not all runs have data for sw th"
    assert why(ODD, "xquad")[0] == why("base (2 seeds)", "xquad")[0] == "no data"
    # No average with a hole in it: of the suite, of a group, of seeds.
    for row in world.runs:
        assert why(row, "average")[0] == "no average" and "udpos not run; panx not run" in why(row, "average")[1]
    groups = world.tables[f"{SUITE}: averages of the groups"]
    assert groups.noted(groups.cell(ODD, "classification")) == "no average: xnli without sw th"
    # Settings that differ, few rows, data from elsewhere.
    assert "different settings: layer" in heads["tatoeba"] and "different settings" not in heads["xnli"]
    assert "first 50 rows of each language only" in heads["pawsx"] and "data/toyworld" in heads["pawsx"]
    for text in ("bucc: not run: no BUCC", "xnli: over 13 of 15 languages", "pawsx: ", "data/toyworld"):
        assert text in world.said
    assert all(cell for one in world.tables.values() for row in one.rows for cell in row)


# The page


def cells(row: str) -> list[str]:
    return [html.unescape(re.sub(r"<[^>]+>", " ", one)) for one in re.findall(r"<t[dh][ >].*?</t[dh]>", row, re.S)]


class Page:
    """report.html without its pictures, and the texts in the cells of every table."""

    def __init__(self, path: Path) -> None:
        self.text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", path.read_text(encoding="utf-8"))
        found = re.findall(r"<table.*?</table>", self.text, re.S)
        self.tables = [[cells(row) for row in re.findall(r"<tr[ >].*?</tr>", table, re.S)] for table in found]


@pytest.fixture(scope="module")
def page(world: World) -> Page:
    return Page(world.folder / "report.html")


def test_page_needs_nothing_from_outside(page: Page) -> None:
    assert not re.search(r"https?:|@import|<(script|link|iframe|object|embed)\b", page.text)
    used = re.findall(r'(?:src|href|srcset)="([^"]*)"', page.text)
    assert all(one.startswith(("#", "data:image/")) for one in used)
    ids = re.findall(r'\bid="([^"]+)"', page.text)
    links = {one[1:] for one in used if one[0] == "#"}
    assert len(ids) == len(set(ids)) and links and links <= set(ids)


def test_page_markdown_and_scores_say_the_same(world: World, page: Page) -> None:
    def words(text: str) -> list[str]:
        return sorted(re.findall(r"[+-]?[\w.]+", text))

    for rows, table in zip(page.tables, world.tables.values(), strict=True):
        body = rows[-len(table.rows) :]  # a suite's has a row of groups above the heads
        assert [[words(cell) for cell in row] for row in body] == [[words(cell) for cell in row] for row in table.rows]
    combined = json.loads((world.folder / "scores.json").read_text(encoding="utf-8"))
    assert combined["baseline"] == "base (2 seeds)"
    assert {name: [one["scores"] for one in seeds] for name, seeds in combined["runs"].items()} == world.runs


def test_plots(world: World, page: Page) -> None:
    """A plot by language of every target that was scored, and something in each; the page and Markdown show all."""
    pictures = {path.stem for path in (world.folder / "plots").iterdir()}
    assert pictures >= {*LANGUAGES, "all_family", "all_script", "tatoeba_heat", "tatoeba_family", "tatoeba_script"}
    assert all(np.asarray(Image.open(path).convert("L")).std() > 5 for path in (world.folder / "plots").iterdir())
    markdown = (world.folder / "report.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(plots/([^)]+)\.png\)", markdown)) == pictures
    drawn = re.findall(r'<img [^>]*>|<[^>]* role="img"[^>]*>', page.text)
    assert len(drawn) == len(pictures) and all(re.search('(alt|aria-label)="[^"]', one) for one in drawn)


# Means over languages, targets, groups and suites as the official evaluator takes them


def average(result: dict[str, Any], suite: str) -> dict[str, Any]:
    return aggregate.average(result, suite, resolve_suite(suite)[1])


def official(result: dict[str, Any]) -> dict[str, Fraction]:
    """Task scores from the definition: mean over languages of each metric, then of F1 and EM."""
    tasks = {}
    for target, record in result["targets"].items():
        columns = [[Fraction(one[name]) for one in record["details"].values()] for name in headline(target)]
        tasks[target] = sum(sum(column) / len(column) for column in columns) / len(columns)
    return tasks


@pytest.mark.parametrize("suite", ["xtreme", "xtreme-r"])
def test_average_of_a_complete_suite(suite: str) -> None:
    result = scores("run", suite, 1)
    tasks, found = official(result), average(result, suite)
    assert sorted(tasks) == sorted(name for members in GROUPS[suite].values() for name in members)
    assert found["score"] == pytest.approx(float(sum(tasks.values()) / len(tasks)))
    assert found["targets"] == pytest.approx({name: float(value) for name, value in tasks.items()})
    assert not found["missing"] and found["protocol"]["question_answering"] == "(F1 + EM) / 2"
    for group, members in GROUPS[suite].items():
        expected = float(sum(tasks[name] for name in members) / len(members))
        assert found["groups"][group] == {"score": pytest.approx(expected), "targets": [*members], "missing": []}


def test_a_target_counts_over_the_languages_of_the_suite() -> None:
    """One scores.json may hold Tatoeba of XTREME-R's 41 languages: XTREME's average takes its own 36 of them."""
    result, larger = scores("run", "xtreme", 3), scores("run", "xtreme-r", 4)
    own = result["targets"]["tatoeba"]
    larger["targets"]["tatoeba"]["languages"] |= own["languages"]
    larger["targets"]["tatoeba"]["details"] |= own["details"]
    mixed = copy.deepcopy(result)
    mixed["targets"]["tatoeba"] = larger["targets"]["tatoeba"]
    assert average(mixed, "xtreme")["targets"]["tatoeba"] == pytest.approx(float(official(result)["tatoeba"]))
    # The other way round something is missing.
    assert average(result, "xtreme-r")["missing"]["tatoeba"] == "without az lt pl ro uk"


def test_the_official_languages() -> None:
    assert [len(codes) for codes in OFFICIAL["xtreme"].values()] == [15, 7, 33, 40, 11, 7, 9, 4, 36]
    assert [len(codes) for codes in OFFICIAL["xtreme-r"].values()] == [15, 11, 38, 48, 12, 7, 9, 41, 11, 11]
    everything = [{code for codes in lists.values() for code in codes} for lists in OFFICIAL.values()]
    assert [len(codes) for codes in everything] == [40, 50]
