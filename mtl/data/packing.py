"""From encoded rows to one `PackedBatch`: one unpadded row of tokens, and what each head reads of it.

    batch = pack([(0, numbers, columns), ...], heads=[("mnli", "classify"), ...], special=special)

T tokens and S sequences in all; positions restart in every sequence, at the number that the encoder was trained with
(for XLM-R `padding_idx + 1`; starting at 0 changes outputs). The choices of a multiple-choice example are separate
sequences. Every head gets a `HeadRows`, possibly of zero rows: all ranks then build the same graph, which ZeRO needs
(docs/design.md).
Sequences are ordered by length, longest first, so that attention can batch neighbours of equal length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.columns import Columns, Lists, as_numbers, lists, spread
from common.errors import InputError
from tasks.encoding import Row, Special
from tasks.head import HeadRows, Mean, PairGradients
from tasks.registry import TASK_TYPES


@dataclass(frozen=True)
class PackedBatch:
    """One micro-batch. `weights`: float32 [heads], factor of each head's summed loss (see mtl/data/plan.py)."""

    input_ids: Tensor  # int64 [1, T]
    position_ids: Tensor  # int64 [1, T]
    cu_seqlens: Tensor  # int32 [S + 1]
    seq_lengths: tuple[int, ...]
    heads: dict[str, HeadRows]
    weights: Tensor
    token_type_ids: Tensor | None = None  # int64 [1, T]; None: all 0

    @property
    def tokens(self) -> int:
        return self.input_ids.shape[1]

    def to(self, device: torch.device | str) -> "PackedBatch":
        return _map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "PackedBatch":
        """The same in page-locked memory, from which `to` copies while the GPU computes."""
        return _map_tensors(self, Tensor.pin_memory)


def _map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {k: _map_tensors(v, function) for k, v in value.items()}
    if isinstance(value, PackedBatch | HeadRows | PairGradients | Mean):
        return replace(value, **{f.name: _map_tensors(getattr(value, f.name), function) for f in fields(value)})
    return value


def columns_of(rows: Sequence[Row], names: Sequence[str]) -> Columns:
    """Encoded rows as columns: `input_ids`, `lengths` and those of `names`, int64 or float32."""
    columns: Columns = {}
    for name in ("input_ids", "lengths", *names):
        values = [as_numbers(row[name]) for row in rows]
        if values[0].ndim:
            columns[name] = Lists(np.concatenate(values), np.array([len(value) for value in values], dtype=np.int64))
        else:
            columns[name] = np.array(values)
    return columns


