"""Translations that were made already: append-only shards, one a process and run.

    FOLDER/SYSTEM/REVISION/DIRECTION/*.jsonl      a line each: {"key": sha256 of the source text, "text": translation}

A batch is on the disk before the next one begins, so a run that is killed loses one at most; the line that it may have
left unfinished is not read. Every run writes files of its own: nothing is ever appended to what another process wrote.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path


def key_of(text: str) -> str:
    """32 hex digits of a source text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Cache:
    """The translations of one system, revision and direction in `folder`; None: the system did not finish it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, str | None] = {}
        for path in sorted(folder.glob("*.jsonl")):
            with path.open(encoding="utf-8") as file:
                entries = [json.loads(line) for line in file if line.endswith("\n")]
            self._known.update((entry["key"], entry["text"]) for entry in entries)

    def __contains__(self, text: str) -> bool:
        return key_of(text) in self._known

    def __getitem__(self, text: str) -> str | None:
        return self._known[key_of(text)]

    def add(self, batches: Iterable[dict[str, str | None]]) -> None:
        """Stores batches of source text -> translation, each durably before the next is asked for."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{time.time_ns()}-{os.getpid()}.jsonl"
        with path.open("x", encoding="utf-8") as file:
            for batch in batches:
                for source, text in batch.items():
                    self._known[key_of(source)] = text
                    file.write(json.dumps({"key": key_of(source), "text": text}) + "\n")
                file.flush()
                os.fsync(file.fileno())
