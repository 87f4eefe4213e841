"""Finding data, for training and for evaluation: on the Hub, in a folder in its layout, or as upstream files.

`locate` finds one split of one language of a dataset (`data_prep/datasets/`) in one place: a local folder with copies
of Hub repositories (`hub_copies.py`) or with the files as published, anywhere below it; or on the Hub.
`locate_training` chooses among places for a dataset that is trained on, `eval/read.py` for one that is evaluated on.
Training never reads test splits: their labels are withheld or would be spoilt by training on them.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import InputError
from common.fields import Labels, RawRow
from data_prep.datasets import DATASETS
from data_prep.datasets.schema import Convert, Dataset, Dropped, Files, Hub, Regroup, code_in, names
from data_prep.formats import own as own_file
from data_prep.formats import readers
from data_prep.formats.readers import Rows
from data_prep.sources.download import fetch_published
from data_prep.sources.folders import Folder
from data_prep.sources.hub import fetch_files, fetch_split
from data_prep.sources.hub_copies import configurations, shards
from data_prep.sources.sources_lock import SourcesLock
from tasks.base import Example
from tasks.registry import TASK_TYPES


@dataclass(frozen=True, slots=True)
class Part:
    """Something to read: a file, or rows of several. `files` are what its sha256 is taken of.

    select: which rows belong to it; None for all.
    total: the number of rows, where it is cheap to know.
    """

    name: str
    read: Callable[[], Rows]
    convert: Convert
    files: tuple[Path, ...]
    select: Callable[[RawRow], bool] | None = None
    total: int | None = None

    def rows(self) -> Rows:
        return self.read() if self.select is None else (item for item in self.read() if self.select(item[1]))


@dataclass(frozen=True, slots=True)
class Copy:
    """One split of one language in one of a dataset's copies, in reading order.

    `where` names it in messages, `origin` says in words where it comes from, `remark` what the user should know.
    """

    source: Hub | Files
    parts: list[Part]
    where: str
    origin: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Located:
    """The parts of the two splits to train on, in reading order, and in words where they come from."""

    train: list[Part]
    dev: list[Part]
    origin: str
    licence: str
    known: bool  # a public dataset: empty texts are dropped and counted; in a user's own file they are errors
    remark: str = ""  # what the user should know about this copy


class _Partial(InputError):
    """A copy that lacks a split."""


def locate(dataset: Dataset, split: str, language: str, place: Folder | SourcesLock) -> Iterator[Copy]:
    """The copies of a split in a language that `place` holds, in the dataset's order; nothing is read yet.

    A `SourcesLock` stands for the Hub: what is downloaded is recorded there. Where a folder has anything in the Hub's
    layout, upstream files do not count (but see `Files.always`). Of a dataset for training all splits come from one
    copy, so a copy that lacks another split is none.
    Raises `InputError` if a file is ambiguous, a copy is incomplete, or the Hub cannot be reached.
    """
    serving = [hub for hub in dataset.hub if not hub.languages or language in hub.languages]
    if isinstance(place, SourcesLock):
        yield from (_fetched(hub, split, language, place) for hub in serving[:1])
        return
    present = [hub for hub in dataset.hub if _hub_languages(dataset, hub, place)]
    for files in dataset.files:
        if files.always or not present:
            yield from _upstream(dataset, files, split, language, place)
    for hub in [hub for hub in serving if hub in present][:1]:
        yield from _hub_layout(dataset, hub, split, language, place)


def locate_training(dataset: Dataset, sources: Sequence[Folder | None], lock: SourcesLock | None = None) -> Located:
    """The parts of `dataset` in the first of `sources` that has it; None stands for the Hub and upstream servers.

    What is downloaded is recorded in `lock` (default: that of the folder `data`), and lands in the Hub's cache or
    beside the lock file.
    A copy that lacks a split is passed over for a later source, with a remark.
    Raises `InputError` if none has it (what was looked for, and where to get it), if the only copy is incomplete, if a
    file is ambiguous, or if the Hub cannot be reached.
    """
    lock = lock or SourcesLock(Path("data"))
    of_other = dataset.train_from or dataset.dev_from
    other = locate_training(DATASETS[of_other], sources, lock) if of_other else None
    looked: list[str] = []
    problems: list[str] = []
    for source in sources:
        if source is None and not dataset.published and not dataset.hub:
            looked.append("hub: has no copy")
            continue
        place = source or (downloaded(dataset, lock) if dataset.published else lock)
        try:
            found = [next(locate(dataset, split, dataset.language, place), None) for split in dataset.splits]
        except _Partial as error:
            problems.append(str(error))
            continue
        copies = [copy for copy in found if copy is not None]
        if len(copies) == len(found):
            remarks = [*(f"passed over: {problem}" for problem in problems), *(copy.remark for copy in copies)]
            parts, origin = [copy.parts for copy in copies], copies[0].origin
            if other is not None:
                first, second = (other.origin, origin) if dataset.train_from else (origin, other.origin)
                parts = [other.train, *parts] if dataset.train_from else [*parts, other.dev]
                origin = f"{first}; dev: {second}"
                remarks.append(other.remark)
            if dataset.regroup is not None:
                parts = [[_regrouped(split, *dataset.regroup)] for split in parts]
            by = f", machine-translated ({dataset.translated})" if dataset.translated else ""
            return Located(parts[0], parts[1], origin, dataset.licence + by, True, "; ".join(filter(None, remarks)))
        if isinstance(place, Folder):
            looked.append(f"below {place.path}: {'; '.join(_wanted(dataset))}")
    on_hub = f", or give --source hub ({dataset.hub[0].id})" if dataset.hub else ""
    hint = f". {dataset.hint}" if dataset.hint else ""
    missing = f"dataset {dataset.name}: not found (looked for: {' | '.join(looked)})"
    raise InputError("; ".join(problems) or f"{missing}. Get it from {dataset.obtain}{on_hub}{hint}")


def own(kind: str, train: str, dev: str, name: str) -> Located:
    """A user's own files, named in the run config, in any form of `formats/own.py`."""
    splits = []
    for file in (train, dev):
        path = Path(os.path.expanduser(file))
        files = own_file.files_of(path, kind)
        for one in files:
            if not os.path.isfile(one):  # unlike Path.is_file, False also for a name that is too long
                missing = file if one == path else one
                hint = "paths in a config are relative to where you start"
                raise InputError(f"task {name}: {missing}: no such file ({hint})")
        convert = TASK_TYPES[kind].from_row if len(files) == 1 else _translated
        splits.append([Part(file, partial(own_file.own, path, kind), convert, files)])
    return Located(splits[0], splits[1], f"{train}, {dev}", "the user's own", False)


