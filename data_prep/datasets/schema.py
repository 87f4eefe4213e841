"""What a line of the tables of training data says: a dataset, its copy on the Hub, its makers' files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from data_prep.convert import Convert
from data_prep.formats.readers import Reader

# (row, "train" or "dev") -> whether the row belongs to that split; others are passed over, not counted as dropped.
Select = Callable[[dict[str, Any], str], bool]


@dataclass(frozen=True, slots=True)
class Hub:
    """A dataset of the Hugging Face Hub: the columns named are read, the splits in this order.

    `documents`: of a corpus too large to be fetched whole, the first so many rows are dev and so many after them train.
    """

    id: str
    config: str
    train: tuple[str, ...]
    dev: tuple[str, ...]
    columns: tuple[str, ...]
    convert: Convert
    select: Select | None = None
    documents: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """Files as their makers publish them: path ends, found anywhere below the folder that the user names.

    `*` in a name stands for any characters; `within` is the beginning of the name of a folder that must be on the way
    (for names as plain as train.csv). With `several`, all files that match are read, one after the other.
    """

    train: tuple[str, ...]
    dev: tuple[str, ...]
    read: Reader
    convert: Convert
    within: str = ""
    several: bool = False
    select: Select | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """One file to be downloaded: where it goes below the folder of downloads, and mirrors in the order to be tried.

    `sha256` is None where no public record of it was found: then that of the first download is kept and held to.
    """

    path: str
    urls: tuple[str, ...]
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset. `hub` is None where the Hub has no copy; `obtain` says where the upstream files are to be had.

    rows: training / dev rows as published. published: the files to download where the Hub has none or a script only.
    made_of: the dataset whose training split it has, and the one whose dev split, where these are two others.
    """

    name: str
    kind: str
    licence: str
    obtain: str
    hub: Hub | None
    upstream: tuple[Upstream, ...]
    rows: str
    language: str = "en"
    published: tuple[Published, ...] = ()
    made_of: tuple[str, str] | None = None
