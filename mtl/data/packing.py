"""From encoded rows to one `PackedBatch`: a single row of tokens, no padding, and what each head reads of it.

    batch = pack([(0, row), (3, row), ...], heads=[("mnli", "classify"), ...], special=special)

T tokens and S sequences in all; positions restart at `padding_idx + 1` in every sequence, as XLM-R was trained
(starting at 0 changes outputs). The choices of a multiple-choice example are separate sequences. Every head gets a
`HeadRows`, possibly of zero rows: all ranks then build the same graph, which ZeRO needs (DESIGN: decision 2).
Sequences are laid out by length, longest first, so that attention can take equal neighbours together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError
from data_prep.encoding.encode import masked_count
from data_prep.storage.columns import Columns, Lists, spread

Row = Mapping[str, Any]  # one encoded row, see data_prep/storage/store.py for the columns


@dataclass(frozen=True)
class Special:
    """The token ids that packing and masking need."""

    bos: int
    eos: int
    pad: int
    mask: int
    vocabulary: int
    others: tuple[int, ...]  # all special ids: never drawn as a random token
    known: np.ndarray | None = field(default=None, compare=False, repr=False)  # bool [ids], `Vocabulary.known`


@dataclass(frozen=True)
class HeadRows:
    """What one head reads in this micro-batch: n rows (examples), m tokens.

    tokens: int64 [m], places in the packed row. classify: the first token of each sequence; choice: the first token of
    every choice; span: all tokens of the sequence; tag, mlm: the labelled tokens.
    labels: int64 [n] (span: [n, 2] start and end, counted in the sequence; tag, mlm: [m]).
    group, place: int64 [m], the row and the column that a token's score belongs to (choice, span; else empty).
    width: how many columns (choice: most choices; span: longest sequence).
    pair: tokens [2n], the first of query and passage in turn; labels [n], the slot among the step's pairs of this task;
    group [n], the key of the passage (equal for equal texts); `pairs`: see `mtl/model/pairs.py`.
    """

    tokens: Tensor
    labels: Tensor
    group: Tensor
    place: Tensor
    width: int
    pairs: "PairGradients | None" = None


@dataclass(frozen=True)
class PairGradients:
    """Of the loss summed over a whole step, for n pairs of it. vectors: float32 [2n, H], by the vectors of query and

    passage; scale: float32 scalar, these pairs' share of that by the scale; units: float32 [n, 2], loss and right.
    """

    vectors: Tensor
    scale: Tensor
    units: Tensor


@dataclass(frozen=True)
class PackedBatch:
    """One micro-batch. `weights`: float32 [heads], factor of each head's summed loss (see mtl/data/plan.py)."""

    input_ids: Tensor  # int64 [1, T]
    position_ids: Tensor  # int64 [1, T]
    cu_seqlens: Tensor  # int32 [S + 1]
    seq_lengths: tuple[int, ...]
    heads: dict[str, HeadRows]
    weights: Tensor

    @property
    def tokens(self) -> int:
        return self.input_ids.shape[1]

    def to(self, device: torch.device | str) -> "PackedBatch":
        target = torch.device(device)
        return _mapped(self, lambda tensor: tensor.to(target, non_blocking=True))

    def pinned(self) -> "PackedBatch":
        """The same in page-locked memory, from which `to` copies while the GPU computes."""
        return _mapped(self, Tensor.pin_memory)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {k: _mapped(v, change) for k, v in value.items()}
    if isinstance(value, PackedBatch | HeadRows | PairGradients):
        return replace(value, **{f.name: _mapped(getattr(value, f.name), change) for f in fields(value)})
    return value


def pack(
    items: Sequence[tuple[int, Row]],
    heads: Sequence[tuple[str, str]],
    special: Special,
    weights: np.ndarray | None = None,
) -> PackedBatch:
    """One micro-batch of `items` = (index into `heads`, encoded row); `heads` = (name, kind).

    mlm rows must have been through `mask_tokens`. No items at all gives a single dummy sequence that no head reads.
    Raises `InputError` for a token whose embedding the run does not train (`mtl/model/trimmed_embeddings.py`).
    """
    groups = []
    for head in sorted({head for head, _ in items}):
        places = np.array([place for place, (owner, _) in enumerate(items) if owner == head])
        groups.append((head, places, columns_of(heads[head][1], [items[place][1] for place in places])))
    return pack_columns(groups, heads, special, weights)


# What each kind reads of a row, besides its tokens.
READ = {
    "classify": ("label",), "choice": ("label",), "span": ("start", "end"), "tag": ("positions", "labels"),
    "mlm": ("positions", "labels"), "pair": ("slot", "passage_key"),
}  # fmt: skip


