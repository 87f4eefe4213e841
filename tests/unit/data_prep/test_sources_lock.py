"""The lock file of downloads: what an earlier version wrote keeps its commits, anything else is one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import InputError
from data_prep.sources.sources_lock import NAME, Lock, Repository


def content(folder: Path, values: Any) -> Lock:
    (folder / NAME).write_text(json.dumps(values))
    return Lock(folder)


def test_commits_of_an_earlier_version_are_kept(tmp_path: Path) -> None:
    split = {"format": "parquet", "files": {"en/test-0.parquet": {"bytes": 1, "sha256": "a" * 64}}}
    hub = {"a/b": {"revision": "c" * 40, "instead_of": None, "splits": {"en/test": split}}}
    file = {"url": "http://a/b.zip", "bytes": 1, "sha256": "b" * 64}
    lock = content(tmp_path, {"hub": hub, "files": {"b/b.zip": file}})
    lock.put_repository("a/b", Repository(revision="c" * 40, splits={"de/test": ["de/test-0.parquet"]}))
    kept = json.loads((tmp_path / NAME).read_text())
    splits = {"en/test": ["en/test-0.parquet"], "de/test": ["de/test-0.parquet"]}
    assert kept["hub"] == {"a/b": {"revision": "c" * 40, "instead_of": None, "splits": splits}}
    assert kept["files"] == {"b/b.zip": "b" * 64}


@pytest.mark.parametrize("values", [[], {"hub": []}, {"hub": {"a/b": {"splits": 1}}}, {"files": {"a": {"sha256": 1}}}])
def test_another_file_is_refused(tmp_path: Path, values: Any) -> None:
    with pytest.raises(InputError, match=r"not readable as a lock file .*delete it to start anew"):
        content(tmp_path, values).read()
