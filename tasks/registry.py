"""All task types. A new one is a folder with `data.py` and `model.py`, and a line here (docs/extending.md)."""

import importlib
from typing import TYPE_CHECKING, Any

from tasks.base import TaskType
from tasks.choice.data import ChoiceType
from tasks.classify.data import ClassifyType
from tasks.mlm.data import MlmType
from tasks.pair.data import PairType
from tasks.span.data import SpanType
from tasks.tag.data import TagType

if TYPE_CHECKING:
    from tasks.head import Head

_TYPES: tuple[TaskType[Any], ...] = (
    ClassifyType(),
    SpanType(),
    ChoiceType(),
    TagType(),
    MlmType(),
    PairType(),
)

TASK_TYPES: dict[str, TaskType[Any]] = {task_type.name: task_type for task_type in _TYPES}


def head_class(name: str) -> "type[Head]":
    """The head of a task type. Imported when it is asked for, because data preparation needs no torch."""
    head: type[Head] = importlib.import_module(f"tasks.{name}.model").Head
    return head
