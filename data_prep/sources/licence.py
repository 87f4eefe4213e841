"""The licence under which files are, for the manifest of prepared data and the model card of an exported encoder."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from common.errors import InputError
from common.run_config import read_json

WORLD_FILE = "world.json"  # written by examples.toyworld into the folder of its data
TRANSLATION_FILE = "translation.json"  # written by `data_prep translate` beside the rows


def licence_of(files: Iterable[Path], otherwise: str) -> str:
    """The licences of `files`, joined by "; ": what its translation or the toy world states, else `otherwise`.

    The toy world imitates public datasets under their names, so that a dataset's own licence does not apply to it.
    """
    folders = {file.absolute().parent for file in files}
    return "; ".join(sorted({_stated(folder) or otherwise for folder in folders})) or otherwise


def _stated(folder: Path) -> str | None:
    """`licence` of the nearest translation.json or world.json in `folder` or above it."""
    for file in (parent / name for parent in (folder, *folder.parents) for name in (TRANSLATION_FILE, WORLD_FILE)):
        with suppress(InputError):  # not there, or a file of this name that is not ours
            licence = read_json(file).get("licence")
            if isinstance(licence, str):
                return licence
    return None
