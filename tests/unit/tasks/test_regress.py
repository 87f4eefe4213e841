"""Real-valued labels: what a user's own file may hold, and that float32 labels are those of the file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import data_prep.__main__ as data_prep_program
from mtl.run import setup
from tests.support.launch import the_error
from tests.support.rows import run_config, write

A, B = "the small dog", "runs to the old house"


def prepare(folder: Path, tokenizer: Path, *labels: Any) -> tuple[str, int]:
    """A run config over one task whose rows have these labels, and the exit code of preparing it."""
    rows = [{"text_a": A, "text_b": B, "label": label} for label in labels]
    files = {split: str(write(folder / f"{split}.jsonl", rows)) for split in ("train", "dev")}
    task = {"name": "sts", "kind": "regress", **files}
    config = run_config(folder, tokenizer, [task])
    return config, data_prep_program.main(["--config", config, "--jobs", "1"])


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("high", "expected a number, found 'high'"),
        (True, "expected a number, found True"),
        (None, "expected a number, found None"),
        ([1], "expected a number, found [1]"),
        (float("nan"), "expected a finite number (float32), found nan"),
        (float("-inf"), "expected a finite number (float32), found -inf"),
        (1e39, "expected a finite number (float32), found 1e+39"),
        (-(10**400), "expected a finite number (float32), found -1000"),
    ],
)
def test_labels_that_are_no_numbers(
    label: Any, said: str, tmp_path: Path, tiny_tokenizer_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, code = prepare(tmp_path, tiny_tokenizer_dir, 1.5, label)
    assert code == 2
    the_error(capsys.readouterr().err, f"{tmp_path / 'train.jsonl'}: line 2: field `label`: {said}")


def test_prepared_labels_and_texts(tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    labels = [0, 4.25, -3.1, 5, 1e-30, 3e38]
    config, code = prepare(tmp_path, tiny_tokenizer_dir, *labels)
    assert code == 0
    made = setup.read(config, [])
    (task,) = made.tasks
    rows = task.train.take(np.arange(len(labels)))
    assert [row["label"] for row in rows] == np.float32(labels).tolist()
    assert rows[0]["input_ids"].tolist() == made.tokenizer(A, B)["input_ids"]
    gathered = task.train.gather(np.array([3, 1]), ["label"])["label"]
    assert isinstance(gathered, np.ndarray) and gathered.dtype == np.float32 and gathered.tolist() == [5, 4.25]
    assert json.loads((task.prepared[0].path / "manifest.json").read_text())["labels"] is None
