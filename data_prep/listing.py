"""`python -m data_prep list`: every data set, for training and for evaluation, and whether it is there.

    python -m data_prep list [--data data] [--source DIR ...]

There: prepared in the data folder, downloaded (by its lock file), or lying in a folder given with --source. Nothing is
read but names, and nothing is fetched.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from common.errors import InputError
from common.table import table
from data_prep.datasets import DATASETS, REVISIONS, TEST_SETS
from data_prep.datasets.schema import Dataset, names, shown
from data_prep.sources.download import FOLDER
from data_prep.sources.folders import Folder
from data_prep.sources.locate import locate
from data_prep.sources.sources_lock import SourcesLock

HEADER = ("name", "kind", "languages", "rows", "licence", "from", "there")


def render(data: Path, folders: Sequence[Folder]) -> str:
    """The tables of training data and of test data as text."""
    lock = SourcesLock(data)
    groups: dict[str, list[Dataset]] = {}
    for dataset in DATASETS.values():
        name = "wiki_xx" if dataset.kind == "mlm" else dataset.name.partition(".")[0]
        groups.setdefault(name, []).append(dataset)
    training = []
    for name, group in groups.items():
        states = {dataset.name: _state(dataset, data, lock, folders) for dataset in group}
        english = states.pop(name, "")
        count = sum(state != "no" for state in states.values())
        there = _of(count, len(states))
        if english:
            there = english + (f", {count} of {len(states)} other languages" if count else "")
        languages = group[0].language if len(group) == 1 else str(len(group))
        training.append(_row(replace(DATASETS.get(name, group[0]), name=name), languages, there))
    tests = []
    for testset in TEST_SETS.values():
        total = len(testset.languages)
        languages = f"{total}: {' '.join(testset.languages)}" if total <= 12 else str(total)
        found = sum(
            any(_place(testset, split, code, lock, folders) for split in testset.splits) for code in testset.languages
        )
        tests.append(_row(testset, languages, _of(found, total)))
    return "\n".join([
        "Training data (rows: train / dev; XQuAD and MLQA train on squad_v1, XCOPA on siqa and copa)",
        table([HEADER, *training]),
        "",
        "Test data (rows: of one language)",
        table([HEADER, *tests]),
        "",
        "@: pinned commit; the others are held to the commit of the first download (sources.lock.json)",
        "there: by the names of files; whether a copy of test data carries labels shows when it is read",
    ])  # fmt: skip


def _row(dataset: Dataset, languages: str, there: str) -> tuple[str, ...]:
    """The fields of `HEADER`."""
    source = _source(dataset)
    if dataset.train_from:
        source = f"train of {dataset.train_from}, dev of {source}"
    return dataset.name, dataset.kind, languages, dataset.rows, dataset.licence, source, there


def _source(dataset: Dataset) -> str:
    """Where it is downloaded from."""
    if dataset.published:
        hosts = dict.fromkeys(urlsplit(file.urls[0]).netloc for file in dataset.published)
        return f"{len(dataset.published)} files of {', '.join(hosts)}"
    if dataset.hub_files is not None:
        return f"Hub: {dataset.hub_files[0]}{_pin(dataset.hub_files[0])}"
    # Of copies with the same languages the first is downloaded.
    hubs = [hub for hub in dataset.hub if hub is dataset.hub[0] or (hub.languages and not dataset.training)]
    ids = [f"{hub.id}, {shown(hub.config)}{_pin(hub.id)}" for hub in hubs]
    return f"Hub: {'; '.join(ids)}" if ids else f"your folder ({dataset.obtain})"


def _pin(name: str) -> str:
    revision = REVISIONS.get(name)
    return f" @{revision[:7]}" if revision else ""


def _state(dataset: Dataset, data: Path, lock: SourcesLock, folders: Sequence[Folder]) -> str:
    """Whether training data are there, and where."""
    if any((data / dataset.name).glob("*/manifest.json")):
        return "prepared"
    of_other = dataset.train_from or dataset.dev_from
    parts = [dataset, *([DATASETS[of_other]] if of_other else [])]
    places = {_place(part, split, part.language, lock, folders) for part in parts for split in part.splits}
    return "no" if "" in places else ", ".join(sorted(places))


def _place(dataset: Dataset, split: str, code: str, lock: SourcesLock, folders: Sequence[Folder]) -> str:
    """Where a split in a language is; "" if nowhere."""
    if _locked(dataset, split, code, lock):
        return "downloaded"
    download = lock.folder / FOLDER / dataset.downloads
    for folder in (*folders, *([Folder.open(download)] if download.is_dir() else [])):
        with contextlib.suppress(InputError):  # a copy that is incomplete or ambiguous
            if next(locate(dataset, split, code, folder), None):
                return "downloaded" if folder.path == download.absolute() else f"in {folder.path.name}/"
    return ""


def _locked(dataset: Dataset, split: str, code: str, lock: SourcesLock) -> bool:
    """Whether the lock file has a split in a language of the repository that serves it."""
    if dataset.hub_files is not None:
        return "files" in lock.splits(dataset.hub_files[0])
    for hub in dataset.hub:
        if not hub.languages or code in hub.languages:
            config = hub.config.format(**names(code))
            return all(f"{config}/{name}" in lock.splits(hub.id) for name in hub.splits[split])
    return False


def _of(found: int, total: int) -> str:
    return "no" if not found else "yes" if found == total else f"{found} of {total}"
