"""Files of the Hugging Face Hub: one commit, verified bytes, no code from there.

A repository is read at the commit that its dataset names (`data_prep/datasets/`), or else at the one that
`sources.lock.json` holds, or else at that of its main branch now, which the lock then keeps. Which files a split is
made of is asked of `datasets` (`load_dataset_builder`, nothing is executed), once. Files are downloaded by
`huggingface_hub` into its cache (HF_HOME), checked against their checksum, and read from there, so that a second run
needs no network and HF_HUB_OFFLINE=1 works. A repository that still holds a loading script on its main branch is read
at the Hub's own conversion, `refs/convert/parquet`, whose commit is kept in the same way.

`load_dataset` itself is not used: it fetches every split of a configuration (XNLI's machine-translated training data in
15 languages), and offline it takes the newest commit in its cache, whichever that is.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow.parquet as pq
from huggingface_hub import HfApi, hf_hub_download, is_offline_mode
from huggingface_hub.utils.sha import git_hash

from common.errors import InputError, loading
from common.files import file_sha256
from data_prep.datasets import REVISIONS
from data_prep.sources.sources_lock import Repository, SourcesLock

CONVERTED = "refs/convert/parquet"
ATTEMPTS = 3


def fetch_split(
    name: str, config: str, split: str, lock: SourcesLock, rows: int | None = None
) -> tuple[str, dict[str, Path]]:
    """(commit, path in the repository -> in the cache) of the files of a split, in order.

    rows: of Parquet files only so many are downloaded as hold this number of rows. `InputError` if the Hub fails.
    """
    key, place = f"{config}/{split}", f"Hub: {name}, {config}, {split}"
    files: dict[str, Path] = {}
    found = 0
    with _one_line(place):
        repository = _repository(name, lock)
        if key not in repository.splits:
            repository = _look_up(name, config, split, repository, lock, place)
        for path in repository.splits[key]:
            files[path] = _download(name, path, repository.revision, place)
            if rows is not None and path.endswith(".parquet"):
                found += pq.read_metadata(files[path]).num_rows
                if found >= rows:
                    break
    return repository.revision, files


def fetch_files(name: str, files: Sequence[str], lock: SourcesLock) -> list[Path]:
    """The paths in the cache of files of a repository, by their paths there; `InputError` if the Hub fails."""
    place = f"Hub: {name}"
    with _one_line(place):
        repository = _repository(name, lock)
        found = [_download(name, file, repository.revision, place) for file in files]
        lock.put_repository(name, repository.model_copy(update={"splits": {"files": list(files)}}))
    return found


def _repository(name: str, lock: SourcesLock) -> Repository:
    """The commit to read, which stands in the lock file afterwards, and the splits known of it."""
    known, pinned = lock.read().hub.get(name), REVISIONS.get(name)
    if known is not None and (pinned is None or pinned in (known.revision, known.instead_of)):
        return known
    if pinned is None:
        pinned = str(HfApi().dataset_info(name).sha)
    return lock.put_repository(name, Repository(revision=pinned))


def _look_up(name: str, config: str, split: str, repository: Repository, lock: SourcesLock, place: str) -> Repository:
    """`repository` with the files of a split, at the commit that can be read."""
    import datasets  # seconds to import

    revision, instead_of = repository.revision, repository.instead_of
    try:
        builder = datasets.load_dataset_builder(name, config, revision=revision)
    except RuntimeError as error:
        if "script" not in str(error):
            raise
        revision, instead_of = str(HfApi().dataset_info(name, revision=CONVERTED).sha), REVISIONS.get(name)
        builder = datasets.load_dataset_builder(name, config, revision=revision)
    files = builder.config.data_files or {}
    if split not in files:
        raise InputError(f"{place}: no such split; there: {', '.join(map(str, files))}")
    paths = [str(url).removeprefix(f"hf://datasets/{name}@{revision}/") for url in files[split]]
    found = Repository(revision=revision, instead_of=instead_of, splits={f"{config}/{split}": paths})
    return lock.put_repository(name, found)


def _download(name: str, path: str, revision: str, place: str) -> Path:
    """The file in the cache, with the checksum that the Hub has of it; a damaged one is fetched again."""
    for attempt in range(ATTEMPTS):
        file = Path(hf_hub_download(name, path, repo_type="dataset", revision=revision, force_download=attempt > 0))
        if not file.is_symlink():
            return file  # a cache without links does not say the checksum
        checksum = file.readlink().name  # a blob's; blobs may be links themselves, to bytes with another kind of name
        # Those of the large file storage by sha256, others by git's own.
        if checksum == (file_sha256(file) if len(checksum) == 64 else git_hash(file.read_bytes())):
            return file
    raise InputError(
        f"{place}: {path}: another sha256, also after {ATTEMPTS} downloads; the file in the cache is not what the Hub"
        f" has at commit {revision}. Try again later, or give --source DIR with a copy of your own"
    )


def _one_line(place: str) -> AbstractContextManager[None]:
    """`loading` for whatever the client raises; it has a dozen unrelated classes for no connection."""
    cause = "check the connection"
    if is_offline_mode():
        cause = "not in the cache, and HF_HUB_OFFLINE is set; unset it once to download"
    instead = "give --source DIR with the Hub's Parquet files or the upstream files (see docs/data.md)"
    return loading(place, f"{cause}, or {instead}")
