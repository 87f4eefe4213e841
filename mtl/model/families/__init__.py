"""Encoder families: all that differs between them, a module each; `family_of` finds that of a config.

Which there are is listed in `common/families.py`; docs/extending.md says how to add one.
"""

import importlib
from dataclasses import replace

from transformers import PretrainedConfig

from common.families import FAMILIES
from mtl.model.families import bodies
from mtl.model.families.base import Family
from tasks.encoding import Special
from tasks.head import Head
from tasks.registry import head_class


def family_of(config: PretrainedConfig) -> Family:
    """The family of an encoder's config, one that `common.families.check_family` accepts."""
    return importlib.import_module(f"mtl.model.families.{FAMILIES[config.model_type]}").FAMILY


def fresh_head(kind: str, config: PretrainedConfig, labels: int | None, pooling: str | None = None) -> Head:
    """A new head of a task type for an encoder with this config; `labels`: see `Head`, `pooling`: see `TaskEntry`."""
    found = family_of(config).bodies(config)
    if pooling is not None:  # the mean is taken before (`tasks.head.Mean`)
        found = replace(found, vector=bodies.Pooler() if pooling == "pooler" else bodies.First())
    return head_class(kind)(config, labels, found)


def adapted(special: Special, config: PretrainedConfig) -> Special:
    """`special` (`mtl.data.task_data.special_of`) with what packing needs to know of the encoder."""
    family = family_of(config)
    return replace(
        special,
        first_position=family.first_position(config),
        token_types=special.token_types and getattr(config, "type_vocab_size", 0) > 1,
        whole_sequences=family.reads_whole_sequences(config),
    )
