"""The page of a study: report.html, report.md and study.json, from what its runs have scored.

    write(study, runs, Path("runs/studies/mlm_beside"))

One way through: `results` (scores, comparisons) -> `tables`, eval/report's tables and plots -> `page`.
"""

from studies.report.page import write

__all__ = ["write"]