def _translated(row: RawRow, where: str, labels: Labels) -> Example:
    """A row of parallel text, in which an empty line says that a sentence has no translation."""
    if not (row["query"].strip() and row["passage"].strip()):
        raise Dropped("an empty line")
    return TASK_TYPES["pair"].from_row(row, where, labels)


def downloaded(dataset: Dataset, lock: SourcesLock, option: str = "--source") -> Folder:
    """The folder with the upstream files of a dataset that the Hub has no copy of, downloaded."""
    if dataset.hub_files is not None:
        name, _, files = dataset.hub_files
        first, *_ = fetch_files(name, files, lock)
        return Folder.open(first.parents[files[0].count("/")], option)
    return Folder.open(fetch_published(dataset.published, lock) / dataset.downloads, option)


def languages_in(dataset: Dataset, folder: Folder) -> list[str]:
    """Every language of which a folder may hold something, by the names of its files, sorted."""
    found = {code for hub in dataset.hub for code in _hub_languages(dataset, hub, folder)}
    for files in dataset.files:
        for name in chain.from_iterable(files.splits.get(split, ()) for split in dataset.splits):
            pattern = files.path.replace("{split}", name)
            for path in folder.matching(re.sub(r"\{[a-z0-9]+\}", "*", pattern), files.within, files.outside):
                code = code_in(pattern, "/".join(path.parts[-len(pattern.split("/")) :]))
                found |= set(dataset.languages) if code == "" else {code} if code else set()
    return sorted(found)


def _hub_languages(dataset: Dataset, hub: Hub, folder: Folder) -> set[str]:
    """The languages of a repository that have a configuration in the Hub's layout; in training only the one counts."""
    configs = configurations(folder.path, hub.id, hub.revision)
    if dataset.training:
        return {dataset.language} if hub.config.format(**names(dataset.language)) in configs else set()
    codes = {code_in(hub.config, name) for name in configs} - {None}
    return set(dataset.languages) if "" in codes else {code for code in codes if code}


def _wanted(dataset: Dataset) -> list[str]:
    """What is looked for in a folder, in words."""
    wanted = []
    for hub in dataset.hub[:1]:
        splits = ",".join(name for split in dataset.splits for name in hub.splits[split])
        wanted.append(f"{hub.id}/{hub.config.format(**names(dataset.language))}/{{{splits}}}-*.parquet")
    for files in dataset.files:
        ends = [end for split in dataset.splits for end in files.ends(split, dataset.language)]
        ends = [files.path.format(split="NN")] if files.sections else ends
        if ends:
            wanted.append(", ".join(f"{files.within}*/.../{end}" if files.within else end for end in ends))
    return wanted