def columns_of(kind: str, rows: Sequence[Row]) -> Columns:
    """Rows as columns: `input_ids`, `lengths` and what the kind reads."""
    columns: Columns = {}
    for name in ("input_ids", "lengths", *READ[kind]):
        values = [row[name] for row in rows]
        if name in ("input_ids", "lengths", "positions", "labels"):
            arrays = [np.asarray(value, np.int64) for value in values]
            columns[name] = Lists(np.concatenate(arrays), np.array([len(array) for array in arrays], dtype=np.int64))
        else:
            columns[name] = np.array(values, dtype=np.int64)
    return columns


def pack_columns(
    groups: Sequence[tuple[int, np.ndarray, Columns]],
    heads: Sequence[tuple[str, str]],
    special: Special,
    weights: np.ndarray | None = None,
) -> PackedBatch:
    """One micro-batch of `groups` = (index into `heads`, places, columns of the rows), at most one group a head.

    `places`: rising int64 [rows], where each row stands among all of the micro-batch; it decides between sequences of
    equal length. `columns`: `input_ids`, `lengths` and what the kind reads (`READ`). `ValueError` for rows that do not
    add up.
    """
    parts = [_Sequences(places, columns) for _, places, columns in groups]
    if not parts:
        dummy = Lists(np.array([special.bos, special.eos]), np.array([2]))
        parts = [
            _Sequences(np.zeros(1, np.int64), {"input_ids": dummy, "lengths": Lists(np.array([2]), np.array([1]))})
        ]
    sizes = np.concatenate([part.sizes for part in parts])
    order = np.lexsort((np.concatenate([part.places for part in parts]), -sizes))
    laid = sizes[order]
    starts = np.empty(len(sizes), dtype=np.int64)
    starts[order] = np.cumsum(laid) - laid
    inside = spread(np.zeros(len(sizes), np.int64), sizes)
    at = np.repeat(starts, sizes) + inside
    input_ids, positions = np.empty(len(at), dtype=np.int64), np.empty(len(at), dtype=np.int64)
    input_ids[at] = np.concatenate([part.ids for part in parts])
    if special.known is not None and not special.known[input_ids].all():
        raise InputError(f"token {input_ids[~special.known[input_ids]][0]} is in a row, though no prepared row held it")
    positions[at] = inside + special.pad + 1
    read = dict.fromkeys((name for name, _ in heads), _NOTHING)
    first = 0
    for (head, _, columns), part in zip(groups, parts, strict=False):
        name, kind = heads[head]
        read[name] = _read(kind, columns, starts[first : first + len(part.sizes)], part.first)
        first += len(part.sizes)
    if weights is None:
        weights = np.ones(len(heads))
    return PackedBatch(
        input_ids=torch.from_numpy(input_ids)[None],
        position_ids=torch.from_numpy(positions)[None],
        cu_seqlens=torch.from_numpy(np.concatenate([[0], np.cumsum(laid)]).astype(np.int32)),
        seq_lengths=tuple(laid.tolist()),
        heads={name: _head_rows(kind, *read[name]) for name, kind in heads},
        weights=torch.from_numpy(weights.astype(np.float32)),
    )


class _Sequences:
    """The sequences of one group. sizes: int64 [sequences]; places: of the row of each; first: that of each row."""

    def __init__(self, places: np.ndarray, columns: Columns) -> None:
        ids, lengths = columns["input_ids"], columns["lengths"]
        assert isinstance(ids, Lists) and isinstance(lengths, Lists)
        self.ids = ids.values
        self.sizes = lengths.values.astype(np.int64)
        self.first = lengths.ends - lengths.counts
        total = np.concatenate([[0], np.cumsum(self.sizes)])
        if np.any(total[lengths.ends] - total[self.first] != ids.counts) or np.any(lengths.counts < 1):
            raise ValueError("`lengths` and `input_ids` do not add up")
        self.places = np.repeat(places, lengths.counts)


_Read = tuple[
    np.ndarray, np.ndarray, np.ndarray, np.ndarray
]  # tokens, labels, group, counts (per row, to lay out scores)
_NONE = np.zeros(0, np.int64)
_NOTHING: _Read = (_NONE, _NONE, _NONE, _NONE)


