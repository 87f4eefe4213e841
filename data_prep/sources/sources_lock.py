"""`sources.lock.json` in the data folder: which commit and which bytes every download was, so that it stays the same.

    {"hub": {"google/xtreme": {"revision": "<commit>", "splits": {"udpos.German/test": {"format": "parquet",
             "files": {"udpos.German/test-00000-of-00001.parquet": {"bytes": 1, "sha256": "..."}}}}}},
     "files": {"lareqa/xquad-r/de.json": {"url": "...", "bytes": 1, "sha256": "..."}}}

Written whole and renamed, under a file lock, so that several programs may share it. Delete an entry to let the program
look again.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import files, jsontext
from common.errors import InputError

NAME = "sources.lock.json"


class Lock:
    """The lock file of one data folder; `folder` need not exist before something is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME

    def repository(self, name: str) -> dict[str, Any]:
        """What is known of a repository of the Hub: {} or {"revision", "splits"}."""
        return self._read()["hub"].get(name, {})

    def file(self, name: str) -> dict[str, Any]:
        """What is known of a published file: {} or {"url", "bytes", "sha256"}."""
        return self._read()["files"].get(name, {})

    def put_revision(self, name: str, revision: str, instead_of: str | None = None) -> None:
        """Sets a repository's commit; what was known of another commit is forgotten.

        `instead_of` is the pinned commit where that one could not be read (a loading script).
        """
        with self._changed() as content:
            if content["hub"].get(name, {}).get("revision") != revision:
                content["hub"][name] = {"revision": revision, "instead_of": instead_of, "splits": {}}

    def put_split(self, name: str, split: str, entry: dict[str, Any]) -> None:
        with self._changed() as content:
            content["hub"][name]["splits"][split] = entry

    def put_file(self, name: str, entry: dict[str, Any]) -> None:
        with self._changed() as content:
            content["files"][name] = entry

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {"hub": {}, "files": {}}
        try:
            content = jsontext.parse(self.path.read_text(encoding="utf-8"))
            hub, files = content["hub"], content["files"]
            if not all(
                isinstance(entry["revision"], str) and isinstance(entry["splits"], dict) for entry in hub.values()
            ):
                raise TypeError("hub: expected a revision and splits of each repository")
            if not all(isinstance(entry["sha256"], str) for entry in files.values()):
                raise TypeError("files: expected a sha256 of each")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{self.path}: not readable as a lock file ({reason}); delete it to start anew") from None
        return {"hub": hub, "files": files}

    @contextlib.contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with files.lock(self.folder / f".{NAME}.lock", f"{self.path}: waiting for another data_prep", wait=True):
                content = self._read()
                yield content
                files.write_text(self.path, json.dumps(content, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror or error})") from None
