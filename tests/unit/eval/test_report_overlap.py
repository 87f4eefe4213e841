"""The report names training data that were not checked for a target's test rows, and rows that were left out."""

import json

from eval.__main__ import main
from tests.support.scores_files import scores, tables, write_run

LANGUAGES = {"xnli": ["de"], "xquad": ["de"], "mlqa": ["de"], "lareqa": ["de"], "tatoeba": ["de"]}


def test_unchecked_and_left_out_rows_are_noted(tmp_path, capsys):
    made = [scores(name, "xtreme-r", seed, LANGUAGES) for seed, name in enumerate(("base", "nine"))]
    runs = [write_run(tmp_path, one, seed) for seed, one in enumerate(made)]
    overlap = {
        "squad_v1": {"kind": "span", "against": ["mlqa"], "left_out": {"mlqa": 1275}},
        "squad_v2": {"kind": "span", "against": ["mlqa", "xquad"], "left_out": {}},
        "mnli": {"kind": "classify", "against": ["xnli"], "left_out": {}},
    }
    (runs[1] / "run.json").write_text(json.dumps({"overlap": overlap}))
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "out")]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "nine: trained" in line]
    unchecked = "nine: trained on squad_v1, not checked for rows of this test (data_prep --against)"
    left_out = "nine: trained without 1,275 rows of squad_v1 that this test has too"
    assert said == [f"xquad, lareqa: {unchecked}", f"mlqa: {left_out}"]
    (table,) = [
        table for caption, table in tables(tmp_path / "out" / "report.md").items() if "mean over lang" in caption
    ]
    notes = {head.split()[0]: table.noted(head) for head in table.rows[0][1:]}
    assert unchecked in notes["xquad"] and unchecked in notes["lareqa"] and left_out in notes["mlqa"]
    assert "trained" not in notes["xnli"] + notes["tatoeba"]
