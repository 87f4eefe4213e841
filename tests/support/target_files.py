"""Small files of test data in the layouts that the targets' readers know, and the reader as the tests call it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eval.read import read
from eval.rows import Loaded
from eval.suites import TARGETS


def load(target: str, codes: str, folder: Path) -> Loaded:
    """Test data of a target in some languages ("de en"; "": all that are there), as `--data folder` reads them."""
    return read(TARGETS[target], tuple(codes.split()), str(folder))


def copy(source: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(source, folder))


def write(path: Path, text: str) -> Path:
    """Writes `text` with its own line ends, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def laser(folder: Path, code: str, pairs: list[tuple[str, str]], end: str = "\n") -> None:
    """LASER's Tatoeba files of one language (ISO 639-3) from (English, other) pairs."""
    for suffix, side in (("eng", 0), (code, 1)):
        write(folder / f"tatoeba.{code}-eng.{suffix}", "".join(pair[side] + end for pair in pairs))


def parquet(path: Path, columns: dict[str, list[Any]], names: list[str] | None = None) -> None:
    """A Parquet file; `names`: ClassLabel names of the column `label`, recorded as `datasets` records them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if names:
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, path)


def write_parquet(folder: Path, split: str, columns: dict[str, list[Any]]) -> None:
    """The one file of a split in the Hub's layout."""
    parquet(folder / f"{split}-00000-of-00001.parquet", columns)


def nli(labels: list[int]) -> dict[str, list[Any]]:
    """Columns of natural language inference with these labels."""
    numbers = range(len(labels))
    return {"premise": [f"p{i}" for i in numbers], "hypothesis": [f"h{i}" for i in numbers], "label": labels}


def squad(questions: dict[str, list[tuple[str, int]]], context: str) -> str:
    """SQuAD's JSON of one paragraph: (answer, start) by question id."""
    qas = [
        {"id": name, "question": "Who?", "answers": [{"text": text, "answer_start": start} for text, start in answers]}
        for name, answers in questions.items()
    ]
    return json.dumps({"version": "1.1", "data": [{"paragraphs": [{"context": context, "qas": qas}]}]})
