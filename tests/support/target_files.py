"""Small files of test data in the layouts that the targets' readers know, and the reader as the tests call it."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from eval.read import read
from eval.rows import Loaded
from eval.suites import TARGETS
from tests.support.rows import hub_file, write


def load(target: str, codes: str, folder: Path) -> Loaded:
    """Test data of a target in some languages ("de en"; "": all that are there), as `--data folder` reads them."""
    return read(TARGETS[target], tuple(codes.split()), str(folder))


def copy(source: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(source, folder))


def laser(folder: Path, code: str, pairs: list[tuple[str, str]]) -> None:
    """LASER's Tatoeba files of one language (ISO 639-3) from (English, other) pairs."""
    for suffix, side in (("eng", 0), (code, 1)):
        write(folder / f"tatoeba.{code}-eng.{suffix}", "".join(f"{pair[side]}\n" for pair in pairs))


def write_parquet(folder: Path, split: str, columns: dict[str, list[Any]], labels: list[str] | None = None) -> None:
    """The one file of a split in the Hub's layout; `labels`: ClassLabel names of the column `label`."""
    write(hub_file(folder, split), pa.table(columns), {"label": labels} if labels else None)


def nli(labels: list[int]) -> dict[str, list[Any]]:
    """Columns of natural language inference with these labels."""
    numbers = range(len(labels))
    return {"premise": [f"p{i}" for i in numbers], "hypothesis": [f"h{i}" for i in numbers], "label": labels}


def squad(questions: dict[str, list[tuple[str, int]]], context: str, **paragraph: Any) -> dict[str, Any]:
    """SQuAD's JSON of one paragraph: (answer, start) by question id."""
    qas = [
        {"id": name, "question": "Who?", "answers": [{"text": text, "answer_start": start} for text, start in answers]}
        for name, answers in questions.items()
    ]
    return {"version": "1.1", "data": [{"paragraphs": [{"context": context, "qas": qas, **paragraph}]}]}
