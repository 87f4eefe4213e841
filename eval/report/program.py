"""`python -m eval report RUN [RUN ...]`: runs side by side, the first one as the baseline.

    python -m eval report runs/baseline_s1 runs/baseline_s2 runs/mtl_all_s1 runs/mtl_all_s2 --out compared

RUN is a run folder, an eval folder or a scores.json. Written are report.html (one file that opens from disk),
report.md, plots/, tensorboard/ and scores.json: the runs' own together with what the table says.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import eval.report.render as render
from common import files
from common.errors import InputError, writing
from eval.report.board import write as write_board
from eval.report.compare import Comparison, Value
from eval.report.differences import Differences, of_view
from eval.report.load import FILE, Scores, group, read, single_entries
from eval.report.sections import build
from eval.report.terminal import overview


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code 0; `InputError` for runs that cannot be read and a folder that cannot be written."""
    parser = argparse.ArgumentParser("python -m eval report", description="Runs side by side, the first as baseline.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder, eval folder or scores.json")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to write (default: report/ in the last eval folder)"
    )
    options = parser.parse_args(arguments)

    runs = read(options.runs)
    last = runs[-1].folder
    assert last is not None
    out = options.out or last / "report"
    if any(run.folder == out.resolve() for run in runs):
        raise InputError(f"--out {out}: holds the scores.json of one of the runs; give another folder")
    comparison = Comparison(group(runs), everything=True)
    differences = {view[0]: of_view(comparison, view) for view in comparison.views}
    with writing(f"--out {out}"):
        out.mkdir(parents=True, exist_ok=True)
        paths = _write(comparison, out, differences)
        files.write_json(out / FILE, _combined(comparison, differences))
    for view in comparison.views:
        print(f"{view[0]}\n{overview(comparison, view)}\n")
    for path in [out / FILE, *paths]:
        print(path)
    return 0


def write(scores: Sequence[Scores], folder: Path) -> list[Path]:
    """Writes the report of one call of a suite into `folder`; returns the paths of report.md and report.html."""
    comparison = Comparison(single_entries(scores), everything=False)
    return _write(comparison, folder, {view[0]: {} for view in comparison.views})


def terminal_table(scores: Sequence[Scores]) -> str:
    """The overview of one call of a suite, one column per encoder."""
    comparison = Comparison(single_entries(scores), everything=False)
    return overview(comparison, comparison.views[0])


def _write(comparison: Comparison, folder: Path, differences: Mapping[str, Differences]) -> list[Path]:
    """report.md, report.html, plots/NAME.png and tensorboard/ in `folder`; returns the paths of the first two."""
    title = f"Cross-lingual scores: {', '.join(suite for suite, _ in comparison.views)}"
    text, sections = render.intro(comparison, any(differences.values())), build(comparison, differences)
    paths = render.write(folder, title, text, sections)
    write_board(folder / "tensorboard", comparison, sections)
    return paths


def _combined(comparison: Comparison, differences: Mapping[str, Differences]) -> dict[str, Any]:
    """The report's scores.json.

    {"baseline": name, "runs": {entry: [{"from": folder, "scores": a run's scores.json}]}, "results": {entry: {tag:
    {"mean", "half", "n"} or why there is none}}}, tags as `Comparison.results` has them; "differences": [{"a": the
    baseline, "b": entry, "target", "suite", "verdict", and the fields of `Estimate`}]}.
    """
    entries, results = comparison.entries, comparison.results()
    return {
        "baseline": entries[0].name,
        "runs": {e.name: [{"from": str(run.folder), "scores": run.scores} for run in e.runs] for e in entries},
        "results": {e.name: {tag: _plain(values[i]) for tag, values in results.items()} for i, e in enumerate(entries)},
        "differences": [
            {"a": entries[0].name, "b": entry, "target": target, "suite": suite, "verdict": one.of.verdict()}
            | {"crossed": one.of.seeds > 1, **asdict(one.of)}
            for suite, found in differences.items()
            for (entry, target), one in found.items()
        ],
    }


def _plain(value: Value) -> dict[str, Any] | str:
    return value.missing or {"mean": value.mean, "half": value.half, "n": value.n}
