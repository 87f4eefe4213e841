"""Splits of the Hugging Face Hub, through `datasets.load_dataset`.

Downloads are cached by `datasets` (HF_HOME); rows come in Arrow batches, so memory stays flat. Since datasets 4 a
repository that still holds a loading script cannot be loaded from its main branch; the Hub's own conversion,
revision refs/convert/parquet, has the same rows and columns and is used then.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.errors import InputError
from data_prep.readers import BATCH, Rows, batch_rows

CONVERTED = "refs/convert/parquet"


def load_split(name: str, config: str, split: str, revision: str | None) -> tuple[Any, str | None]:
    """The split as a `datasets.Dataset`, and the revision it came from (None: main). `InputError` in one line."""
    import datasets  # seconds to import, and needed for the Hub only

    try:
        # From the disk, because the cached files are what the inputs' sha256 is taken of.
        return datasets.load_dataset(name, config, split=split, revision=revision, keep_in_memory=False), revision
    except Exception as error:  # the client raises a dozen unrelated classes when the Hub cannot be reached
        if revision is None and isinstance(error, RuntimeError) and "script" in str(error):
            return load_split(name, config, split, CONVERTED)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise InputError(
            f"Hub: {name}, {config}, {split}: cannot be loaded ({reason}); check the connection,"
            " or give --source DIR with the Hub's Parquet files or the upstream files (see data_prep/sources.py)"
        ) from None


def shards(folder: Path, split: str, dataset: str) -> list[Path]:
    """The Parquet files of a split in a folder of the Hub's layout, in order; [] if there are none.

    Raises `InputError` if one of them is missing, or is not a file.
    """
    # "train-*" alone would also take a split called train-extra; shards are numbered -00000-of-00001.
    found = sorted(folder.glob(f"{split}-[0-9]*.parquet"))
    for shard in found:
        if not shard.is_file():
            raise InputError(f"dataset {dataset}: {shard}: not a file; copy or download it again")
        total = shard.stem.rpartition("-of-")[2]
        if total.isdigit() and int(total) != len(found):
            raise InputError(f"dataset {dataset}: {folder}: expected {int(total)} files {split}-*, found {len(found)}")
    return found


def split_rows(data: Any, place: str, columns: Sequence[str]) -> Rows:
    """The named columns of a `datasets.Dataset`; ClassLabel numbers become their names."""
    names = {}
    for name, feature in data.features.items():
        inner = getattr(feature, "feature", feature)  # a list of labels (POS, NER)
        if type(inner).__name__ == "ClassLabel":
            names[name] = inner.names
    first = 0
    for table in data.select_columns(list(columns)).with_format("arrow").iter(BATCH):
        yield from batch_rows(place, table, names, first)
        first += table.num_rows