def pack(
    groups: Sequence[tuple[int, np.ndarray, Columns]],
    heads: Sequence[tuple[str, str]],
    special: Special,
    weights: np.ndarray | None = None,
) -> PackedBatch:
    """One micro-batch of `groups` = (index into `heads`, numbers, columns of the rows), at most one group a head.

    numbers: rising int64 [rows], the position of each row among all of the micro-batch; it decides between sequences of
    equal length. columns: those of `special.columns` and what the task type reads, through `TaskType.complete`. No
    groups at all give a single dummy sequence that no head reads. Without `heads` the rows are bare sequences.

    Raises `ValueError` for rows that do not add up, `InputError` for a token whose embedding the run does not train
    (`mtl/model/trimmed_embeddings.py`).
    """
    if groups:
        parts = [_Sequences(numbers, columns, special.token_types) for _, numbers, columns in groups]
    else:
        row = {"input_ids": [special.bos, special.eos], "lengths": [2], "second": [2]}
        dummy = columns_of([row], special.columns[2:])
        parts = [_Sequences(np.zeros(1, np.int64), dummy, special.token_types)]
    sizes = np.concatenate([part.sizes for part in parts])
    order = np.lexsort((np.concatenate([part.numbers for part in parts]), -sizes))
    sorted_sizes = sizes[order]
    ends = np.cumsum(sorted_sizes)
    starts = np.empty(len(sizes), dtype=np.int64)
    starts[order] = ends - sorted_sizes
    offsets = spread(np.zeros(len(sizes), np.int64), sizes)  # of each token in its sequence
    target = np.repeat(starts, sizes) + offsets
    input_ids, position_ids = np.empty_like(target), np.empty_like(target)
    input_ids[target] = np.concatenate([part.ids for part in parts])
    if special.known is not None and not special.known[input_ids].all():
        raise InputError(f"token {input_ids[~special.known[input_ids]][0]} is in a row, though no prepared row held it")
    position_ids[target] = offsets + special.first_position
    token_type_ids = None
    if special.token_types:
        token_type_ids = torch.zeros(1, len(target), dtype=torch.int64)
        second = np.concatenate([part.second for part in parts])
        token_type_ids[0, target] = torch.from_numpy((offsets >= np.repeat(second, sizes)).astype(np.int64))
    read = {name: TASK_TYPES[kind].no_positions() for name, kind in heads}
    first = 0
    for (head, _, columns), part in zip(groups, parts, strict=False):
        if heads:
            name, kind = heads[head]
            found = TASK_TYPES[kind].positions(columns, starts[first : first + len(part.sizes)], part.first)
            if special.whole_sequences and TASK_TYPES[kind].whole:
                length = sorted_sizes[np.searchsorted(ends - sorted_sizes, found.tokens)]
                found = replace(found, tokens=spread(found.tokens, length), sizes=length)
            read[name] = found
        first += len(part.sizes)
    return PackedBatch(
        input_ids=torch.from_numpy(input_ids)[None],
        position_ids=torch.from_numpy(position_ids)[None],
        cu_seqlens=torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32)),
        seq_lengths=tuple(sorted_sizes.tolist()),
        heads={name: HeadRows.of(positions) for name, positions in read.items()},
        weights=torch.ones(len(heads)) if weights is None else torch.from_numpy(weights.astype(np.float32)),
        token_type_ids=token_type_ids,
    )


class _Sequences:
    """The sequences of one group. sizes, numbers, second: int64 [sequences], tokens and number of the row of each, and

    where its second text begins; first: int64 [rows], index of the first sequence of each row.
    """

    def __init__(self, numbers: np.ndarray, columns: Columns, typed: bool) -> None:
        ids, lengths = lists(columns["input_ids"]), lists(columns["lengths"])
        self.ids = ids.values
        self.sizes = lengths.values.astype(np.int64)
        self.first = lengths.starts
        total = np.concatenate([[0], np.cumsum(self.sizes)])
        if np.any(total[lengths.ends] - total[self.first] != ids.counts) or np.any(lengths.counts < 1):
            raise ValueError("`lengths` and `input_ids` do not add up")
        self.numbers = np.repeat(numbers, lengths.counts)
        self.second = lists(columns["second"]).values.astype(np.int64) if typed else self.sizes
        if len(self.second) != len(self.sizes):
            raise ValueError("`lengths` and `second` do not add up")


def by_tokens(rows: np.ndarray, lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """`rows`, of these lengths, cut in their order into groups of at most `budget` tokens (at least one row each)."""
    cuts, filled = [], 0
    for index, length in enumerate(lengths.tolist()):
        if index and filled + length > budget:
            cuts.append(index)
            filled = 0
        filled += length
    return np.split(rows, cuts)


# On CPU the activations of a block should stay in the cache, and below the size from which malloc maps fresh, zeroed
# pages for every tensor; 16,384 tokens at once were 17 to 20 % slower (bench/README.md).
_CPU_TOKENS = 2048


def at_once(micro_tokens: int, device: torch.device) -> int:
    """Tokens of one pass without gradients where `micro_tokens` fit into memory: on CPU at most 2,048 of them."""
    return min(micro_tokens, _CPU_TOKENS) if device.type == "cpu" else micro_tokens
