"""Finding the training data: on the Hub, in a folder in the Hub's layout, or as the files that their makers publish.

A *task* (`named_tasks.py`) names one or more datasets; what they are and where they come from stands in `catalogue/`.
`locate` finds the files of one of them: on the Hub, in a local folder in the Hub's layout
(`DIR/<namespace>/<name>/<config>/<split>-*.parquet`, also below `DIR/hub`), or as published, anywhere below `DIR`. Test
splits are never read: their labels are withheld or would be spoilt by training on them.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import InputError
from data_prep import convert
from data_prep.convert import Convert
from data_prep.datasets.intermediate import INTERMEDIATE
from data_prep.datasets.schema import Dataset, Hub, Select, Upstream
from data_prep.datasets.targets import TARGETS
from data_prep.datasets.wikipedia import WIKIPEDIA
from data_prep.formats import readers
from data_prep.formats.readers import Reader, Rows
from data_prep.sources.download import fetch_published
from data_prep.sources.folders import Folder
from data_prep.sources.hub import fetch_split, shards
from data_prep.sources.sources_lock import Lock
from tasks.registry import TASK_TYPES

OPEN_CONFIG = "configs/mtl_open.json"


@dataclass(frozen=True, slots=True)
class Part:
    """Something to read: a file, or rows of several. `files` are what its sha256 is taken of.

    `total` is the number of rows, where it is cheap to know.
    """

    name: str
    rows: Callable[[], Rows]
    convert: Convert
    files: tuple[Path, ...]
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """The parts of the two splits, in reading order, and in words where they come from."""

    train: list[Part]
    dev: list[Part]
    origin: str
    licence: str
    known: bool  # a public dataset: empty texts are dropped and counted; in a user's own file they are errors
    remark: str = ""  # what the user should know about this copy


DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (*INTERMEDIATE, *TARGETS, *WIKIPEDIA)}

# CCGbank's split (Hockenmaier and Steedman 2007): sections 02-21 to train, 00 to develop, 23 to test.
CCGBANK_TRAIN = tuple(f"{section:02d}" for section in range(2, 22))
CCGBANK_DEV = ("00",)


class _Partial(InputError):
    """A copy that lacks a split."""


def locate(dataset: Dataset, sources: Sequence[Folder | None], lock: Lock | None = None) -> Located:
    """The parts of `dataset` in the first of `sources` that has it; None stands for the Hub and the makers' servers.

    What is downloaded is recorded in `lock` (default: that of the folder `data`), and lands in the Hub's cache or
    beside the lock file.
    A copy that lacks a split is passed over for a later source, with a remark.
    Raises `InputError` if none has it (what was looked for, and where to get it), if the only copy is incomplete, if a
    file is ambiguous, or if the Hub cannot be reached.
    """
    lock = lock or Lock(Path("data"))
    if dataset.made_of is not None:
        train, dev = (locate(DATASETS[name], sources, lock) for name in dataset.made_of)
        return Located(train.train, dev.dev, f"{train.origin}; dev: {dev.origin}", dataset.licence, True)
    looked: list[str] = []
    partial_copies: list[str] = []
    for source in sources:
        if source is not None:
            try:
                found = _from_folder(dataset, source, looked)
            except _Partial as error:
                partial_copies.append(str(error))
                continue
        elif dataset.published:
            folder = Folder.open(fetch_published(dataset.published, lock) / dataset.name)
            found = _from_folder(dataset, folder, looked)
        elif dataset.hub is not None:
            found = _from_hub(dataset, dataset.hub, lock)
        else:
            looked.append("hub: has no copy")
            found = None
        if found is not None:
            remarks = [*(f"passed over: {problem}" for problem in partial_copies), found.remark]
            return replace(found, remark="; ".join(filter(None, remarks)))
    raise InputError("; ".join(partial_copies) or _missing(dataset, looked))


def _from_folder(dataset: Dataset, folder: Folder, looked: list[str]) -> Located | None:
    names: list[str] = []
    if dataset.hub is not None:
        for base in (folder.path, folder.path / "hub"):
            found = _hub_layout(dataset, dataset.hub, base)
            if found is not None:
                return found
        splits = ",".join(dataset.hub.train + dataset.hub.dev)
        names.append(f"{dataset.hub.id}/{dataset.hub.config}/{{{splits}}}-*.parquet")
    for upstream in dataset.upstream:
        ends = upstream.train + upstream.dev
        files = _files(dataset, folder, upstream)
        if files is not None:
            train, dev = (
                [
                    _file_part(folder.path, path, upstream.read, upstream.convert, upstream.select, split)
                    for path in paths
                ]
                for paths, split in zip(files, ("train", "dev"), strict=True)
            )
            return Located(train, dev, f"upstream files in {folder.path.name}/", dataset.licence, True)
        names.append(", ".join(f"{upstream.within}*/.../{end}" if upstream.within else end for end in ends))
    if dataset.name == "ccg":
        sections = folder.ccgbank()
        if sections:
            return _ccgbank(dataset, folder.path, sections)
        names.append("AUTO/NN/*.auto")
    looked.append(f"below {folder.path}: {'; '.join(names)}")
    return None


def _files(dataset: Dataset, folder: Folder, upstream: Upstream) -> tuple[list[Path], list[Path]] | None:
    """The training and the dev files, or None if one of the two is not there."""
    if upstream.several:
        train, dev = (folder.all(ends, upstream.within) for ends in (upstream.train, upstream.dev))
        return (train, dev) if train and dev else None
    found = folder.find(upstream.train + upstream.dev, upstream.within, dataset.name)
    return None if found is None else (found[: len(upstream.train)], found[len(upstream.train) :])


def _selected(rows: Callable[[], Rows], select: Select | None, split: str) -> Rows:
    return (item for item in rows() if select is None or select(item[1], split))


def _from_hub(dataset: Dataset, hub: Hub, lock: Lock) -> Located:
    splits: list[list[Part]] = []
    revision = ""
    for split, names in (("train", hub.train), ("dev", hub.dev)):
        parts = []
        for name in names:
            rows = sum(hub.documents) if hub.documents else None
            fetched = fetch_split(hub.id, hub.config, name, lock, rows)
            revision = fetched.revision
            files = [
                _part(f"{hub.id}/{path}", file, read, hub.convert, hub.select, split)
                for path, read, file in zip(fetched.names, fetched.rows(hub.columns), fetched.paths, strict=True)
            ]
            parts += [_documents(files, hub.documents, split)] if hub.documents else files
        splits.append(parts)
    return Located(splits[0], splits[1], f"Hub: {hub.id}, {hub.config}, commit {revision}", dataset.licence, True)


def _documents(files: list[Part], documents: tuple[int, int], split: str) -> Part:
    """Of the rows of several files in order, the first ones (dev) or those that follow (train), as one part."""
    dev, train = documents
    first, last = (0, dev) if split == "dev" else (dev, dev + train)
    needed: list[Part] = []
    there = 0
    for part in files:  # the same files for both splits, and no more of them than hold these rows
        if there < dev + train:
            needed.append(part)
            there += part.total or 0

    def rows() -> Rows:
        return islice(chain.from_iterable(part.rows() for part in needed), first, last)

    name = f"{needed[0].name}, rows {first} to {last}"
    paths = tuple(path for part in needed for path in part.files)
    return Part(name, rows, needed[0].convert, paths, max(0, min(last, there) - first))


def _hub_layout(dataset: Dataset, hub: Hub, base: Path) -> Located | None:
    folder = base / hub.id / hub.config
    if not folder.is_dir():
        return None
    splits: list[list[Part]] = []
    for split, names in (("train", hub.train), ("dev", hub.dev)):
        parts = []
        for name in names:
            paths = shards(folder, name, dataset.name, whole=hub.documents is None)
            if not paths:
                raise _Partial(f"dataset {dataset.name}: {folder} is there, but no {name}-*.parquet in it")
            for shard in paths:
                read = partial(readers.parquet, columns=hub.columns)
                parts.append(_file_part(base, shard, read, hub.convert, hub.select, split))
        if hub.documents is not None:
            parts = [_documents(parts, hub.documents, split)]
        splits.append(parts)
    return Located(splits[0], splits[1], f"Hub layout in {base.name}/: {hub.id}, {hub.config}", dataset.licence, True)


def _ccgbank(dataset: Dataset, base: Path, sections: dict[str, list[Path]]) -> Located:
    splits = []
    absent: list[str] = []
    for wanted in (CCGBANK_TRAIN, CCGBANK_DEV):
        missing = [section for section in wanted if section not in sections]
        if len(missing) == len(wanted):
            raise InputError(
                f"dataset ccg: CCGbank .auto files below {base}, but none in sections {wanted[0]} to {wanted[-1]}"
                " (02-21 are training, 00 is dev); for another split write two-column files ccg/NAME.train.tsv"
                " and ccg/NAME.dev.tsv"
            )
        absent += missing
        paths = [path for section in wanted for path in sections.get(section, [])]
        splits.append([_file_part(base, path, readers.ccgbank_auto, convert.tag) for path in paths])
    remark = f"CCGbank's sections {', '.join(absent)} are not there" if absent else ""
    return Located(splits[0], splits[1], "CCGbank, sections 02-21 and 00", dataset.licence, True, remark)


def own(kind: str, train: str, dev: str, name: str) -> Located:
    """A user's own files, named in the run config: JSONL in the canonical fields of `kind` (`convert.py`).

    Another suffix than .jsonl means plain text, a line each (mlm), or words<TAB>tags (tag).
    """
    splits = []
    for file in (train, dev):
        path = Path(file)
        if not os.path.isfile(path):  # unlike Path.is_file, False also for a name that is too long
            raise InputError(f"task {name}: {file}: no such file (paths in a config are relative to where you start)")
        read: Reader = readers.jsonl
        if path.suffix not in (".jsonl", ".json"):
            if kind not in ("mlm", "tag"):
                raise InputError(f"task {name}: {file}: expected a .jsonl file, one JSON object a line")
            read = readers.text if kind == "mlm" else readers.words_tags
        splits.append([Part(file, partial(read, path), TASK_TYPES[kind].from_row, (path,))])
    return Located(splits[0], splits[1], f"{train}, {dev}", "the user's own", False)


def _file_part(
    base: Path, path: Path, read: Reader, make: Convert, select: Select | None = None, split: str = ""
) -> Part:
    name = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()
    return _part(name, path, partial(read, path), make, select, split)


def _part(name: str, path: Path, rows: Callable[[], Rows], make: Convert, select: Select | None, split: str) -> Part:
    total = None
    if path.suffix == ".parquet" and select is None:
        with contextlib.suppress(pa.ArrowException, OSError):  # a damaged file is reported when it is read
            total = pq.ParquetFile(path).metadata.num_rows
    return Part(name, partial(_selected, rows, select, split), make, (path,), total)


def _missing(dataset: Dataset, looked: list[str]) -> str:
    where = f"not found (looked for: {' | '.join(looked)})"
    if dataset.name == "ccg":
        return (
            f"dataset ccg: {where}. CCGbank is LDC2005T13, under a paid licence, {dataset.obtain};"
            " add --source DIR with DIR/.../ccg/NAME.train.tsv and NAME.dev.tsv (words<TAB>tags, one sentence a line)"
            " or CCGbank's own .../AUTO/NN/*.auto, or give `train` and `dev` in the config;"
            f" {OPEN_CONFIG} runs without it"
        )
    hub = f", or give --source hub ({dataset.hub.id})" if dataset.hub else ""
    return f"dataset {dataset.name}: {where}. Get it from {dataset.obtain}{hub}"
