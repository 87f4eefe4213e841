"""The scores of one or more encoders side by side: report.html, report.md, plots, TensorBoard, a table in the terminal.

    write(scores, Path("runs/demo/eval"))                      # at the end of a suite
    python -m eval report RUN [RUN ...]                        # eval/report/program.py

`scores` are objects of scores.json; the first one is the baseline that differences are taken from. One way through:
`load` (files, seeds) -> `compare` (results) -> `tables`, `plots`, `alignment` -> `sections` -> `render`, `board`.
"""

from eval.report.program import terminal_table, write

__all__ = ["terminal_table", "write"]
