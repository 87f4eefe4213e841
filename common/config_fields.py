"""Types of the fields of a run config, with limits that catch typing errors.

The limits are not recommendations: they are far beyond realistic values, and within what arithmetic and file system
support.
"""

import json
import os
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import InputError


class Strict(BaseModel):
    """No unknown keys, no NaN or Infinity, booleans only for boolean fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_booleans_for_numbers(cls, values: Any) -> Any:
        # pydantic converts true to 1.
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            if (
                isinstance(value, bool)
                and field is not None
                and bool not in (field.annotation, *get_args(field.annotation))
            ):
                raise ValueError(f"{name}: {str(value).lower()} is neither a number nor a text")
        return values


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
Size = Annotated[int, Field(gt=0, le=2**20)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Shape(Strict):
    """The fields of transformers' XLMRobertaConfig that may be set for an encoder with random weights."""

    hidden_size: Size = 768
    num_hidden_layers: Annotated[int, Field(gt=0, le=1000)] = 12
    num_attention_heads: Size = 12
    intermediate_size: Size = 3072
    max_position_embeddings: Size = 512
    vocab_size: Annotated[int, Field(gt=0, le=2**24)] | None = None
    type_vocab_size: Annotated[int, Field(gt=0, le=100)] = 1
    hidden_act: Literal["gelu", "gelu_new", "relu", "silu", "tanh"] = "gelu"
    layer_norm_eps: Annotated[float, Field(gt=0, lt=1)] = 1e-12
    initializer_range: Annotated[float, Field(ge=0, lt=100)] = 0.02
    hidden_dropout_prob: Probability = 0.1
    attention_probs_dropout_prob: Probability = 0.1
    classifier_dropout: Probability | None = None

    @model_validator(mode="after")
    def _divides(self) -> "Shape":
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of {self.num_attention_heads} heads")
        return self


def shape(values: dict[str, Any]) -> dict[str, Any]:
    """`values`, validated as a `Shape` and converted; `ValueError` otherwise (transformers does not validate)."""
    try:
        checked = Shape.model_validate(values).model_dump()
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            raise ValueError(f"unknown key `{key}`; known: {', '.join(Shape.model_fields)}") from None
        message = problem["msg"].removeprefix("Value error, ")
        raise ValueError(f"{key}: {message}" if key else message) from None
    return {key: checked[key] for key in values if checked[key] is not None}


def check_unicode(where: str, values: Any) -> None:
    """`InputError` if a string in `values` has an unpaired surrogate, which UTF-8 cannot encode."""
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        around = repr(error.object[max(0, error.start - 20) : error.end])
        raise InputError(f"{where}: half of a surrogate pair, which is no character, after {around}") from None
    except RecursionError:
        raise InputError(f"{where}: nested too deeply") from None
