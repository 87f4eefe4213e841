"""`python -m eval report` as a program: what lies in its folder afterwards, and what it says if something is wrong."""

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from eval import report
from eval.__main__ import main
from eval.report import board, inputs
from tests.support import scores_files

SUITE = "xnli,xquad,udpos,bucc,tatoeba,lareqa"
LANGUAGES = {
    "xnli": ("de", "en", "sw"), "xquad": ("de", "en"), "udpos": ("en", "kk", "zh"), "bucc": ("de", "zh"),
    "tatoeba": ("de", "sw", "ta"),
}  # fmt: skip
VOID = {"meta", "link", "img", "br", "hr", "input"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Two seeds of a baseline, two of another run, and one that lacks a target and a language; none has LAReQA."""
    folder = tmp_path_factory.mktemp("runs")
    absent = {"lareqa": "DIR has no <b>LAReQA</b> & no pool | none"}
    runs = []
    for name, lr in (("base", 1e-5), ("mtl", 2e-5)):
        for seed in (1, 2):
            result = scores_files.scores(
                f"{name}_s{seed}", SUITE, seed + (10 if name == "mtl" else 0), LANGUAGES, absent
            )
            runs.append(scores_files.write_run(folder, result, seed, lr=lr))
    less = {**LANGUAGES, "xnli": ("de", "en")}
    del less["bucc"]
    odd = scores_files.scores('<odd> "one" & 100%', SUITE, 30, less, {**absent, "bucc": "no BUCC"})
    runs.append(scores_files.write_run(folder, {**odd, "name": "odd"}, 1, lr=3e-5))
    written = runs[-1] / "eval" / "scores.json"
    written.write_text(json.dumps(odd), encoding="utf-8")
    before = [(run / "eval" / "scores.json").read_bytes() for run in runs]
    assert main(["report", *map(str, runs), "--out", str(folder / "out")]) == 0
    assert [(run / "eval" / "scores.json").read_bytes() for run in runs] == before
    return folder / "out"


class Reader(html.parser.HTMLParser):
    """Collects elements, checks that every one is closed in order, and the cells of every row."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[tuple[str, dict[str, Any]]] = []
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.tables: list[
            list[list[tuple[str, dict[str, Any], str]]]
        ] = []  # tables, rows, cells: tag, attributes, text
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        about = dict(attributes)
        assert len(about) == len(attributes), f"an attribute twice in <{tag}>"
        self.elements.append((tag, about))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append((tag, about, ""))
        if tag not in VOID:
            self.stack.append((tag, about))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack and self.stack.pop()[0] == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data
        if any(tag in ("td", "th") for tag, _ in self.stack):
            tag, about, text = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = (tag, about, text + data)


@pytest.fixture(scope="module")
def page(place: Path) -> Reader:
    reader = Reader()
    reader.feed((place / "report.html").read_text(encoding="utf-8"))
    reader.close()
    assert not reader.stack
    return reader


def test_page_needs_nothing_from_outside(place: Path, page: Reader) -> None:
    text = (place / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//|@import", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    for tag, about in page.elements:
        assert tag not in ("script", "link", "iframe", "img", "object", "embed")
        for name in ("src", "href", "xlink:href", "srcset"):
            assert about.get(name, "#")[0] == "#" or about[name].startswith("data:image/png;base64,")
    assert "url(" not in re.sub(r"url\(#[^)]+\)", "", text)


def test_page_is_whole(page: Reader) -> None:
    ids = [about["id"] for _, about in page.elements if "id" in about]
    assert len(ids) == len(set(ids))
    targets = [about["href"][1:] for _, about in page.elements if about.get("href", "").startswith("#")]
    used = [
        name
        for _, about in page.elements
        for value in about.values()
        for name in re.findall(r"url\(#([^)]+)\)", value or "")
    ]
    assert targets and used and set(targets + used) <= set(ids)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == tags.count("main") == 1 and ("html", {"lang": "en"}) in page.elements
    assert any(about.get("name") == "viewport" for _, about in page.elements)
    for table in page.tables:
        widths = {sum(int(about.get("colspan", 1)) for _, about, _ in row) for row in table}
        assert len(widths) == 1 and len(table) >= 2
        for row in table:
            assert all(about.get("scope") in ("col", "row", "colgroup") for tag, about, _ in row if tag == "th")
            # Nothing is blank, but for the corners above the table of a suite.
            assert all(text.strip() for tag, about, text in row if "colspan" not in about)
        assert table[-1][0][1]["scope"] == "row"
    assert '<odd> "one" & 100%' in page.text and "DIR has no <b>LAReQA</b> & no pool" in page.text


def test_every_plot_is_there(place: Path, page: Reader) -> None:
    expected = {"all_family", "all_script", "bucc_heat", "tatoeba_heat", *LANGUAGES}
    expected |= {f"{name}_{kind}" for name in ("udpos", "bucc", "tatoeba") for kind in ("family", "script")}
    figures = [about["id"] for tag, about in page.elements if tag == "figure"]
    assert sorted(figures) == sorted(f"plot-{name}" for name in expected)
    drawings = [about for tag, about in page.elements if tag == "svg"]
    assert len(drawings) == len(expected) and all(about["role"] == "img" and about["aria-label"] for about in drawings)
    assert {path.stem for path in (place / "plots").iterdir()} == expected
    for path in (place / "plots").iterdir():
        pixels = np.asarray(Image.open(path).convert("L"))
        assert pixels.std() > 5  # something is drawn
    markdown = (place / "report.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((plots/[^)]+)\)", markdown)) == {f"plots/{name}.png" for name in expected}


def test_bars_have_the_heights_of_the_scores(place: Path) -> None:
    """The drawing itself: the bars of one seed's XQuAD stand to one another as its figures do."""
    text = (place / "report.html").read_text(encoding="utf-8")
    drawing = text[text.index('<figure id="plot-xquad">') :]
    drawing = drawing[: drawing.index("</figure>")]
    heights: dict[str, list[float]] = {}
    for path, colour in re.findall(r'<path d="([^"]+)"[^>]*style="fill: (#[0-9a-f]{6})', drawing):
        points = [float(number) for number in re.findall(r"-?[\d.]+", path)]
        heights.setdefault(colour, []).append(max(points[1::2]) - min(points[1::2]))
    runs = json.loads((place / "scores.json").read_text(encoding="utf-8"))["runs"]
    for colour, seeds in zip(("#8c96a3", "#0072b2", "#e69f00"), runs.values(), strict=True):
        values = [
            np.mean([one["scores"]["targets"]["xquad"]["languages"][code] for one in seeds]) for code in ("de", "en")
        ]
        german, english = heights[colour][:2]
        assert german / english == pytest.approx(values[0] / values[1], rel=1e-3)


def test_page_markdown_and_scores_say_the_same(place: Path, page: Reader) -> None:
    combined = json.loads((place / "scores.json").read_text(encoding="utf-8"))
    assert combined["baseline"] == "base (2 seeds)"
    assert list(combined["runs"]) == ["base (2 seeds)", "mtl (2 seeds)", '<odd> "one" & 100%']
    records = [[one["scores"]["targets"] for one in seeds] for seeds in combined["runs"].values()]
    # XNLI over de and en, which all have; the third row is one run.
    means = [np.mean([[r["xnli"]["languages"][c] for c in ("de", "en")] for r in seeds]) for seeds in records]
    rows = page.tables[0]
    assert [row[0][2] for row in rows[1:]] == [*combined["runs"], "chance"]
    for row, value in zip(rows[1:], means, strict=False):
        assert row[1][2].startswith(f"{value:.1f}")
        if value != means[0]:
            assert row[1][2].endswith(f"{value - means[0]:+.1f}")
    markdown = (place / "report.md").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in markdown if line.startswith("| mtl (2 seeds) |") and "not run" in line]
    assert line.split("|")[2].strip().startswith(f"{means[1]:.1f} ± ")
    seeds = combined["suites"][SUITE]["mtl (2 seeds)"]["over_seeds"]
    assert seeds["runs"] == ["mtl_s1", "mtl_s2"]
    assert seeds["targets"]["xnli"]["languages"]["sw"]["mean"] == pytest.approx(
        np.mean([r["xnli"]["languages"]["sw"] for r in records[1]])
    )
    for cells in (line.split("|") for line in markdown if line.startswith("|")):
        assert all(cell.strip() for cell in cells[1:-1])


