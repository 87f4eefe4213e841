"""Micro-batches of encoded rows, for tests that compute with a few rows of any task type."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtl.data.packing import PackedBatch, columns_of, pack
from tasks.encoding import Special
from tasks.mlm.data import mask_tokens
from tasks.registry import TASK_TYPES


def pack_rows(
    items: Sequence[tuple[int, Mapping[str, Any]]],
    heads: Sequence[tuple[str, str]],
    special: Special,
    weights: np.ndarray | None = None,
) -> PackedBatch:
    """One micro-batch of `items` = (index into `heads`, encoded row); rows of mlm through `masked`."""
    groups = []
    for head in sorted({head for head, _ in items}):
        places = np.array([place for place, (owner, _) in enumerate(items) if owner == head])
        stored = TASK_TYPES[heads[head][1]].stored
        rows = [dict(items[place][1]) for place in places]
        extra = [name for name in ("positions", "labels", "slot") if name in rows[0] and name not in stored]
        groups.append((head, places, columns_of(rows, (*stored, *extra))))
    return pack(groups, heads, special, weights)


def masked(row: Mapping[str, Any], special: Special, probability: float, key: tuple[int, int, int]) -> dict[str, Any]:
    """A row of masked language modelling as a step with this key reads it."""
    ids, positions, labels = mask_tokens(row["input_ids"], special, probability, key)
    return {"input_ids": ids, "lengths": row["lengths"], "positions": positions, "labels": labels}
