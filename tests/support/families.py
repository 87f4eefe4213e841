"""Tiny encoders of every family, and what tests need to know of each."""

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from common.families import FAMILIES
from tests.support.small import SHAPE

NEW = [family for family in FAMILIES if FAMILIES[family] != "roberta"]
# modernbert: windows shorter than most sequences, blocks of both types. eurobert: two heads to a key.
MORE: dict[str, dict[str, Any]] = {
    "modernbert": {"num_hidden_layers": 4, "local_attention": 8},
    "eurobert": {"num_key_value_heads": 2},
}
IDS = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}


def shape(family: str, **fields: Any) -> dict[str, Any]:
    """Fields of the config of a tiny encoder, for an encoder with random weights too."""
    return {**SHAPE, **MORE.get(family, {}), **fields}


def config(family: str, **fields: Any) -> PretrainedConfig:
    """The config of a tiny encoder of 90 tokens, with large weights and no dropout in the encoder."""
    ids = {**IDS, "cls_token_id": 0, "sep_token_id": 2, "mask_token_id": 89, "vocab_size": 90, "initializer_range": 0.2}
    known = type(AutoConfig.for_model(family))().to_dict()
    values = {**ids, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **shape(family), **fields}
    return AutoConfig.for_model(family, **{name: value for name, value in values.items() if name in known})