def test_tensorboard(place: Path) -> None:
    def events(name: str) -> EventAccumulator:
        return EventAccumulator(str(place / "tensorboard" / name), {"images": 0, "scalars": 0, "tensors": 0}).Reload()

    folders = sorted(path.name for path in (place / "tensorboard").iterdir())
    assert folders == ["base_2_seeds", "mtl_2_seeds", "odd_one_100", "report"]
    runs = json.loads((place / "scores.json").read_text(encoding="utf-8"))["runs"]
    for name, seeds in zip(folders, runs.values(), strict=False):
        written = events(name)
        records = [one["scores"]["targets"] for one in seeds]
        wanted = {
            f"{target}/{code}": np.mean([record[target]["languages"][code] for record in records])
            for target in records[0]
            for code in records[0][target]["languages"]
        }
        wanted |= {f"{target}/score": None for target in records[0]}  # over what all runs share
        assert set(written.Tags()["scalars"]) == set(wanted)
        for tag, value in wanted.items():
            (event,) = written.Scalars(tag)
            assert event.step == 0 and (value is None or event.value == pytest.approx(value, rel=1e-6))
    texts = events("report")
    assert len(texts.Tags()["images"]) == len(list((place / "plots").iterdir()))
    assert texts.Images("xnli")[0].width > 300
    (tag,) = [tag for tag in texts.Tags()["tensors"] if tag.startswith(f"{SUITE}/")]
    (said,) = make_ndarray(texts.Tensors(tag)[0].tensor_proto).tolist()
    assert "| base (2 seeds) |" in said.decode()


