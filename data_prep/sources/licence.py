"""The licence under which files are, for the manifest of prepared data and the model card of an exported encoder."""

import json
from collections.abc import Iterable
from pathlib import Path

WORLD_FILE = "world.json"  # written by examples.toyworld into the folder of its data


def licence_of(files: Iterable[Path], otherwise: str) -> str:
    """The licences of `files`, joined by "; ": what the toy world that holds a file states, else `otherwise`.

    The toy world imitates public datasets under their names, so that a dataset's own licence does not apply to it.
    """
    folders = {file.absolute().parent for file in files}
    return "; ".join(sorted({_stated(folder) or otherwise for folder in folders})) or otherwise


def _stated(folder: Path) -> str | None:
    """`licence` of the nearest world.json in `folder` or above it."""
    for parent in (folder, *folder.parents):
        try:
            world = json.loads((parent / WORLD_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there, or a file of this name that is not ours
            continue
        licence = world.get("licence") if isinstance(world, dict) else None
        if isinstance(licence, str):
            return licence
    return None
