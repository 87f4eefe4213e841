"""Where one split of one language of a target lies: in a folder (the Hub's layout or the makers' files), or on the Hub.

A `Copy` is what was found: rows that are not examples yet, so that a split can be chosen before anything is converted.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import file_sha256
from common.languages import ISO3, TYDIQA_NAMES, UD_NAMES
from data_prep.convert import Convert
from data_prep.datasets.test_sets import HubTest, Layout, TestSet, names
from data_prep.formats import readers
from data_prep.sources import hub
from data_prep.sources.download import fetch_published
from data_prep.sources.folders import Folder
from data_prep.sources.sources_lock import Lock
from eval.rows import NotThere

Rows = list[tuple[str, dict[str, Any]]]


@dataclass(slots=True)
class Copy:
    """One split of one language. `where` names it in messages, `files` are sha256 by name, `label` the label column.

    `differs`: how its rows differ from the official test file's, see `HubTest`.
    """

    where: str
    files: dict[str, str]
    rows: Rows
    label: str
    convert: Convert | None
    differs: str = ""


Finder = Callable[[str, str], Copy | None]  # (code, split) -> a copy


class Local:
    """A folder of the user's. Files that hold several languages are read once."""

    def __init__(self, testset: TestSet, folder: Folder) -> None:
        self.testset = testset
        self.folder = folder
        self._read: dict[Path, Rows] = {}
        self._sums: dict[Path, str] = {}
        self._on_disk: dict[str, list[str]] = {}
        self.bases = (folder.path, folder.path / "hub")

    def finders(self) -> list[Finder]:
        """Ways of finding a copy: the Hub's layout, if any of this target is in it, else each layout of the makers."""
        if any(self._hub_codes(source) for source in self.testset.hub):
            return [self._on_hub]
        return [partial(self._file, layout) for layout in self.testset.layouts]

    def codes(self) -> list[str]:
        """All languages of which there may be something, sorted."""
        found: set[str] = set()
        for source in self.testset.hub:
            found |= set(self.testset.languages) if source.keep is not None else set(self._hub_codes(source))
        for layout in self.testset.layouts:
            for split in layout.splits.values():
                pattern = layout.file.replace("{split}", split)
                end = re.sub(r"\{[a-z0-9]+\}", "*", pattern)
                for file in self.folder.matching(end, layout.within):
                    parts = "/".join(file.parts[-len(pattern.split("/")) :])
                    found |= set(self.testset.languages) if layout.keep is not None else set(_codes(pattern, parts))
        return sorted(found)

    def paths(self, end: str, within: str = "", several: bool = False) -> list[Path]:
        """The file with this path end, or none; two that differ are an error. With `several`, all of them."""
        if several:
            return self.folder.all((end,), within)
        return self.folder.find((end,), within, self.testset.name) or []

    def sha256(self, path: Path) -> str:
        if path not in self._sums:
            self._sums[path] = file_sha256(path)
        return self._sums[path]

    def files(self, paths: Sequence[Path]) -> dict[str, str]:
        """sha256 of each file by its path below the folder."""
        return {path.relative_to(self.folder.path).as_posix(): self.sha256(path) for path in paths}

    def rows(self, path: Path, read: Callable[[Path], readers.Rows]) -> Rows:
        if path not in self._read:
            self._read[path] = list(read(path))
        return self._read[path]

    def _hub_codes(self, source: HubTest) -> list[str]:
        """The languages that have a folder in the Hub's layout (`?` for one that holds several)."""
        if source.id not in self._on_disk:
            folders = [f for base in self.bases for f in (base / source.id).glob("*") if f.is_dir()]
            self._on_disk[source.id] = [code for folder in folders for code in _codes(source.config, folder.name)]
        return self._on_disk[source.id]

    def _on_hub(self, code: str, split: str) -> Copy | None:
        for source in self.testset.hub:
            if (not source.codes or code in source.codes) and self._hub_codes(source):
                return self._parquet(source, code, split)
        return None

    def _parquet(self, source: HubTest, code: str, split: str) -> Copy | None:
        config = source.config.format(**names(code))
        for base in self.bases:
            paths = hub.shards(base / source.id / config, split, self.testset.name)
            if paths:
                rows = [
                    row
                    for path in paths
                    for row in self.rows(path, lambda p: readers.parquet(p, source.columns))
                    if source.keep is None or source.keep(row[1], code)
                ]
                if rows or source.keep is None:
                    return Copy(str(paths[0]), self.files(paths), rows, source.label, source.convert, source.differs)
        return None

    def _file(self, layout: Layout, code: str, split: str) -> Copy | None:
        end = layout.file.format(split=layout.splits[split], **names(code))
        paths = self.paths(end, layout.within, layout.several)
        if not paths:
            return None
        rows = [
            row
            for path in paths
            for row in self.rows(path, layout.read)
            if layout.keep is None or layout.keep(row[1], code)
        ]
        if not rows and layout.keep is not None:
            return None
        return Copy(str(paths[0]), self.files(paths), rows, layout.label, layout.convert)


