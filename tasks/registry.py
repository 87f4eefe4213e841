"""All task types. A new one is a folder with `data.py` (its `Type`) and `model.py` (its `Head`), and a line here.

docs/extending.md walks through one.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tasks.base import TaskType

if TYPE_CHECKING:
    from tasks.head import Head

NAMES = (
    "classify",
    "span",
    "choice",
    "tag",
    "mlm",
    "pair",
    "regress",
)

TASK_TYPES: dict[str, TaskType[Any]] = {name: importlib.import_module(f"tasks.{name}.data").Type() for name in NAMES}


def head_class(name: str) -> "type[Head]":
    """The head of a task type. Imported when it is asked for, because data preparation needs no torch."""
    return importlib.import_module(f"tasks.{name}.model").Head
