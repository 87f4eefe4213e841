"""bench.toyworld: mean and range over seeds, from the files of finished runs."""

import json
from pathlib import Path

from bench import toyworld


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _scores(value: float) -> str:
    target = {"languages": {"en": 99.0, "aa": value, "bb": value + 2}, "chance": 25.0, "scores": {"xx->en": value}}
    return json.dumps({"targets": dict.fromkeys(("toy_xnli", "toy_xquad", "toy_tatoeba"), target)})


def test_table(tmp_path: Path) -> None:
    runs = [tmp_path / f"demo_seed{seed}" for seed in (1, 2)]
    for seed, run in enumerate(runs):
        dev = {"kind": "dev", "task": "nli", "majority": 0.5, "score": 0.6 + 0.2 * seed}
        records = [{**dev, "step": 10, "score": 0.1}, {**dev, "step": 20}, {"kind": "train", "step": 30}]
        _write(run / "metrics.jsonl", "\n".join(json.dumps(record) for record in records))
        for suffix, value in (("", 40.0), ("_mlm", 30.0)):
            for folder in ("eval", "eval_targets"):
                _write(run.with_name(f"{run.name}{suffix}") / folder / "scores.json", _scores(value + 2 * seed))
    lines = toyworld.table(runs).splitlines()
    assert "| nli | 70.0 (60.0 to 80.0) | 50.0 (50.0 to 50.0) |" in lines  # of the last evaluation
    assert "| toy_xnli | 25.0 | 32.0 (31.0 to 33.0) | 42.0 (41.0 to 43.0) |" in lines  # without English
    assert "| aa | 31.0 (30.0 to 32.0) | 41.0 (40.0 to 42.0) |" in lines
