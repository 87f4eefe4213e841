"""What the best export of a run by target-language dev would have scored: the oracle, which no user can follow.

Selection is by English dev, which often says little of a target language (Keung et al. 2020, arXiv 2004.15001). The
oracle shows how much is lost by that; it chooses for every language, and enters no comparison.
"""

import statistics
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

from common.run_config import read_json
from eval.report.load import FILE
from studies.runs import ORACLE, Run

Languages = dict[str, float]


def oracle(runs: Sequence[Run], target: str) -> Languages | None:
    """The oracle's test score by language, mean over the runs (seeds); None if one of them lacks it.

    A language without dev data has the score of the export that is evaluated.
    """
    if not all(ORACLE in run.finished for run in runs):
        return None
    each = [_of_run(run, target) for run in runs]
    codes = [code for code in (each or [{}])[0] if all(code in one for one in each)]
    return {code: statistics.fmean(one[code] for one in each) for code in codes} or None


def _of_run(run: Run, target: str) -> Languages:
    exports = [
        (_scores(export.evaluation / "dev", target), _scores(export.evaluation, target)) for export in run.exports
    ]
    scored_on_dev = set(read_json(run.evaluation / FILE)["targets"].get(target, {}).get("dev", ()))
    best = {}
    for code, own in exports[0][1].items():  # of the export that is evaluated; it is the first, and wins where equal
        known = [(dev[code], test[code]) for dev, test in exports if code in dev and code in test]
        known = [] if code in scored_on_dev else known  # the test score would be the dev score that selects
        best[code] = max(known, key=itemgetter(0))[1] if known else own
    return best if any(dev for dev, _ in exports) else {}


def _scores(folder: Path, target: str) -> Languages:
    return dict(read_json(folder / FILE)["targets"].get(target, {}).get("languages", {}))
