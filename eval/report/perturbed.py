"""Scores with noise in the queries (`python -m eval --perturb`), beside the clean ones of the same items."""

from collections.abc import Sequence

import numpy as np

from eval.report.compare import Comparison, label
from eval.report.differences import outcomes_of, spoken
from eval.report.load import Run
from eval.report.plots import Plot, forest
from eval.report.statistics import Drop, relative_drop, uneven
from eval.report.tables import Table, head, number, row

FALLS = ("falls most", "fall more than twice that, %", "touched, %")  # columns of `falls_of`
NO_DROP = "not all seeds have the same items beside their scores, or the clean score is 0"


def noises(runs: Sequence[Run], target: str) -> list[tuple[str, str]]:
    """(noise, metric) of all that every one of these runs has."""
    records = [run.targets.get(target, {}).get("perturbed", {}) for run in runs]
    every = [[(noise, metric) for noise, one in record.items() for metric in one["metrics"]] for record in records]
    return [key for key in every[0] if all(key in some for some in every)]


def drop_of(runs: Sequence[Run], target: str, noise: str, metric: str) -> Drop | None:
    """Of all these seeds together, from their items; None without these, but of a single run."""
    records = [run.targets[target]["perturbed"][noise]["metrics"][metric] for run in runs]
    if len(runs) == 1:
        return Drop(*(records[0][key] for key in ("clean", "noisy", "drop", "interval")))
    codes = applicable(runs, target, noise, metric)[0]
    pairs = zip(outcomes_of(runs, target, codes), outcomes_of(runs, target, codes, noise), strict=True)
    return relative_drop(list(pairs), metric, codes)


def applicable(runs: Sequence[Run], target: str, noise: str, metric: str) -> tuple[list[str], list[str]]:
    """(languages in which noise changes a query in all these runs, the others)."""
    records = [run.targets[target]["perturbed"][noise]["metrics"][metric] for run in runs]
    without = {code for record in records for code in record.get("not_applicable", ())}
    codes = list(runs[0].targets[target]["languages"])
    return [code for code in codes if code not in without], [code for code in codes if code in without]


def falls_of(runs: Sequence[Run], target: str, noise: str, metric: str, drop: float) -> list[str]:
    """Cells of the columns `FALLS`. A language's fall is the mean over the runs; drop: of all languages, in percent."""
    each = [run.targets[target]["perturbed"][noise]["metrics"][metric]["languages"] for run in runs]
    codes = [code for code in each[0] if all(code in one for one in each)]
    drops = {code: float(np.mean([one[code]["drop"] for one in each])) for code in codes}
    worst, beyond = uneven(drops, drop)
    touched = float(np.mean([one["touched"] for one in each[0].values()]))
    return [f"{worst} ({number(drops[worst])})", number(beyond, 0), number(touched, 0)]


def drop_blocks(comparison: Comparison, target: str) -> list[Table | Plot]:
    """A row and a point with its interval for every run, noise and metric; none where nothing was scored with noise."""
    columns = ("clean", "noisy", "relative drop, %", "95 %", *FALLS, "languages", "not applicable")
    table = Table(f"{target}: noise in the queries", row("run", "noise", "metric", *columns), style="long")
    points = {}
    for entry in comparison.entries:
        for noise, metric in noises(entry.runs, target):
            if (found := drop_of(entry.runs, target, noise, metric)) is None:
                table.note(f"{entry.name}, {noise}, {label(metric)} is left out: {NO_DROP}")
                continue
            cells = [number(value) for value in (found.clean, found.noisy, found.drop)]
            more = falls_of(entry.runs, target, noise, metric, found.drop)
            some, others = applicable(entry.runs, target, noise, metric)
            counted = (str(len(some)), " ".join(others) or "–")
            table.rows.append(row(head(entry), noise, label(metric), *cells, spoken(found.interval), *more, *counted))
            points[f"{entry.name}: {noise}, {label(metric)}"] = (found.drop, *found.interval)
    if not points:
        return [table] if table.notes else []
    caption = f"{target}: relative drop by noise in the queries"
    return [table, forest(f"{target}_noise", caption, points, 0.0, "percent of the score")]
