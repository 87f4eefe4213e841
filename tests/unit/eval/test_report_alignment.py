"""Alignment scores in a report: tables and heat maps recomputed from align.json."""

import json
import random
import re
import statistics
import zlib
from pathlib import Path
from typing import Any

import pytest

from common.errors import InputError
from eval.report import alignment, inputs, sections
from tests.support import scores_files


def aligned(name: str, seed: int, languages: dict[str, int]) -> dict[str, Any]:
    """One encoder of align.json as `eval/alignment/run.py` writes it: 3 layers, pairs by language."""
    rng = random.Random(seed)
    kinds = (
        "top1_en->xx",
        "top1_xx->en",
        "centred_en->xx",
        "centred_xx->en",
        "margin",
        "cka",
        "anc",
        "mexa",
        "rank_distance",
    )
    layers = {
        code: {
            str(layer): {f"{kind}@{n}": {"score": rng.uniform(0, 90), "random": rng.uniform(0, 1)} for kind in kinds}
            for layer in (0, 1, 2)
        }
        for code, n in languages.items()
    }
    return {
        "encoder": f"runs/{name}/encoder", "name": name, "fingerprint": f"{zlib.crc32(name.encode()):064x}", "depth": 2,
        "layers": [0, 1, 2], "truncated": {}, "means": {},
        "languages": {code: {"n": languages[code], "layers": layers[code]} for code in languages},
    }  # fmt: skip


def test_alignment(tmp_path: Path) -> None:
    places = [
        scores_files.write_run(tmp_path, scores_files.scores(n, "xnli", 1, {"xnli": ("en",)}), None) for n in "abc"
    ]
    a, b = aligned("a", 1, {"de": 1000, "kk": 575}), aligned("b", 2, {"de": 1000, "kk": 575, "sw": 390})
    b["languages"]["kk"]["layers"]["0"]["cka@575"]["score"] = None
    # Both in the file of the second run, as one call leaves them.
    (places[1] / "eval" / "align.json").write_text(json.dumps({"protocol": {}, "encoders": [a, b]}), encoding="utf-8")
    entries = inputs.group(inputs.read([str(place) for place in places]))
    assert [alignment.aligned(one) for one in entries] == [True, True, False]
    both = entries[:2]

    def at(encoder: dict[str, Any], layer: int, code: str, *kinds: str) -> float:
        one = encoder["languages"][code]
        return statistics.fmean(one["layers"][str(layer)][f"{kind}@{one['n']}"]["score"] for kind in kinds)

    (top1,) = (measure for measure in alignment.MEASURES if measure.key == "top1")
    table = alignment.table(both, top1)
    for layer in (0, 1, 2):
        # Over the languages that both have.
        means = [statistics.fmean(at(e, layer, c, "top1_en->xx", "top1_xx->en") for c in ("de", "kk")) for e in (a, b)]
        assert [cell.text() for cell in table.rows[layer][:3]] == [
            str(layer), f"{means[0]:.1f}", f"{means[1]:.1f} ({means[1] - means[0]:+.1f})",
        ]  # fmt: skip
    (cka,) = (measure for measure in alignment.MEASURES if measure.key == "cka")
    table = alignment.table(both, cka)
    assert table.rows[0][2].values == ("not defined",) and table.notes == ["not defined: no score at layer 0 for kk"]
    assert table.rows[1][1].text() == f"{statistics.fmean(at(a, 1, c, 'cka') for c in ('de', 'kk')):.3f}"
    maps = alignment.heat_maps(both, cka)
    assert [plot.name for plot in maps] == ["align_cka_1", "align_cka_2"] and "(n = 390 to 1000)" in maps[0].caption
    written = re.findall(r">(-?[\d.]+|×)</text>", maps[0].svg)
    assert f"{at(a, 2, 'de', 'cka'):.3f}" in written and written.count("×") == 3  # Swahili, which it lacks
    (section,) = sections._alignment(entries)
    assert "Not there for c" in str(section.blocks[0]) and len(section.plots()) == 2 * len(alignment.MEASURES)
    (section,) = sections._alignment(entries[2:])
    assert str(section.blocks[0]).startswith("No run has alignment scores.") and not section.plots()


def test_no_language_in_common(tmp_path: Path) -> None:
    made = [aligned(name, 1, {code: 10}) for name, code in (("a", "de"), ("b", "kk"))]
    places = []
    for one in made:
        scores = scores_files.scores(one["name"], "xnli", 1, {"xnli": ("en",)})
        places.append(scores_files.write_run(tmp_path, scores, None))
        text = json.dumps({"encoders": [one]})
        (places[-1] / "eval" / "align.json").write_text(text, encoding="utf-8")
    entries = inputs.group(inputs.read([str(place) for place in places]))
    for measure in alignment.MEASURES:
        table = alignment.table(entries, measure)
        assert table.notes == ["no language that all runs have"]
        assert {cell.values for row in table.rows for cell in row[1:]} == {("no language that all runs have",)}


def test_alignment_that_is_none(tmp_path: Path) -> None:
    run = scores_files.write_run(tmp_path, scores_files.scores("a", "xnli", 1, {"xnli": ("en",)}), None)
    path = run / "eval" / "align.json"
    for text, said in (
        ("{}", "encoders: "),
        ('{"encoders": [{"fingerprint": 3}]}', "encoders.0.fingerprint: "),
        ("[", "not JSON"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=f"align.json.*{said}"):
            inputs.read([str(run)])
