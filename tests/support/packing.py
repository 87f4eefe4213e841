"""Micro-batches of encoded rows, for tests that compute with a few rows of any task type."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mtl.data.packing import PackedBatch, columns_of, pack
from tasks.encoding import Special
from tasks.mlm.data import mask_tokens
from tasks.registry import TASK_TYPES


def pack_rows(
    items: Sequence[tuple[int, Mapping[str, Any]]], heads: Sequence[tuple[str, str]], special: Special
) -> PackedBatch:
    """One micro-batch of `items` = (index into `heads`, encoded row); rows of mlm through `mask_row`."""
    groups = []
    for head in sorted({head for head, _ in items}):
        places = np.array([place for place, (owner, _) in enumerate(items) if owner == head])
        stored = TASK_TYPES[heads[head][1]].stored
        rows = [dict(items[place][1]) for place in places]
        made = ("positions", "labels", "slot", "slot_of_whole")
        extra = [name for name in made if name in rows[0] and name not in stored]
        groups.append((head, places, columns_of(rows, (*special.columns[2:], *stored, *extra))))
    return pack(groups, heads, special)


def mask_row(row: Mapping[str, Any], special: Special, probability: float, key: tuple[int, int, int]) -> dict[str, Any]:
    """A row of masked language modelling as a step with this key reads it."""
    ids, positions, labels = mask_tokens(row["input_ids"], special, probability, key)
    return {"input_ids": ids, "lengths": row["lengths"], "positions": positions, "labels": labels}


def pack_sequences(sequences: Sequence[Sequence[int] | np.ndarray], pad: int) -> PackedBatch:
    """Bare token sequences in one row, in the order given."""
    sizes = np.array([len(sequence) for sequence in sequences])
    positions = np.concatenate([np.arange(n) for n in sizes]) + pad + 1
    return PackedBatch(
        input_ids=torch.from_numpy(np.concatenate([np.asarray(s, dtype=np.int64) for s in sequences]))[None],
        position_ids=torch.from_numpy(positions.astype(np.int64))[None],
        cu_seqlens=torch.from_numpy(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)),
        seq_lengths=tuple(sizes.tolist()),
        heads={},
        weights=torch.zeros(0),
    )