class Online:
    """The Hub, at the commits that `data_prep/sources/hub.py` holds to. `notes`: what could not be had, in words."""

    def __init__(self, testset: TestSet, lock: Lock) -> None:
        self.testset = testset
        self.lock = lock
        self.notes: list[str] = []
        self._read: dict[tuple[str, str, str], tuple[Rows, dict[str, str]]] = {}

    def finders(self) -> list[Finder]:
        return [self._copy]

    def folder(self) -> Folder:
        """A folder with the makers' files of a target that the Hub has no data set of, downloaded; else `NotThere`."""
        try:
            if self.testset.hub_files is not None:
                name, files = self.testset.hub_files
                _, paths = hub.fetch_files(name, files, self.lock)
                return Folder.open(paths[0].parents[files[0].count("/")], "--data")
            return Folder.open(fetch_published(self.testset.published, self.lock) / self.testset.name, "--data")
        except InputError as error:
            raise NotThere(f"{error}; or give --data DIR with {self.testset.files}") from None

    def _copy(self, code: str, split: str) -> Copy | None:
        for source in self.testset.hub:
            if not source.codes or code in source.codes:
                try:
                    return self._load(source, code, split)
                except InputError as error:
                    if not source.unconfirmed:
                        raise
                    self.notes.append(str(error))
                    return None
        return None

    def _load(self, source: HubTest, code: str, split: str) -> Copy:
        config = source.config.format(**names(code))
        key = (source.id, config, split)
        if key not in self._read:
            self._read[key] = self._rows(source, config, split)
        rows, files = self._read[key]
        mine = [row for row in rows if source.keep is None or source.keep(row[1], code)]
        where = f"{source.id}, {config}, {split}"
        return Copy(where, files, mine, source.label, source.convert, source.differs)

    def _rows(self, source: HubTest, config: str, split: str) -> tuple[Rows, dict[str, str]]:
        try:
            fetched = hub.fetch_split(source.id, config, split, self.lock)
        except InputError as error:
            problem = str(error).partition("; check the connection")[0]
            instead = f"give --data DIR with {source.id}/{config}/{split}-*.parquet or {self.testset.files}"
            raise InputError(f"{problem}; check the connection, or {instead}") from None
        rows = [row for read in fetched.rows(source.columns) for row in read()]
        sums = {
            f"{source.id}/{name}": file_sha256(path) for name, path in zip(fetched.names, fetched.paths, strict=True)
        }
        return rows, sums


# English names and ISO 639-3 codes in file names -> codes.
_BACK = {
    "iso3": {long: short for short, long in ISO3.items()},
    "ud": {long: short for short, long in UD_NAMES.items()},
    "tydi": {long: short for short, long in TYDIQA_NAMES.items()},
}


def _codes(pattern: str, name: str) -> list[str]:
    """The language that `name` tells of, if it is of the pattern (none or one)."""
    regex = re.sub(r"\\\{([a-z0-9]+)\\\}", r"(?P<\1>[A-Za-z]+)", re.escape(pattern)).replace(r"\*", ".*")
    match = re.fullmatch(regex, name)
    if match is None:
        return []
    if not match.groupdict():
        return ["?"]
    (key, value), *more = match.groupdict().items()
    if more:
        question = more[0][1]
        return [value if value == question else f"{value}-{question}"]
    return [_BACK[key].get(value, value) if key in _BACK else value]
