"""A user's folder of downloaded files: walked once, searched by path ends.

Deterministic: files are looked at in sorted order, and when two different files could be meant the user decides.
Hidden folders are passed over; symbolic links are followed once.
"""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.files import file_sha256


def check_folders(option: str, places: Sequence[str | Path]) -> None:
    """`InputError` for the first of `places` that is neither `hub` nor a folder."""
    for place in places:
        if place != "hub" and not os.path.isdir(place):
            raise InputError(f"{option} {place}: no such folder (expected `hub`, or a folder with downloaded datasets)")


@dataclass(frozen=True, slots=True)
class Folder:
    """The files below `path`, absolute and sorted. `option` is the program's option that named it, for messages."""

    path: Path
    files: tuple[Path, ...]
    option: str
    names: dict[str, list[Path]]  # the same files by file name

    @staticmethod
    def open(path: Path, option: str = "--source") -> "Folder":
        check_folders(option, [path])
        path = path.absolute()
        files = tuple(_walk(path))
        names: dict[str, list[Path]] = {}
        for file in files:
            names.setdefault(file.name, []).append(file)
        return Folder(path, files, option, names)

    def matching(self, end: str, within: str = "", outside: str = "") -> list[Path]:
        """All files whose path ends like `end` (`*` in a name stands for any characters), sorted.

        within, outside: see `Files` in data_prep/datasets/schema.py.
        """
        name = end.rpartition("/")[2]
        files = self.files if "*" in name else self.names.get(name, ())
        return [file for file in files if file.match(end) and self._is_within(file, within, outside)]

    def _is_within(self, file: Path, within: str, outside: str) -> bool:
        folders = [part.lower() for part in file.relative_to(self.path.parent).parts[:-1]]  # the user's own included
        return (not within or any(part.startswith(within) for part in folders)) and outside not in folders

    def find(self, ends: Sequence[str], within: str, dataset: str, outside: str = "") -> list[Path] | None:
        """One file for each path end, or None if one of them is not there.

        Several different files for one end: if exactly one folder holds all of them together it is taken, else
        `InputError` names them. Byte-identical copies count as one.
        """
        matches = [self.matching(end, within, outside) for end in ends]
        if not all(matches):
            return None
        # The folder that a path end starts in.
        pairs = list(zip(ends, matches, strict=True))
        roots = [{file.parents[end.count("/")]: file for file in found} for end, found in pairs]
        common = [root for root in roots[0] if all(root in more for more in roots)]
        plain = not any("*" in end for end in ends)
        if plain and len(common) == 1:
            return [more[common[0]] for more in roots]
        chosen = []
        for end, found in pairs:
            distinct = {file_sha256(file): file for file in reversed(found)} if len(found) > 1 else {}
            if len(distinct) > 1:
                names = ", ".join(str(file) for file in sorted(distinct.values()))
                raise InputError(
                    f"dataset {dataset}: several different files could be {end}: {names}; give a narrower {self.option}"
                )
            chosen.append(found[0])
        return chosen

    def all(self, ends: Sequence[str], within: str) -> list[Path]:
        """Every file with one of these path ends, sorted by file name; byte-identical copies count as one.

        `InputError` for a name that two different files have: two releases, of which the folder should hold one.

        By name and not by path: XTREME copies all treebanks of a language into one folder before it joins them
        (`utils_preprocess.py`), and the lines of a submission count from there.
        """
        found = [file for end in ends for file in self.matching(end, within)]
        if len(found) > 1:
            found = list({file_sha256(file): file for file in reversed(found)}.values())
        found = sorted(found, key=lambda file: (file.name, file))
        for one, other in itertools.pairwise(found):
            if one.name == other.name:
                raise InputError(f"{one}, {other}: two different files of one name; give a narrower {self.option}")
        return found

    def sums(self, files: Sequence[Path]) -> dict[str, str]:
        """sha256 of each file by its path below the folder."""
        return {file.relative_to(self.path).as_posix(): file_sha256(file) for file in files}


def _walk(path: Path) -> list[Path]:
    seen: set[tuple[int, int]] = set()
    files: list[Path] = []
    for folder, folders, names in os.walk(path, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # Reading a pipe would wait for ever, so only regular files (and links to them) count.
        files.extend(p for name in names if not name.startswith(".") and (p := Path(folder, name)).is_file())
    return sorted(files)
