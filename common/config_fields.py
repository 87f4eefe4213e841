"""Types of the fields of a run config, with limits that catch typing errors.

The limits are not recommendations: they are far beyond realistic values, and within what arithmetic and file system
support.
"""

import difflib
import os
from collections.abc import Iterable
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, ValidationInfo, field_validator, model_validator


class Strict(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """No unknown keys, no NaN or Infinity, booleans only for boolean fields."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        given = values if isinstance(values, dict) and cls.model_config["extra"] == "forbid" else {}
        if unknown := [key for key in given if key not in cls.model_fields]:
            raise ValueError("; ".join(f"unknown key `{key}`; {nearest(key, cls.model_fields)}" for key in unknown))
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic converts true to 1.
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError(f"{str(value).lower()} is neither a number nor a text")
        return value


def _place(text: str) -> str:
    if not text.strip() or "\0" in text or len(os.fsencode(text)) > 1000:
        raise ValueError("expected a path or a name, not empty and of less than 1000 bytes")
    return text


def _name(text: str) -> str:
    if not text.strip() or "/" in text or text in (".", "..") or not text.isprintable() or len(os.fsencode(text)) > 100:
        raise ValueError(f"{text!r} must be a plain folder name of at most 100 bytes")
    return text


Positive = Annotated[int, Field(gt=0, lt=2**31)]
NotNegative = Annotated[float, Field(ge=0, le=1e9)]
Place = Annotated[str, AfterValidator(_place)]
FolderName = Annotated[str, AfterValidator(_name)]


def explain(error: ValidationError) -> str:
    """The first problem with a config in one line."""
    problem, *more = error.errors()
    # What is wrong with a model in a union says more than that the value is not of the other type either.
    inner = [p for p in more if any(str(part)[:1].isupper() for part in p["loc"])]
    problem = next((p for p in inner if len(p["loc"]) > 2 or isinstance(p["input"], dict)), problem)
    message = problem["msg"].removeprefix("Value error, ")
    # Without the member of a union that was tried.
    parts = [p for p in problem["loc"] if not (str(p)[:1].isupper() or str(p).startswith("function-"))]
    return f"{'.'.join(map(str, parts))}: {message}" if parts else message


def nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean `{close[0]}`?" if close else f"known: {', '.join(known)}"
