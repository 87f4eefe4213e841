"""Copies of a Hub dataset as stock tools make them: `hf download`, git, a copied cache, `save_to_disk`."""

from pathlib import Path

import datasets
import pytest

from common.errors import InputError
from data_prep.datasets import DATASETS
from data_prep.sources.folders import Folder
from data_prep.sources.locate import locate_training

COMMIT = "0f1e2d3c4b5a69788796a5b4c3d2e1f001122334"
NAME = "tau/commonsense_qa"


@pytest.fixture(scope="module")
def splits() -> datasets.DatasetDict:
    def rows(n: int) -> datasets.Dataset:
        choices = {"label": list("ABCDE"), "text": ["box", "river", "sky", "road", "hat"]}
        row = {"question": "Where is it kept?", "choices": choices, "question_concept": "it"}
        return datasets.Dataset.from_list([{"id": f"q{i}", **row, "answerKey": "ABCDE"[i % 5]} for i in range(n)])

    return datasets.DatasetDict({"train": rows(7), "validation": rows(3)})


def put(splits: datasets.DatasetDict, folder: Path, name: str = "{split}-00000-of-00001.parquet") -> None:
    for split, data in splits.items():
        path = folder / name.format(split=split)
        path.parent.mkdir(parents=True, exist_ok=True)
        data.to_parquet(path)


def read(folder: Path) -> list[int]:
    located = locate_training(DATASETS["commonsenseqa"], [Folder.open(folder)])
    examples = [[part.convert(row, where, ()) for part in parts for where, row in part.rows()] for parts in
                (located.train, located.dev)]  # fmt: skip
    assert [example.label for example in examples[0]] == [0, 1, 2, 3, 4, 0, 1]
    return [len(some) for some in examples]


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (f"{NAME}/default", "{split}-00000-of-00001.parquet"),
        (f"hub/{NAME}/data", "{split}-00000-of-00001.parquet"),
        (f"{NAME}/data", "{split}-00000-of-00001.parquet"),  # hf download --local-dir
        ("commonsense_qa/data", "{split}-00000-of-00001.parquet"),  # git clone
        ("commonsense_qa", "{split}-00000-of-00001.parquet"),
        (f"datasets--tau--commonsense_qa/snapshots/{COMMIT}/data", "{split}-00000-of-00001.parquet"),  # HF_HOME
        (f"{NAME}/default", "{split}/0000.parquet"),  # refs/convert/parquet
    ],
)  # fmt: skip
def test_parquet(tmp_path: Path, splits: datasets.DatasetDict, where: str, name: str) -> None:
    put(splits, tmp_path / where, name)
    assert read(tmp_path) == [7, 3]


def test_save_to_disk(tmp_path: Path, splits: datasets.DatasetDict) -> None:
    splits.save_to_disk(str(tmp_path / "commonsense_qa"))
    assert read(tmp_path) == [7, 3]


def test_several_commits_in_a_cache_are_refused(tmp_path: Path, splits: datasets.DatasetDict) -> None:
    for commit in (COMMIT, COMMIT[::-1]):
        put(splits, tmp_path / "datasets--tau--commonsense_qa" / "snapshots" / commit / "data")
    with pytest.raises(InputError, match="keep the commit that is meant"):
        read(tmp_path)
