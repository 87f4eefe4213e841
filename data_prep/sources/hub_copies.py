"""Copies of Hub datasets as people bring them to machines without internet.

    configurations(folder, "tau/commonsense_qa", revision)      # {"default": DIR/tau/commonsense_qa/data}

Found are NAMESPACE/NAME and NAME (`hf download --local-dir`, `git clone`, `save_to_disk`), also below `hub/`, and a
copied cache (`datasets--NAMESPACE--NAME/snapshots/COMMIT`). In each of them a configuration is a folder of its name, or
`data/` or the repository itself where there is only the default one.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from common.errors import InputError


def configurations(folder: Path, repository: str, revision: str | None) -> dict[str, Path]:
    """{configuration: folder} of a repository; `InputError` for a cache of several commits, none of them `revision`."""
    found: dict[str, Path] = {}
    for root in _roots(folder, repository, revision):
        documented = root.parent.name == repository.partition("/")[0]
        for config in (*_folders(root), *_folders(root / "data")):
            if (documented and config.parent == root) or _has_data(config):
                found.setdefault(config.name, config)
        for plain in (root / "data", root):
            if any(plain.glob("*.parquet")):
                found.setdefault("default", plain)
        if (root / "dataset_dict.json").is_file():
            found.setdefault(_saved_name(root), root)
    return found


def shards(folder: Path, split: str, dataset: str, whole: bool = True) -> list[Path]:
    """The files of a split of a configuration, in order; [] if there are none.

    Raises `InputError` if one of several shards is missing (unless not the `whole` split is needed).
    """
    # "train-*" alone would also take a split called train-extra; shards are numbered -00000-of-00001.
    patterns = (f"{split}-[0-9]*.parquet", f"{split}/[0-9]*.parquet", f"{split}/data-[0-9]*.arrow")
    found = next((files for pattern in patterns if (files := sorted(folder.glob(pattern)))), [])
    for shard in found:
        total = shard.stem.rpartition("-of-")[2]
        if whole and "-of-" in shard.stem and total.isdigit() and int(total) != len(found):
            raise InputError(f"dataset {dataset}: {folder}: expected {int(total)} files {split}-*, found {len(found)}")
    return found


def _roots(folder: Path, repository: str, revision: str | None) -> Iterator[Path]:
    for base in (folder, folder / "hub"):
        yield from (root for root in (base / repository, base / repository.rpartition("/")[2]) if root.is_dir())
        cache = base / f"datasets--{repository.replace('/', '--')}" / "snapshots"
        commits = _folders(cache)
        pinned = [commit for commit in commits if commit.name == revision]
        if len(commits) > 1 and not pinned:
            raise InputError(f"{cache}: {', '.join(commit.name for commit in commits)}: keep the commit that is meant")
        yield from pinned or commits


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.is_dir())


def _has_data(folder: Path) -> bool:
    return any(folder.glob("*.parquet")) or any(folder.glob("*/[0-9]*.parquet"))


def _saved_name(root: Path) -> str:
    """The configuration that `save_to_disk` wrote."""
    for about in sorted(root.glob("*/dataset_info.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return json.loads(about.read_text(encoding="utf-8")).get("config_name") or "default"
    return "default"
