"""Files of the Hugging Face Hub: one commit, known bytes, no code from there.

A repository is read at the commit that its dataset names (`data_prep/datasets/`), or else at the one that
`sources.lock.json` holds, or else at that of its main branch now, which the lock then keeps. Which files a split is
made of is asked of `datasets` (`load_dataset_builder`, nothing is executed), once; sizes and checksums come from the
Hub's API. Files are downloaded by `huggingface_hub` into its cache (HF_HOME), checked, and read from there, so that a
second run needs no network and HF_HUB_OFFLINE=1 works. A repository that still holds a loading script on its main
branch is read at the Hub's own conversion, `refs/convert/parquet`, whose commit is kept in the same way.

`load_dataset` itself is not used: it fetches every split of a configuration (XNLI's machine-translated training data in
15 languages), and offline it takes the newest commit in its cache, whichever that is.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from common.errors import InputError
from common.files import file_sha256
from data_prep.datasets import REVISIONS
from data_prep.formats import readers
from data_prep.formats.readers import Rows
from data_prep.sources.sources_lock import Lock

CONVERTED = "refs/convert/parquet"
ATTEMPTS = 3
_READERS = {"json": readers.jsonl, "csv": readers.csv_quoted}


@dataclass(frozen=True, slots=True)
class Fetched:
    """Files of one split in the cache, with their paths in the repository, in order."""

    revision: str
    format: str
    names: tuple[str, ...]
    paths: tuple[Path, ...]

    def rows(self, columns: Sequence[str]) -> list[Callable[[], Rows]]:
        """For each file, its rows: the named columns of Parquet, whole rows of JSON or CSV."""
        if self.format == "parquet":
            return [partial(readers.parquet, path, columns) for path in self.paths]
        return [partial(_READERS[self.format], path) for path in self.paths]


def fetch_split(name: str, config: str, split: str, lock: Lock, rows: int | None = None) -> Fetched:
    """Downloads a split, or so many of its first files as hold `rows` rows; `InputError` in one line if it cannot."""
    place = f"Hub: {name}, {config}, {split}"
    revision = _revision(name, lock, place)
    key = f"{config}/{split}"
    entry = lock.repository(name)["splits"].get(key)
    if entry is None:
        revision, entry = _look_up(name, config, split, revision, lock, place)
        lock.put_split(name, key, entry)
    if entry["format"] not in ("parquet", *_READERS):
        raise InputError(f"{place}: its files are {entry['format']}; expected Parquet, JSON or CSV")
    names, paths, found = [], [], 0
    for path, known in entry["files"].items():
        names.append(path)
        paths.append(_download(name, path, revision, known, place))
        if rows is not None and entry["format"] == "parquet":
            found += pq.ParquetFile(paths[-1]).metadata.num_rows
            if found >= rows:
                break
    return Fetched(revision, entry["format"], tuple(names), tuple(paths))


def fetch_files(name: str, files: Sequence[str], lock: Lock) -> tuple[str, list[Path]]:
    """(commit, paths in the cache) of files of a repository, by their paths there."""
    place = f"Hub: {name}"
    revision = _revision(name, lock, place)
    entry = lock.repository(name)["splits"].get("files", {"format": "files", "files": {}})
    missing = [file for file in files if file not in entry["files"]]
    if missing:
        with _one_line(place):
            entry["files"] |= _sums(name, missing, revision, place)
        lock.put_split(name, "files", entry)
    return revision, [_download(name, file, revision, entry["files"][file], place) for file in files]


def shards(folder: Path, split: str, dataset: str, whole: bool = True) -> list[Path]:
    """The Parquet files of a split in a folder of the Hub's layout, in order; [] if there are none.

    Raises `InputError` if one of them is missing (unless not the `whole` split is needed), or is not a file.
    """
    # "train-*" alone would also take a split called train-extra; shards are numbered -00000-of-00001.
    found = sorted(folder.glob(f"{split}-[0-9]*.parquet"))
    for shard in found:
        if not shard.is_file():
            raise InputError(f"dataset {dataset}: {shard}: not a file; copy or download it again")
        total = shard.stem.rpartition("-of-")[2]
        if whole and total.isdigit() and int(total) != len(found):
            raise InputError(f"dataset {dataset}: {folder}: expected {int(total)} files {split}-*, found {len(found)}")
    return found


def _revision(name: str, lock: Lock, place: str) -> str:
    """The commit to read; it stands in the lock file afterwards."""
    locked, pinned = lock.repository(name), REVISIONS.get(name)
    if locked and (pinned is None or pinned in (locked["revision"], locked.get("instead_of"))):
        return str(locked["revision"])
    if pinned is None:
        from huggingface_hub import HfApi

        with _one_line(place):
            pinned = str(HfApi().dataset_info(name).sha)
    lock.put_revision(name, pinned)
    return pinned


def _look_up(name: str, config: str, split: str, revision: str, lock: Lock, place: str) -> tuple[str, dict[str, Any]]:
    """(commit, lock entry) of a split: what its files are, by `datasets`, and their checksums, by the Hub."""
    import datasets  # seconds to import
    from huggingface_hub import HfApi

    with _one_line(place):
        try:
            builder = datasets.load_dataset_builder(name, config, revision=revision)
        except RuntimeError as error:
            if "script" not in str(error):
                raise
            revision = str(HfApi().dataset_info(name, revision=CONVERTED).sha)
            lock.put_revision(name, revision, REVISIONS.get(name))
            builder = datasets.load_dataset_builder(name, config, revision=revision)
        files = builder.config.data_files or {}
        if split not in files:
            raise InputError(f"{place}: no such split; there: {', '.join(map(str, files))}")
        prefix = f"hf://datasets/{name}@{revision}/"
        paths = [str(url).removeprefix(prefix) for url in files[split]]
        return revision, {"format": builder.name, "files": _sums(name, paths, revision, place)}


def _sums(name: str, paths: Sequence[str], revision: str, place: str) -> dict[str, dict[str, Any]]:
    """path -> {"bytes", "sha256"} for large files, {"bytes", "blob"} (git's sha1) for small ones, in this order."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    found = HfApi().get_paths_info(name, list(paths), repo_type="dataset", revision=revision)
    infos = {info.path: info for info in found if isinstance(info, RepoFile)}
    sums = {}
    for path in paths:
        info = infos.get(path)
        if info is None:
            raise InputError(f"{place}: no file {path} at commit {revision}")
        key, value = ("sha256", info.lfs.sha256) if info.lfs is not None else ("blob", info.blob_id)
        sums[path] = {"bytes": info.size, key: value}
    return sums


def _download(name: str, path: str, revision: str, known: dict[str, Any], place: str) -> Path:
    """The file in the cache, with the bytes that are `known`; a damaged one is fetched again."""
    from huggingface_hub import hf_hub_download

    for attempt in range(ATTEMPTS):
        with _one_line(place):
            found = hf_hub_download(name, path, repo_type="dataset", revision=revision, force_download=attempt > 0)
        wrong = _wrong(Path(found), known)
        if wrong is None:
            return Path(found)
    raise InputError(
        f"{place}: {path}: {wrong}, also after {ATTEMPTS} downloads; the file in the cache is not what the Hub has at"
        f" commit {revision}. Try again later, or give --source DIR with a copy of your own"
    )


def _wrong(path: Path, known: dict[str, Any]) -> str | None:
    size = path.stat().st_size
    if size != known["bytes"]:
        return f"{size} bytes instead of {known['bytes']}"
    if "sha256" in known:
        return None if file_sha256(path) == known["sha256"] else "another sha256"
    header = f"blob {size}\0".encode()
    digest = hashlib.sha1(header + path.read_bytes(), usedforsecurity=False).hexdigest()
    return None if digest == known["blob"] else "another checksum"


class _one_line:
    """Turns whatever the client raises into one sentence; it has a dozen unrelated classes for no connection."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, InputError):
            return
        from huggingface_hub import is_offline_mode

        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        if is_offline_mode():
            raise InputError(
                f"{self.place}: not in the cache, and HF_HUB_OFFLINE is set; unset it once to download, or give"
                " --source DIR with the Hub's Parquet files or the makers' files (see docs/data.md)"
            ) from None
        raise InputError(
            f"{self.place}: cannot be loaded ({reason}); check the connection, or give --source DIR with the Hub's"
            " Parquet files or the makers' files (see docs/data.md)"
        ) from None
