"""`python -m eval report RUN [RUN ...]`: runs side by side, the first one as the baseline.

    python -m eval report runs/baseline_s1 runs/baseline_s2 runs/mtl_all_s1 runs/mtl_all_s2 --out compared

RUN is a run folder, an eval folder or a scores.json. Written are report.html (one file that opens from disk),
report.md, plots/, tensorboard/ and scores.json: the runs' own together with what the table says.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import files
from common.errors import InputError
from eval import report
from eval.metrics import aggregate
from eval.report import compare, inputs, terminal
from eval.report.compare import Value, View
from eval.report.inputs import Entry


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code 0; `InputError` for runs that cannot be read and a folder that cannot be written."""
    parser = argparse.ArgumentParser(
        "python -m eval report", description="Runs side by side; the first is the baseline."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder, eval folder or scores.json")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: report/ in the last run's eval folder)"
    )
    options = parser.parse_args(arguments)

    runs = inputs.read(options.runs)
    last = runs[-1].folder
    assert last is not None
    out = options.out or last / "report"
    if any(run.folder == out.resolve() for run in runs):
        raise InputError(f"--out {out}: holds the scores.json of one of the runs; give another folder")
    entries = inputs.group(runs)
    views = compare.views(entries, everything=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
        paths = report.write_entries(entries, views, out)
        files.write_json(out / inputs.FILE, combined(entries, views))
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror or error})") from None
    for view in views:
        print(f"{view[0]}\n{terminal.overview(entries, view)}\n")
    for path in [out / inputs.FILE, *paths]:
        print(path)
    return 0


def combined(entries: Sequence[Entry], views: Sequence[View]) -> dict[str, Any]:
    """The report's scores.json.

    {"baseline": name, "runs": {entry: [{"from": folder, "scores": a run's scores.json}]}, "suites": {suite: {entry:
    {"over_seeds": as `aggregate.over_seeds`, "average": {"mean", "half", "n"} or why there is none}}}}.
    """
    suites: dict[str, Any] = {}
    for suite, targets in views:
        suites[suite] = {}
        for entry in entries:
            each = [
                {**run.scores, "suite": suite, "average": aggregate.average(run.scores, suite, targets)}
                for run in entry.runs
            ]
            average = compare.average(entry, (suite, targets))
            suites[suite][entry.name] = {
                "over_seeds": aggregate.over_seeds(each),
                "average": vars(average) if isinstance(average, Value) else average,
            }
    runs = {e.name: [{"from": str(run.folder), "scores": run.scores} for run in e.runs] for e in entries}
    return {"baseline": entries[0].name, "runs": runs, "suites": suites}
