"""scores.json as a suite writes it, made of drawn numbers, and the tables of a report's Markdown."""

import json
import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eval.alignment.measures import SCORES
from eval.metrics import aggregate
from eval.metrics.items import Outcomes, means
from eval.suites import TARGETS, resolve_suite


def headline(target: str) -> list[str]:
    """The metrics that enter averages: F1 and EM of question answering, one of the others."""
    return ["f1", "em"] if TARGETS[target].kind == "span" else [*aggregate.metric_names(TARGETS[target])[:1]]


def record(target: str, codes: Sequence[str], seed: int, layer: int = 14) -> dict[str, Any]:
    """What a report reads of one target over `codes`, with numbers that follow from (target, language, seed)."""
    about = TARGETS[target]
    details: dict[str, dict[str, float]] = {}
    for code in codes:
        rng = random.Random(zlib.crc32(f"{target} {code} {seed}".encode()))
        details[code] = {n: rng.uniform(5, 95) for n in aggregate.metric_names(about)} | {"n": rng.randrange(100, 9000)}
        if about.kind in ("translation", "classify", "choice"):
            details[code]["chance"] = rng.uniform(1, 4)
    languages = {code: one[headline(target)[0]] for code, one in details.items()}
    protocol: dict[str, Any] = {"split": "test", "precision": "float32", "n": "all"}
    if about.training:
        stages = [_stage(name, seed) for name in about.training]
        protocol |= {"head": target, "training_on_target": "English", "max_length": 128, "training": stages}
    else:
        protocol |= {"layer": layer, "depth": 24, "pooling": "mean", "similarity": "cosine", "head": None}
    extra: dict[str, Any] = {"commit": "def"}
    if about.kind == "mining":
        extra = {name: dict.fromkeys(codes, said) for name, said in
                 (("threshold", 1.0625), ("threshold_from", "validation"), ("scored_on", "test"))}  # fmt: skip
    if about.kind == "answers":
        extra = {"pool": 1234, "rank_distance": 100.0 + seed}
    same = {"truncated": {"too long": 3}, "notes": ["2 rows without gold"], "supplied": [], "seconds": 1.5}
    scored = {"metric": about.metric, "languages": languages, "details": details, "fingerprint": "f" * 64}
    return {**scored, **aggregate.means(details, languages), **extra, "protocol": protocol, **same}


def _stage(name: str, seed: int) -> dict[str, Any]:
    return {
        "config": f"configs/targets/{name}.json", "notes": ["Hu et al. 2020"], "batch": {"examples": 32}, "epochs": 2,
        "steps": 100, "optimizer": {"lr": 1e-5}, "max_length": 128, "seed": seed, "overrides": [f"seed={seed}"],
        "data": {name: "0123"}, "selected_at_step": 10 * seed, "dev": 50.0 + seed,
    }  # fmt: skip


def set_outcomes(result: dict[str, Any], y: np.ndarray) -> dict[str, Outcomes]:
    """Makes Tatoeba's scores those of the outcomes [languages, items], in [0, 1]; returns what `items.write` takes."""
    about, found = result["targets"]["tatoeba"], {}
    for code, row in zip(about["languages"], y, strict=True):
        found[code] = means({"en->xx": row, "xx->en": row / 2}).named([f"{code} {i}" for i in range(len(row))])
        about["details"][code] |= found[code].scores()
        about["languages"][code] = about["details"][code]["en->xx"]
    return found


def scores(
    name: str, suite: str, seed: int, languages: dict[str, Sequence[str]] | None = None,
    not_run: dict[str, str] | None = None, layer: int = 14,
) -> dict[str, Any]:  # fmt: skip
    """A scores.json; `languages`: of each target that was run (default: all of the suite with all of theirs)."""
    _, targets = resolve_suite(suite)
    if languages is None:
        languages = {t.name: t.of_suite(suite) for t in targets if t.name not in (not_run or {})}
    about = {"encoder": f"runs/{name}/encoder", "name": name, "fingerprint": f"{zlib.crc32(name.encode()):064x}"}
    found = {target: record(target, codes, seed, layer) for target, codes in languages.items()}
    result = {**about, "suite": suite, "targets": found, "not_run": not_run or {}}
    return {**result, "average": aggregate.average(result, suite, targets)}


def aligned(result: dict[str, Any], seed: int, languages: dict[str, int]) -> dict[str, Any]:
    """One encoder of align.json as `python -m eval align` writes it: 3 layers, pairs by language."""
    rng = random.Random(seed)
    layers = {
        code: {
            str(layer): {f"{name}@{n}": {"score": rng.uniform(0, 90), "random": rng.uniform(0, 1)} for name in SCORES}
            for layer in (0, 1, 2)
        }
        for code, n in languages.items()
    }
    return {
        "encoder": result["encoder"], "name": result["name"], "fingerprint": result["fingerprint"], "depth": 2,
        "layers": [0, 1, 2], "truncated": {},
        "languages": {code: {"n": languages[code], "layers": layers[code]} for code in languages},
    }  # fmt: skip


def write_run(folder: Path, result: dict[str, Any], seed: int | None, **config: Any) -> Path:
    """runs/NAME with eval/scores.json and, with a seed, config.json; returns the run folder."""
    place = folder / str(result["name"])
    (place / "eval").mkdir(parents=True)
    (place / "eval" / "scores.json").write_text(json.dumps(result), encoding="utf-8")
    if seed is not None:
        about = {"name": result["name"], "output": str(folder), "seed": seed, "encoder": "some/encoder", **config}
        (place / "config.json").write_text(json.dumps(about), encoding="utf-8")
    return place


@dataclass
class Table:
    """A table of report.md: rows of cells, the header first; notes by their marks ("[1]")."""

    rows: list[list[str]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    def cell(self, row: str, column: str) -> str:
        """The text in the row of this head, in the column whose head begins like this."""
        (place,) = [i for i, head in enumerate(self.rows[0]) if head.startswith(column)]
        (found,) = [cells for cells in self.rows if cells[0] == row]
        return found[place]

    def noted(self, text: str) -> str:
        """What the notes say whose marks stand in a text."""
        return " ".join(self.notes[mark] for mark in re.findall(r"\[\d+\]", text))


def tables(report: Path) -> dict[str, Table]:
    """The tables of report.md by their captions."""
    found: dict[str, Table] = {}
    for line in report.read_text(encoding="utf-8").splitlines():
        if caption := re.fullmatch(r"\*\*(.+)\*\*", line):
            found[caption[1]] = table = Table()
        elif line.startswith("| "):
            table.rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif note := re.fullmatch(r"- (\[\d+\]) (.+)", line):
            table.notes[note[1]] = note[2]
    return found
