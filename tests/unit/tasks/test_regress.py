"""Real-valued labels: what a user's own file may hold. As they are stored: tests/end_to_end/test_new_dataset.py."""

from pathlib import Path
from typing import Any

import pytest

import data_prep.__main__ as data_prep_program
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