def test_runs_of_one_name_stay_apart_in_tensorboard() -> None:
    entries = [inputs.Entry(name, ()) for name in ("a b", "a/b", "report", "...", "größe")]
    assert board._names(entries) == ["a_b", "a_b_2", "report_3", "run", "größe"]


def test_report_of_a_suite_again(tmp_path: Path) -> None:
    """The entry point of the driver, twice into one folder: files are replaced, a single run has no differences."""
    result = scores_files.scores("a", "xnli,xquad", 1, {"xquad": ("en",)}, {"xnli": "no data"})
    for _ in range(2):
        assert report.write([result], tmp_path) == [tmp_path / "report.md", tmp_path / "report.html"]
    assert len(list(tmp_path.glob("tensorboard/*/events*"))) == 2 and not (tmp_path / "scores.json").exists()
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "baseline" not in text and 'class="better"' not in text and "no data" in text
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["xquad.png"]  # English alone has no families


def test_default_folder(tmp_path: Path, capsys) -> None:
    run = scores_files.write_run(tmp_path, scores_files.scores("a", "xnli", 1), 1)  # complete
    kept = (run / "eval" / "scores.json").read_bytes()
    assert main(["report", str(run)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == str(run.resolve() / "eval" / "report" / "report.html") and Path(out[-1]).is_file()
    assert (run / "eval" / "scores.json").read_bytes() == kept
    combined = json.loads((run / "eval" / "report" / "scores.json").read_text(encoding="utf-8"))
    assert combined["suites"]["xnli"]["a"]["average"].startswith("no average: ")
    # The suite and its only target are sections of one name.
    ids = re.findall(r' id="([^"]+)"', Path(out[-1]).read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids)) and {"xnli", "plot-xnli"} <= set(ids)


def test_errors_are_one_line(tmp_path: Path, capsys) -> None:
    good = scores_files.write_run(tmp_path, scores_files.scores("good", "xnli", 1, {"xnli": ("de", "en")}), 1)

    def says(*arguments: str) -> str:
        assert main(["report", *arguments]) == 2
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert line.startswith("error: ") and not captured.out
        return line

    def broken(change: Any) -> str:
        result = scores_files.scores("bad", "xnli", 1, {"xnli": ("de", "en")})
        change(result)
        path = tmp_path / "bad.json"
        path.write_text(json.dumps(result), encoding="utf-8")
        return says(str(good), str(path))

    assert "no such run" in says(str(tmp_path / "nowhere"))
    assert "no scores.json there" in says(str(tmp_path))
    assert "holds the scores.json of one of the runs" in says(str(good), "--out", str(good / "eval"))
    (tmp_path / "file").write_text("x")
    assert "not JSON" in says(str(tmp_path / "file")) and "cannot be written" in says(
        str(good), "--out", str(tmp_path / "file")
    )
    (tmp_path / "latin").write_bytes(b"\xff{}")
    assert "not UTF-8" in says(str(tmp_path / "latin"))
    (tmp_path / "list").write_text("[1]")
    assert "expected a JSON object" in says(str(tmp_path / "list"))
    assert "targets: " in broken(lambda r: r.pop("targets"))
    assert "targets.xnli.languages.de: " in broken(lambda r: r["targets"]["xnli"]["languages"].update(de="high"))
    assert "targets.xnli.score: " in broken(lambda r: r["targets"]["xnli"].update(score=float("nan")))
    assert "details.de has no 'n'" in broken(lambda r: r["targets"]["xnli"]["details"]["de"].pop("n"))
    assert "other languages" in broken(lambda r: r["targets"]["xnli"]["details"].pop("de"))
    assert "unknown target" in broken(lambda r: r["targets"].update(xnil=r["targets"]["xnli"]))
    assert "neither a suite nor names of targets" in broken(lambda r: r.update(suite="xnil"))
    assert "no target was scored" in broken(lambda r: r.update(targets={}))
    (good / "config.json").write_text("{}")
    assert "no `seed`" in says(str(good))


def test_a_report_is_no_run(place: Path, capsys) -> None:
    assert main(["report", str(place)]) == 2
    assert "combined scores of a report" in capsys.readouterr().err
    assert inputs.FILE == "scores.json"
