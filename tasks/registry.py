"""All task types. A new one is a folder with `data.py` (its `Type`) and `model.py` (its `Head`), and a line here.

docs/extending.md walks through one.
"""

import importlib
from typing import Any

from tasks.base import TaskType

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


def head_class(name: str) -> Any:
    """The class of a task type's head, a `tasks.head.Head`; imported only now, as data preparation needs no torch."""
    return importlib.import_module(f"tasks.{name}.model").Head
