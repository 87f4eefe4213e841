"""`python -m data_prep list`: every data set, for training and for evaluation, and whether it is there.

    python -m data_prep list [--data data] [--source DIR ...]

There: prepared in the data folder, downloaded (by its lock file), or lying in a folder given with --source. Nothing is
read but names, and nothing is fetched.
"""

import contextlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from common.errors import InputError
from data_prep.datasets import DATASETS, REVISIONS, TEST_SETS
from data_prep.datasets.schema import Dataset, Published, names, shown
from data_prep.sources.download import FOLDER
from data_prep.sources.folders import Folder
from data_prep.sources.locate import locate, locate_training
from data_prep.sources.sources_lock import Lock

HEADER = ("name", "kind", "languages", "rows", "licence", "from", "there")


def tables(data: Path, folders: Sequence[Folder]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """(title, rows with the fields of `HEADER`) of training data and of test data."""
    lock = Lock(data)
    training = [_training(dataset, data, lock, folders) for dataset in DATASETS.values() if dataset.kind != "mlm"]
    training.append(_wikipedia(data, lock, folders))
    tests = [_test(testset, lock, folders) for testset in TEST_SETS.values()]
    return [
        ("Training data (rows: train / dev; XQuAD and MLQA train on squad_v1, XCOPA on siqa and copa)", training),
        ("Test data (rows: of one language)", tests),
    ]


def render(data: Path, folders: Sequence[Folder]) -> str:
    """Both tables as text."""
    parts = []
    for title, rows in tables(data, folders):
        lines = [HEADER, *rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
        parts.append(title)
        parts += [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        parts.append("")
    parts.append("@: pinned commit; the others are held to the commit of the first download (sources.lock.json)")
    parts.append("there: by the names of files; whether a copy of test data carries labels shows when it is read")
    return "\n".join(parts)


def _training(dataset: Dataset, data: Path, lock: Lock, folders: Sequence[Folder]) -> tuple[str, ...]:
    if dataset.published:
        source = _servers(dataset.published)
    elif dataset.hub:
        hub = dataset.hub[0]
        source = f"Hub: {hub.id}, {hub.config.format(**names(dataset.language))}{_pin(hub.id)}"
    else:
        source = f"your folder ({dataset.obtain})"
    if dataset.train_from:
        source = f"train of {dataset.train_from}, dev of {source}"
    return (
        dataset.name, dataset.kind, dataset.language, dataset.rows, dataset.licence, source,
        _there(dataset, data, lock, folders),
    )  # fmt: skip


def _there(dataset: Dataset, data: Path, lock: Lock, folders: Sequence[Folder]) -> str:
    if any((data / dataset.name).glob("*/manifest.json")):
        return "prepared"
    if _is_downloaded(dataset, lock):
        return "downloaded"
    for folder in folders:
        with contextlib.suppress(InputError):
            locate_training(dataset, [folder])
            return f"in {folder.path.name}/"
    return "no"


def _is_downloaded(dataset: Dataset, lock: Lock) -> bool:
    """Whether training data were downloaded, by the lock file."""
    if dataset.train_from and not _is_downloaded(DATASETS[dataset.train_from], lock):
        return False
    if dataset.published:
        return all((lock.folder / FOLDER / file.path).is_file() for file in dataset.published)
    locked = [_locked(dataset, split, dataset.language, lock) for split in dataset.splits]
    return all(locked)


def _locked(dataset: Dataset, split: str, language: str, lock: Lock) -> bool:
    """Whether the lock file has a split in a language of the repository that serves it."""
    for hub in dataset.hub:
        if not hub.languages or language in hub.languages:
            splits = lock.splits(hub.id)
            config = hub.config.format(**names(language))
            if all(f"{config}/{name}" in splits for name in hub.splits[split]):
                return True
    return False


def _wikipedia(data: Path, lock: Lock, folders: Sequence[Folder]) -> tuple[str, ...]:
    languages = [dataset for dataset in DATASETS.values() if dataset.kind == "mlm"]
    first, hub = languages[0], languages[0].hub[0]
    states = [_there(dataset, data, lock, folders) for dataset in languages]
    return (
        "wiki_xx", "mlm", _count(dataset.language for dataset in languages), first.rows, first.licence,
        f"Hub: {hub.id}, {shown(hub.config)}{_pin(hub.id)}", _of(sum(state != "no" for state in states), len(states)),
    )  # fmt: skip


def _test(testset: Dataset, lock: Lock, folders: Sequence[Folder]) -> tuple[str, ...]:
    if testset.published:
        source = _servers(testset.published)
    elif testset.hub_files is not None:
        source = f"Hub: {testset.hub_files[0]}{_pin(testset.hub_files[0])}"
    else:
        ids = [
            f"{hub.id}, {shown(hub.config)}{_pin(hub.id)}"
            for hub in testset.hub
            if hub.languages or hub is testset.hub[0]
        ]
        source = f"Hub: {'; '.join(ids)}"
    download = lock.folder / FOLDER / testset.name
    here = [*folders, *([Folder.open(download)] if download.is_dir() else [])]
    whole = testset.hub_files is not None and "files" in lock.splits(testset.hub_files[0])
    found = [
        code for code in testset.languages if whole or any(_has(testset, s, code, lock, here) for s in testset.splits)
    ]
    return (
        testset.name, testset.kind, _count(testset.languages), testset.rows, testset.licence, source,
        _of(len(found), len(testset.languages)),
    )  # fmt: skip


def _has(testset: Dataset, split: str, code: str, lock: Lock, folders: Sequence[Folder]) -> bool:
    if _locked(testset, split, code, lock):
        return True
    with contextlib.suppress(InputError):  # a copy that is incomplete or ambiguous
        return any(next(locate(testset, split, code, folder), None) for folder in folders)
    return False


def _pin(name: str) -> str:
    revision = REVISIONS.get(name)
    return f" @{revision[:7]}" if revision else ""


def _servers(files: Sequence[Published]) -> str:
    hosts = dict.fromkeys(re.sub(r"^https?://([^/]+)/.*", r"\1", file.urls[0]) for file in files)
    return f"{len(files)} files of {', '.join(hosts)}"


def _count(codes: Iterable[str]) -> str:
    found = list(codes)
    return f"{len(found)}: {' '.join(found)}" if len(found) <= 12 else str(len(found))


def _of(found: int, total: int) -> str:
    return "no" if not found else "yes" if found == total else f"{found} of {total}"
