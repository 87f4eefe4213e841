"""What translates sentences: a model of transformers, or an object of a user's own module."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

from common.errors import InputError


class System(Protocol):
    """A translation system. `revision` changes with whatever changes its output; `licence` is that of its output."""

    name: str
    revision: str
    licence: str

    def check(self, source: str, target: str) -> None:
        """`InputError` for a direction (codes as in `common/languages.py`) that it does not know."""

    def length(self, text: str) -> int:
        """Tokens of a text, by which batches are made."""

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str | None]:
        """Their translations; None where it came to no end."""


def open_system(model: str, beams: int) -> System:
    """The system that --model names: a folder or Hub id of a model, or MODULE:ATTRIBUTE, an object in Python code."""
    module, separator, attribute = model.partition(":")
    if separator and not Path(model).exists():
        try:
            return cast(System, getattr(importlib.import_module(module), attribute))
        except (ImportError, AttributeError) as error:
            raise InputError(f"--model {model}: {error}; expected a folder, a Hub id or MODULE:ATTRIBUTE") from None
    from data_prep.translation.seq2seq import Seq2Seq

    return Seq2Seq(model, beams)
