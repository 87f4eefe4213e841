"""One module a dataset; all of them are collected here, so that a new one is a new file and nothing else.

A module defines `TRAINING` (a `Dataset` or several), `TEST` (the test data of a target) and `TASKS`, the tasks that a
run config may name; each may be missing. What stands in them: `schema.py`.

DATASETS    training data by name                   TASKS       the named tasks (those of Phang et al. 2020 among them,
TEST_SETS   the test data of the targets by name                arXiv 2005.13013) by name
REVISIONS   commits of the Hub's repositories       SHA256      published sums of upstream files by file name
"""

import importlib
import pkgutil
from typing import Any

from data_prep.datasets.schema import Dataset, Task


def _all(name: str) -> tuple[Any, ...]:
    values = (getattr(module, name, ()) for module in _MODULES)
    return tuple(item for value in values for item in (value if isinstance(value, tuple) else (value,)))


_MODULES = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _all("TRAINING")}
TEST_SETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _all("TEST")}
TASKS: dict[str, Task] = {task.name: task for task in _all("TASKS")}

_EVERY = (*DATASETS.values(), *TEST_SETS.values())
# Datasets may share a repository: one that names no revision leaves those of the others in force.
REVISIONS: dict[str, str | None] = {
    **{copy.id: copy.revision for dataset in _EVERY for copy in dataset.hub if copy.revision},
    **{dataset.hub_files[0]: dataset.hub_files[1] for dataset in _EVERY if dataset.hub_files is not None},
}
SHA256 = {name: value for dataset in _EVERY for files in dataset.files for name, value in files.sha256.items()}
