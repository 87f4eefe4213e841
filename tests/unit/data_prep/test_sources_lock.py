"""The lock file of downloads: anything else of its name is one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import InputError
from data_prep.sources.sources_lock import NAME, Lock


def content(folder: Path, values: Any) -> Lock:
    (folder / NAME).write_text(json.dumps(values))
    return Lock(folder)


@pytest.mark.parametrize("values", [[], {"hub": []}, {"hub": {"a/b": {"splits": 1}}}, {"files": {"a": {"sha256": 1}}}])
def test_another_file_is_refused(tmp_path: Path, values: Any) -> None:
    with pytest.raises(InputError, match=r"not readable as a lock file .*delete it to start anew"):
        content(tmp_path, values).read()
