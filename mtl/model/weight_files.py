"""The weight files of an encoder: one list for loading, a run's identity, fingerprints and downloads.

transformers reads the first of `NAMES` that a folder or repository has, whatever other files it has; an index names its
shards. A config may name another file (`transformers_weights`), which then comes first.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError
from safetensors import safe_open

from common.errors import InputError
from common.run_config import read_json

_INDEX = ".index.json"
NAMES = tuple(f"{name}{end}" for name in ("model.safetensors", "pytorch_model.bin") for end in ("", _INDEX))


def weight_files(spec: str | Path) -> list[Path]:
    """The files that loading `spec` (a folder, or a Hub id in the cache) reads; an index comes before its shards.

    [] if there are none; `InputError` if an index cannot be read or a shard that it names is missing.
    """
    folder = Path(spec)
    if folder.is_dir():
        return _select(str(spec), lambda name: folder / name if (folder / name).is_file() else None)

    def cached(name: str) -> Path | None:
        with suppress(HFValidationError):  # a folder that is not there
            path = try_to_load_from_cache(str(spec), name)
            return Path(path) if isinstance(path, str) else None
        return None

    return _select(str(spec), cached)


def download(repository: str, revision: str) -> list[Path]:
    """Downloads `weight_files` of a Hub repository at a commit, and no other weights, into the cache.

    Raises the Hub client's errors, also if nothing is cached and the Hub cannot be reached.
    """
    unreachable: list[LocalEntryNotFoundError] = []

    def fetch(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except LocalEntryNotFoundError as error:  # no connection: another name may be in the cache
            unreachable.append(error)
        except EntryNotFoundError:
            pass
        return None

    files = _select(repository, fetch)
    if not files and unreachable:
        raise unreachable[0]
    return files


def require(spec: str | Path, files: list[Path]) -> list[Path]:
    """`files`, or `InputError` if there are none."""
    if not files:
        raise InputError(f"encoder {spec}: no weights there: expected one of {', '.join(NAMES)}")
    return files


def element_types(files: list[Path]) -> Iterator[tuple[str, str]]:
    """(name, dtype) of every tensor in the files; only headers are read."""
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                yield from ((name, file.get_slice(name).get_dtype()) for name in file.keys())  # noqa: SIM118
        elif path.suffix == ".bin":
            tensors = torch.load(path, map_location="meta", weights_only=True)
            yield from ((name, str(tensor.dtype).removeprefix("torch.")) for name, tensor in tensors.items())


def _select(spec: str, get: Callable[[str], Path | None]) -> list[Path]:
    config = get("config.json")
    explicit = read_json(config).get("transformers_weights") if config is not None else None
    for name in (explicit, *NAMES) if isinstance(explicit, str) else NAMES:
        path = get(name)
        if path is None:
            continue
        if not name.endswith(_INDEX):
            return [path]
        index = read_json(path).get("weight_map")
        if not isinstance(index, dict) or not all(isinstance(shard, str) for shard in index.values()):
            raise InputError(f"encoder {spec}: {name}: expected an index of shards, `weight_map`; copy it again")
        files = [path]
        for shard in sorted(set(index.values())):
            file = get(shard)
            if file is None:
                raise InputError(f"encoder {spec}: {shard}, which {name} names, is missing: copy it too")
            files.append(file)
        return files
    return []
