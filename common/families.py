"""The encoder families that can be trained; known to `data_prep` too, so that no other is prepared for in vain."""

from pathlib import Path

from common.errors import InputError

# RoBERTa-like families whose modules call the attention interface and whose positions start at padding_idx + 1;
# tests/unit/mtl/test_packing.py runs each of them packed against alone.
FAMILIES = ("xlm-roberta", "xlm-roberta-xl", "roberta", "camembert")


def check_family(spec: str | Path, model_type: object) -> None:
    """`InputError` if encoder `spec` is of another family; `model_type`: the one in its config.json."""
    if model_type not in FAMILIES:
        raise InputError(
            f"encoder {spec}: family {model_type!r} has not been tested with packed attention; "
            f"use one of {', '.join(FAMILIES)}"
        )
