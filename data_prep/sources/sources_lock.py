"""`sources.lock.json` in the data folder: which commit and which files every download was, so that it stays the same.

    {"hub": {"google/xtreme": {"revision": "<commit>", "instead_of": null,
             "splits": {"udpos.German/test": ["udpos.German/test-00000-of-00001.parquet"]}}},
     "files": {"lareqa/xquad-r/de.json": "<sha256>"}}

Written whole and renamed, under a file lock, so that several programs may share it. Delete an entry to let the program
look again.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from common import files
from common.errors import InputError, reason, writing

NAME = "sources.lock.json"


class Repository(BaseModel):
    """A repository of the Hub. instead_of: the pinned commit, where that one is a loading script; splits: the files

    of each CONFIG/SPLIT, by their paths in the repository.
    """

    revision: str
    instead_of: str | None = None
    splits: dict[str, list[str]] = {}


class Content(BaseModel):
    """Repositories by id, and the sha256 of published files by their path below the downloads."""

    hub: dict[str, Repository] = {}
    files: dict[str, str] = {}


class SourcesLock:
    """The lock file of one data folder; `folder` need not exist before something is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME

    def read(self) -> Content:
        if not self.path.exists():
            return Content()
        try:
            return Content.model_validate_json(self.path.read_bytes())
        except (OSError, ValueError) as error:
            what = f"{self.path}: not readable as a lock file ({reason(error)})"
            raise InputError(f"{what}; delete it to start anew") from None

    def splits(self, name: str) -> dict[str, list[str]]:
        """The splits of a repository that were downloaded, with their files."""
        known = self.read().hub.get(name)
        return known.splits if known is not None else {}

    @contextlib.contextmanager
    def change(self) -> Iterator[Content]:
        """The content, which is written at the end of the `with`."""
        busy = f"{self.path}: waiting for another data_prep"
        with writing(self.path), files.lock(self.folder / f".{NAME}.lock", busy, wait=True):
            content = self.read()
            yield content
            files.write_json(self.path, content.model_dump())

    def put_repository(self, name: str, found: Repository) -> Repository:
        """Adds the splits of `found` to those known of the same commit; what was known of another one is forgotten."""
        with self.change() as content:
            known = content.hub.get(name)
            if known is not None and known.revision == found.revision:
                found = found.model_copy(update={"splits": known.splits | found.splits})
            content.hub[name] = found
        return found

    def put_file(self, name: str, sha256: str) -> None:
        with self.change() as content:
            content.files[name] = sha256
