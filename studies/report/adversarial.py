"""Adversarial language pairs, our name for what should be hard to transfer to, each beside the rest:

- low alignment: the third of the languages with the lowest MEXA in the baseline, mean over layers and seeds;
- distant: the third that URIEL's syntax puts farthest from English (common/languages.csv);
- distractors: see `eval/metrics/distractors.py`.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from common.languages import language
from eval.report.alignment import MEASURES, measured
from eval.report.compare import headline
from eval.report.differences import outcomes_of, spoken
from eval.report.load import Run
from eval.report.statistics import Scores, estimate, of_items
from eval.report.tables import Table, number, row, signed
from studies.report.results import Results

_LOW = "low alignment"
_MEXA = next(measure for measure in MEASURES if measure.key == "mexa")
_REGRESSION = (
    "chosen by the baseline's alignment of Tatoeba's sentences: on Tatoeba a baseline that was unlucky there gains by"
    " being measured again"
)
Part = tuple[str, str, Sequence[str]]  # (name, metric, languages)


def adversarial_table(results: Results) -> Table:
    """Primary targets: each variant against its baseline, on the hard part and on the rest."""
    columns = ("target", "pairs", "baseline", "variant", "difference", "rest: baseline", "variant", "difference")
    header = row("variant", *columns, "languages")
    table = Table("Adversarial language pairs (our name), without English", header, style="long listed")
    for one in (compared for compared in results.compared if compared.primary):
        runs = one.runs
        codes = [code for code in one.found.languages if code != "en"]
        outcomes = outcomes_of(runs, one.target, codes)
        for hard, rest in _parts(one.target, runs, codes):
            cells = []
            for _, metric, some in (hard, rest):
                scores = of_items(outcomes, metric, some)
                assert scores is not None  # there is a comparison
                cells += _cells(scores)
            table.rows.append(row(one.b, one.target, hard[0], *cells, " ".join(hard[2])))
            if hard[0] == _LOW:
                table.note(_REGRESSION)
    return table


def _parts(target: str, runs: Sequence[Run], codes: Sequence[str]) -> list[tuple[Part, Part]]:
    records = [run.targets[target] for run in runs]
    metric = headline(records[0])
    found: list[tuple[Part, Part]] = []
    distances = {code: language(code).syntax for code in codes if not math.isnan(language(code).syntax)}
    for name, hardness in ((_LOW, _misalignment(runs[: len(runs) // 2])), ("distant", distances)):
        order = sorted((code for code in codes if code in hardness), key=lambda code: -hardness[code])
        if third := len(order) // 3:
            hard, rest = sorted(order[:third]), sorted(order[third:])
            found.append(((name, metric, hard), ("", metric, rest)))
    if codes and all("distractor_accuracy" in record["details"][code] for record in records for code in codes):
        found.append((("distractors", "distractor_accuracy", codes), ("", "other_accuracy", codes)))
    return found


def _misalignment(baseline: Sequence[Run]) -> dict[str, float]:
    each = [measured(run.alignment, _MEXA) for run in baseline if run.alignment is not None]
    means = pd.concat(each).groupby("language").mean().dropna() if each else {}
    return {str(code): -float(mean) for code, mean in means.items()}


def _cells(scores: Scores) -> list[str]:
    """Means of both over seeds, and their difference with its interval."""
    a, b = np.split(np.arange(len(scores.values)), 2)
    found = estimate(scores, list(a), list(b))
    said = f"{signed(found.difference)} {spoken(found.interval)}"
    return [number(float(scores.values[a].mean())), number(float(scores.values[b].mean())), said]
