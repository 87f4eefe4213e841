"""`python -m data_prep list`: every data set, for training and for evaluation, and whether it is there.

    python -m data_prep list [--data data] [--source DIR ...]

There: prepared in the data folder, downloaded (by its lock file), or lying in a folder given with --source. Nothing is
read but names, and nothing is fetched.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from data_prep.datasets.intermediate import INTERMEDIATE
from data_prep.datasets.revisions import REVISIONS
from data_prep.datasets.schema import Dataset, Published
from data_prep.datasets.targets import TARGETS
from data_prep.datasets.test_sets import TEST_SETS, HubTest, TestSet, names, shown
from data_prep.datasets.wikipedia import WIKIPEDIA
from data_prep.sources.download import FOLDER
from data_prep.sources.folders import Folder
from data_prep.sources.sources_lock import Lock

BY_NAME = {dataset.name: dataset for dataset in (*INTERMEDIATE, *TARGETS)}
HEADER = ("name", "kind", "languages", "rows", "licence", "from", "there")
# The names of the files of the targets whose readers are not driven by the table (`bitext.py`, `retrieval_sets.py`).
_MARKS = {
    "tatoeba": ("tatoeba.{iso3}-eng.{iso3}", "{code}-en.{code}"),
    "bucc": ("{code}-en.training.{code}", "{code}-en.test.{code}", "{code}-en.sample.{code}", "{code}-en.dev.{code}"),
    "lareqa": ("xquad-r/{code}.json",),
    "mewslix": ("candidate_set_entities.jsonl", "candidate_entities.jsonl.tar.gz"),
}


def tables(data: Path, folders: Sequence[Folder]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """(title, rows with the fields of `HEADER`) of training data and of test data."""
    lock = Lock(data)
    training = [_training(dataset, data, lock, folders) for dataset in BY_NAME.values()]
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
    if dataset.made_of is not None:
        source = f"train of {dataset.made_of[0]}, dev of {dataset.made_of[1]}"
    elif dataset.published:
        source = _servers(dataset.published)
    elif dataset.hub is not None:
        source = f"Hub: {dataset.hub.id}, {dataset.hub.config}{_pin(dataset.hub.id)}"
    else:
        source = f"your folder ({dataset.obtain})"
    return (
        dataset.name, dataset.kind, dataset.language, dataset.rows, dataset.licence, source,
        _there(dataset, data, lock, folders),
    )  # fmt: skip


def _there(dataset: Dataset, data: Path, lock: Lock, folders: Sequence[Folder]) -> str:
    if any((data / dataset.name).glob("*/manifest.json")):
        return "prepared"
    if dataset.published and all((data / FOLDER / file.path).is_file() for file in dataset.published):
        return "downloaded"
    if dataset.made_of is not None:
        parts = [_there(BY_NAME[name], data, lock, folders) for name in dataset.made_of]
        return parts[0] if "no" not in parts else "no"
    hub = dataset.hub
    if hub is not None:
        splits = lock.repository(hub.id).get("splits", {})
        if all(f"{hub.config}/{split}" in splits for split in hub.train + hub.dev):
            return "downloaded"
    for folder in folders:
        bases = (folder.path, folder.path / "hub")
        copies = [copy for base in bases if hub is not None and (copy := base / hub.id / hub.config).is_dir()]
        if copies:  # as `sources.locate`: a copy of the Hub that lacks a split is passed over with its whole folder
            if hub is not None and _splits(copies[0], hub.train + hub.dev):
                return f"in {folder.path.name}/"
            continue
        for upstream in dataset.upstream:
            if all(folder.matching(end, upstream.within) for end in upstream.train + upstream.dev):
                return f"in {folder.path.name}/"
        if dataset.name == "ccg" and folder.ccgbank():
            return f"in {folder.path.name}/"
    return "no"


def _splits(folder: Path, splits: Sequence[str]) -> bool:
    return all(any(folder.glob(f"{split}-[0-9]*.parquet")) for split in splits)


def _wikipedia(data: Path, lock: Lock, folders: Sequence[Folder]) -> tuple[str, ...]:
    first = WIKIPEDIA[0]
    assert first.hub is not None
    states = [_there(dataset, data, lock, folders) for dataset in WIKIPEDIA]
    source = f"Hub: {first.hub.id}, {first.hub.config.partition('.')[0]}.xx{_pin(first.hub.id)}"
    return (
        "wiki_xx", "mlm", _count(dataset.language for dataset in WIKIPEDIA), first.rows, first.licence, source,
        _of(sum(state != "no" for state in states), len(states)),
    )  # fmt: skip


def _test(testset: TestSet, lock: Lock, folders: Sequence[Folder]) -> tuple[str, ...]:
    if testset.published:
        source = _servers(testset.published)
    elif testset.hub_files is not None:
        source = f"Hub: {testset.hub_files[0]}{_pin(testset.hub_files[0])}"
    else:
        ids = dict.fromkeys(
            f"{s.id}, {shown(s.config)}{_pin(s.id)}" for s in testset.hub if s.codes or s is testset.hub[0]
        )
        source = f"Hub: {'; '.join(ids)}"
    found = _downloaded(testset, lock).union(*(_lying(testset, folder) for folder in folders))
    return (
        testset.name, testset.kind, _count(testset.languages), testset.rows, testset.licence, source,
        _of(len(found), len(testset.languages)),
    )  # fmt: skip


def _downloaded(testset: TestSet, lock: Lock) -> set[str]:
    """The languages of which any split was downloaded, by the lock file."""
    if testset.hub_files is not None:
        return set(testset.languages) if "files" in lock.repository(testset.hub_files[0]).get("splits", {}) else set()
    folder = lock.folder / FOLDER / testset.name
    found = _lying(testset, Folder.open(folder)) if folder.is_dir() else set()
    for source in testset.hub:
        splits = lock.repository(source.id).get("splits", {})
        found |= {
            code
            for code, config in _configs(testset, source)
            if any(f"{config}/{split}" in splits for split in testset.splits)
        }
    return found


def _lying(testset: TestSet, folder: Folder) -> set[str]:
    """The languages of which any split lies in a folder: where the Hub's layout is there, only what it has counts."""
    bases = (folder.path, folder.path / "hub")
    hub = {
        code
        for source in testset.hub
        for code, config in _configs(testset, source)
        if any((base / source.id / config).is_dir() for base in bases)
    }
    found = set(hub)
    for code in testset.languages:
        ends = [(mark.format(**names(code)), "") for mark in _MARKS.get(testset.name, ())]
        for layout in () if hub else testset.layouts:
            ends += [(layout.file.format(split=s, **names(code)), layout.within) for s in layout.splits.values()]
        if any(folder.matching(end, within) for end, within in ends):
            found.add(code)
    return found


def _configs(testset: TestSet, source: HubTest) -> list[tuple[str, str]]:
    """(language, configuration) of a repository."""
    codes = source.codes or testset.languages
    return [(code, source.config.format(**names(code))) for code in codes]


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
