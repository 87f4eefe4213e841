"""Lengths of the rows of the nine tasks, measured on prepared data and stored for bench/workload/training.py.

    python -m bench.workload.row_lengths --data DIR [--max-length 512]     # DIR: prepared with XLM-R's tokenizer

row_lengths_256.json: prepared with `max_length` 256, as in configs/mtl_all.json; row_lengths_512.json: with the most
that XLM-R takes, which truncates next to nothing.

A row is a list of the lengths of its sequences (several for multiple choice), special tokens included, and for
token classification the number of words. Numbers only: no text and no token of the data.
"""

import argparse
import json
import random
from pathlib import Path

from data_prep.storage.store import Prepared

FILES = {length: Path(__file__).with_name(f"row_lengths_{length}.json") for length in (256, 512)}  # by max_length
KEPT = 400
# Training rows of the published datasets; a task of several (ANLI+) draws from them in these proportions.
DATASETS = {
    "mnli": 392_702, "snli": 549_367, "anli": 162_865, "qqp": 363_846, "squad_v1": 87_599, "squad_v2": 130_319,
    "hellaswag": 39_905, "ccg": 38_015, "cosmosqa": 25_262, "commonsenseqa": 9_741,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.workload.row_lengths", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of prepared data")
    parser.add_argument("--max-length", type=int, choices=tuple(FILES), default=256)
    options = parser.parse_args()
    lengths = {}
    for name in DATASETS:
        (folder,) = (options.data / name).glob("*-*")
        prepared = Prepared(folder)
        rows = prepared.train.take(range(prepared.train.rows))
        chosen = random.Random(name).sample(rows, min(KEPT, len(rows)))
        tags = prepared.manifest["kind"] == "tag"
        lengths[name] = [[*map(int, row["lengths"]), *([len(row["labels"])] if tags else [])] for row in chosen]
    lines = ",\n".join(
        f" {json.dumps(name)}: {json.dumps(rows, separators=(',', ':'))}" for name, rows in lengths.items()
    )
    FILES[options.max_length].write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
