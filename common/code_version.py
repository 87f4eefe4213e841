"""The version of this code, which results are recorded with."""

import subprocess
from functools import cache

from common.run_config import REPOSITORY


@cache
def code_version() -> str | None:
    """The commit, with `-dirty` where files differ from it; None where this is no git checkout."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        output = subprocess.check_output(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL, text=True, timeout=10)
        return output.strip()
    except (OSError, subprocess.SubprocessError):
        return None
