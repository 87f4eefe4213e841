"""`python -m eval`: a test is preferred to dev wherever it lies; dev enters no submission and no average."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eval.__main__ import main
from eval.suites import LANGUAGES
from tests.support.eval_run import make_run


def test_dev_is_a_last_resort(tmp_path: Path, tiny_tokenizer_dir: Path, capsys) -> None:
    run = make_run(tmp_path / "run", tiny_tokenizer_dir)
    for code in LANGUAGES["xtreme"]["xnli"]:
        for split in ("validation", "test"):
            path = tmp_path / split / "facebook/xnli" / code / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True)
            rows = [{"premise": f"a {split}", "hypothesis": "b", "label": label} for label in (0, 1, 2, 0)]
            pq.write_table(pa.Table.from_pylist(rows), path)

    def evaluate(*places: str) -> tuple[dict, str]:
        data = [word for place in places for word in ("--data", str(tmp_path / place))]
        out = tmp_path / "-".join(places)
        assert main(["--encoder", str(run), "--suite", "xtreme", "--direct", "--out", str(out), *data]) == 0
        return json.loads((out / "scores.json").read_text(encoding="utf-8")), capsys.readouterr().out

    dev, said = evaluate("validation")
    assert dev["targets"]["xnli"]["protocol"]["split"] == "validation"
    assert dev["average"]["missing"]["xnli"] == "scored on dev" and "xnli" not in dev["average"]["targets"]
    assert not list(tmp_path.glob("validation/submission/*/*"))
    assert f"dev, not test, in 15 languages, as {tmp_path / 'validation'} has no labelled tests" in said

    test, said = evaluate("validation", "test")
    assert test["targets"]["xnli"]["protocol"]["split"] == "test" and "xnli" in test["average"]["targets"]
    assert len(list(tmp_path.glob("validation-test/submission/xtreme/xnli/*"))) == 15
    assert "dev, not test" not in said and f"test data of {tmp_path / 'test'}, as" in said