def _part(name: str, path: Path, source: Hub | Files, split: str, language: str) -> Part:
    select, total = source.select, None
    if path.suffix == ".parquet" and select is None:
        with contextlib.suppress(pa.ArrowException, OSError):  # a damaged file is reported when it is read
            total = pq.ParquetFile(path).metadata.num_rows
    files = [path]
    if isinstance(source, Hub):
        read: Callable[[], Rows] = partial(readers.hub_file, path, source.columns)
    else:
        read = partial(source.read, path)
        files += _belonging(path, source)
    selected = None if select is None else lambda row: select(row, split, language)
    return Part(name, read, source.convert, tuple(files), selected, total)


def _belonging(path: Path, source: Files) -> list[Path]:
    """The other files that are read with one."""
    beside = [path.with_suffix(source.beside)] if source.beside else []
    return [*beside, *(Path(os.path.normpath(path.parent / name)) for name in source.joined)]


def _fetched(hub: Hub, split: str, language: str, lock: SourcesLock) -> Copy:
    config, revision, parts = hub.config.format(**names(language)), "", []
    for name in hub.splits[split]:
        revision, fetched = fetch_split(hub.id, config, name, lock, sum(hub.documents) if hub.documents else None)
        parts += [_part(f"{hub.id}/{path}", file, hub, split, language) for path, file in fetched.items()]
    origin = f"Hub: {hub.id}, {config}, commit {revision}"
    return Copy(hub, _documents(parts, hub, split), f"{hub.id}, {config}, {name}", origin)


def _hub_layout(dataset: Dataset, hub: Hub, split: str, language: str, place: Folder) -> Iterator[Copy]:
    config, parts = hub.config.format(**names(language)), []
    folder = configurations(place.path, hub.id, hub.revision).get(config)
    if folder is None:
        return
    base = place.path / "hub" if place.path / "hub" in folder.parents else place.path
    for name in hub.splits.get(split, ()):
        paths = shards(folder, name, dataset.name, whole=hub.documents is None)
        if not paths and dataset.training:
            raise _Partial(f"dataset {dataset.name}: {folder} is there, but no {name}-*.parquet in it")
        parts += [_part(path.relative_to(base).as_posix(), path, hub, split, language) for path in paths]
    if parts:
        origin = f"Hub layout in {base.name}/: {hub.id}, {config}"
        yield Copy(hub, _documents(parts, hub, split), str(parts[0].files[0]), origin)


def _upstream(dataset: Dataset, files: Files, split: str, language: str, folder: Folder) -> Iterator[Copy]:
    together = dataset.splits if dataset.training else (split,)
    ends = {name: files.ends(name, language) for name in together}
    remark = ""
    if not all(ends.values()):
        return
    if files.sections:
        found = {name: [folder.matching(end, files.within) for end in ends[name]] for name in together}
        paths = {name: list(chain.from_iterable(sections)) for name, sections in found.items()}
        absent = [section for section, here in zip(files.splits[split], found[split], strict=True) if not here]
        remark = f"{dataset.name}: sections {', '.join(absent)} are not there" if absent else ""
    elif files.several:
        paths = {name: folder.all(ends[name], files.within) for name in together}
    else:
        one = folder.find(tuple(chain.from_iterable(ends.values())), files.within, dataset.name, files.outside)
        paths = {name: [(one or []).pop(0) for _ in ends[name]] if one else [] for name in together}
    if not all(paths.values()):
        return
    parts = []
    for path in paths[split]:
        for other in _belonging(path, files):
            if not other.is_file():
                raise InputError(f"{other}: missing; it belongs to {path.name}")
        parts.append(_part(path.relative_to(folder.path).as_posix(), path, files, split, language))
    yield Copy(files, parts, str(paths[split][0]), f"upstream files in {folder.path.name}/", remark)


def _regrouped(parts: list[Part], regroup: Regroup, convert: Convert) -> Part:
    """The rows that `regroup` makes of those of a split."""

    def read() -> Rows:
        return regroup(chain.from_iterable(part.rows() for part in parts), parts[0].convert)

    name = ", ".join(part.name for part in parts)
    return Part(name, read, convert, tuple(file for part in parts for file in part.files))


def _documents(files: list[Part], hub: Hub, split: str) -> list[Part]:
    """Of a large corpus' files, in order, the first rows (dev) or those that follow (train), as one part; else all."""
    if hub.documents is None:
        return files
    dev, train = hub.documents
    first, last = (0, dev) if split == "dev" else (dev, dev + train)
    needed: list[Part] = []
    there = 0
    for part in files:  # the same files for both splits, and no more of them than hold these rows
        if there < dev + train:
            needed.append(part)
            there += part.total or 0

    def rows() -> Rows:
        return islice(chain.from_iterable(part.read() for part in needed), first, last)

    paths = tuple(path for part in needed for path in part.files)
    total = max(0, min(last, there) - first)
    return [replace(needed[0], name=f"{needed[0].name}, rows {first} to {last}", read=rows, files=paths, total=total)]
