"""Alignment scores in a report: tables by layer recomputed from align.json, heat maps, and who has none."""

import json
import statistics
from pathlib import Path
from typing import Any

from eval.__main__ import main
from tests.support.scores_files import aligned, scores, tables, write_run


def test_alignment_by_layer(tmp_path: Path) -> None:
    results = [scores(name, "xnli", 1, {"xnli": ("en",)}) for name in "abc"]
    places = [write_run(tmp_path, result, None) for result in results]
    a = aligned(results[0], 1, {"de": 1000, "kk": 575})
    b = aligned(results[1], 2, {"de": 1000, "kk": 575, "sw": 390})
    b["languages"]["kk"]["layers"]["0"]["cka@575"]["score"] = None
    # Both in the file of the second run, as one call leaves them.
    (places[1] / "eval" / "align.json").write_text(json.dumps({"protocol": {}, "encoders": [a, b]}), encoding="utf-8")
    assert main(["report", *map(str, places), "--out", str(tmp_path / "out")]) == 0
    found = tables(tmp_path / "out/report.md")

    def mean(encoder: dict[str, Any], layer: int, *names: str, which: str = "score") -> float:
        """Over the languages that both have."""
        each = [encoder["languages"][code] for code in ("de", "kk")]
        return statistics.fmean(
            one["layers"][str(layer)][f"{name}@{one['n']}"][which] for one in each for name in names
        )

    (top1,) = (table for caption, table in found.items() if caption.startswith("top-1, mean of both directions"))
    for layer in (0, 1, 2):
        means = [mean(encoder, layer, "top1_en->xx", "top1_xx->en") for encoder in (a, b)]
        control = mean(a, layer, "top1_en->xx", "top1_xx->en", which="random")
        row = [str(layer), f"{means[0]:.1f}", f"{means[1]:.1f} ({means[1] - means[0]:+.1f})", f"{control:.1f}"]
        assert top1.rows[layer + 1] == row
    (cka,) = (table for caption, table in found.items() if caption.startswith("linear CKA"))
    assert cka.cell("0", "b") == "not defined [1]" and cka.notes["[1]"].startswith("not defined: no score")
    assert cka.cell("1", "a") == f"{mean(a, 1, 'cka'):.3f}"
    text = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "(n = 390 to 1000)" in text and "Not there for c" in text
    assert len(list((tmp_path / "out/plots").glob("align_*_[12].png"))) == 2 * 7  # seven scores, two encoders
