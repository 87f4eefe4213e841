"""The encoder families that can be trained; known to `data_prep` too, so that no other is prepared for in vain."""

from pathlib import Path

from common.errors import InputError

# `model_type` of config.json -> module of mtl/model/families/; a new family is a line here and a module there.
FAMILIES = {
    "xlm-roberta": "roberta",
    "xlm-roberta-xl": "roberta",
    "roberta": "roberta",
    "camembert": "roberta",
    "bert": "bert",
    "modernbert": "modernbert",
    "eurobert": "eurobert",
    "gte": "gte",
}
# Their modules compute attention themselves instead of calling transformers' attention interface.
WITHOUT_INTERFACE = ("deberta", "deberta-v2", "rembert")


def check_family(spec: str | Path, model_type: object) -> None:
    """`InputError` if encoder `spec` is of another family; `model_type`: the one in its config.json."""
    if model_type in FAMILIES:
        return
    reason = "has not been tested with packed attention"
    if model_type in WITHOUT_INTERFACE:
        reason = "never calls transformers' attention interface, so its sequences cannot be packed"
    raise InputError(f"encoder {spec}: family {model_type!r} {reason}; use one of {', '.join(FAMILIES)}")