def _read(kind: str, columns: Columns, starts: np.ndarray, first: np.ndarray) -> _Read:
    """What a head of `kind` reads of rows whose sequences begin at `starts`; `first`: the first sequence of each."""
    if kind == "pair":
        return starts, np.asarray(columns["slot"]), np.asarray(columns["passage_key"]), _NONE
    if kind == "classify" or kind == "choice":
        label, lengths = columns["label"], columns["lengths"]
        assert isinstance(label, np.ndarray) and isinstance(lengths, Lists)
        return starts, label, _NONE, lengths.counts
    if kind == "span":
        ids = columns["input_ids"]
        assert isinstance(ids, Lists)
        ends = np.stack([np.asarray(columns["start"]), np.asarray(columns["end"])], axis=1)
        return spread(starts[first], ids.counts), ends, _NONE, ids.counts
    places, labels = columns["positions"], columns["labels"]
    assert isinstance(places, Lists) and isinstance(labels, Lists)
    if not np.array_equal(places.counts, labels.counts):
        raise ValueError("`positions` and `labels` do not add up")
    return np.repeat(starts[first], places.counts) + places.values, labels.values, _NONE, _NONE


def _head_rows(kind: str, tokens: np.ndarray, labels: np.ndarray, group: np.ndarray, counts: np.ndarray) -> HeadRows:
    place, width = _NONE, 0
    if kind in ("choice", "span") and len(counts):
        group = np.repeat(np.arange(len(counts)), counts)
        place = spread(np.zeros(len(counts), np.int64), counts)
        width = int(counts.max())
    if kind == "span":
        labels = labels.reshape(-1, 2)
    tensor = [torch.from_numpy(np.ascontiguousarray(part, dtype=np.int64)) for part in (tokens, labels, group, place)]
    return HeadRows(tensor[0], tensor[1], tensor[2], tensor[3], width)


def mask_tokens(row: Row, special: Special, probability: float, key: tuple[int, int, int]) -> dict[str, Any]:
    """A row of kind `mlm` with its masked tokens: adds `positions` and `labels`, returns changed `input_ids`.

    How many are masked depends on the length alone (`masked_count`), so that every rank knows the count of the global
    batch; which ones, on `key` = (seed, step, slot in the global batch). Of the chosen tokens 80 % become <mask>,
    10 % a random token, 10 % stay (Devlin et al. 2019, section 3.1).
    """
    ids = np.array(row["input_ids"], dtype=np.int64)
    seed, step, slot = key
    generator = np.random.Generator(np.random.Philox(key=[_MASKING, seed], counter=[0, slot, step, 0]))
    count = int(masked_count(np.array([len(ids)]), probability)[0])
    positions = np.sort(1 + generator.choice(len(ids) - 2, size=count, replace=False))  # never the row's <s> and </s>
    labels = ids[positions]
    fate = generator.random(count)
    drawn = generator.integers(0, special.vocabulary, size=count)
    drawn = np.where(np.isin(drawn, special.others), special.mask, drawn)
    ids[positions] = np.where(fate < 0.8, special.mask, np.where(fate < 0.9, drawn, labels))
    return {"input_ids": ids, "lengths": row["lengths"], "positions": positions, "labels": labels}


_MASKING = 3


def pack_sequences(sequences: Sequence[Sequence[int] | np.ndarray], special_pad: int) -> PackedBatch:
    """Bare token sequences in one row, *in the order given*, for inference without heads."""
    assert len(sequences) > 0
    sizes = np.array([len(s) for s in sequences])
    positions = np.concatenate([np.arange(n) for n in sizes]) + special_pad + 1
    return PackedBatch(
        input_ids=torch.from_numpy(np.concatenate([np.asarray(s, dtype=np.int64) for s in sequences]))[None],
        position_ids=torch.from_numpy(positions.astype(np.int64))[None],
        cu_seqlens=torch.from_numpy(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)),
        seq_lengths=tuple(int(n) for n in sizes),
        heads={},
        weights=torch.zeros(0),
    )


def batches_by_tokens(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Indices of sequences or rows, longest first, cut into groups of at most `budget` tokens (at least one each)."""
    groups: list[list[int]] = []
    filled = budget
    for index in np.argsort(-np.asarray(lengths), kind="stable"):
        if filled + lengths[index] > budget:
            groups.append([])
            filled = 0
        groups[-1].append(int(index))
        filled += int(lengths[index])
    return [np.array(group) for group in groups]


# On CPU what a block writes should stay in the cache, and below the size from which the C library takes fresh, zeroed
# pages for every tensor; 16,384 tokens at once were 17 to 20 % slower (bench/README.md).
_CPU_TOKENS = 2048


def at_once(micro_tokens: int, device: torch.device) -> int:
    """Tokens of one pass without gradients where `micro_tokens` fit into memory: on CPU at most 2,048 of them."""
    return min(micro_tokens, _CPU_TOKENS) if device.type == "cpu" else micro_tokens
