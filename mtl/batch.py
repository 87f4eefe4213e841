"""From encoded rows to one `PackedBatch`: a single row of tokens, no padding, and what each head reads of it.

    batch = pack([(0, row), (3, row), ...], heads=[("mnli", "classify"), ...], special=special)

T tokens and S sequences in all; positions restart at `padding_idx + 1` in every sequence, as XLM-R was trained
(starting at 0 changes outputs). The choices of a multiple-choice example are separate sequences. Every head gets a
`HeadRows`, possibly of zero rows: all ranks then build the same graph, which ZeRO needs (DESIGN: decision 2).
Sequences are laid out by length, longest first, so that attention can take equal neighbours together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.encode import masked_count
from data_prep.errors import InputError

Row = Mapping[str, Any]  # one encoded row, see data_prep/store.py for the columns


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
    group [n], the key of the passage (equal for equal texts); `pairs`: see `mtl/pairs.py`.
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
    """One micro-batch. `weights`: float32 [heads], factor of each head's summed loss (see mtl/plan.py)."""

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
        return _to(self, torch.device(device))


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {k: _to(v, device) for k, v in value.items()}
    if isinstance(value, PackedBatch | HeadRows | PairGradients):
        return replace(value, **{f.name: _to(getattr(value, f.name), device) for f in fields(value)})
    return value


def pack(
    items: Sequence[tuple[int, Row]],
    heads: Sequence[tuple[str, str]],
    special: Special,
    weights: np.ndarray | None = None,
) -> PackedBatch:
    """One micro-batch of `items` = (index into `heads`, encoded row); `heads` = (name, kind).

    mlm rows must have been through `mask_tokens`. No items at all gives a single dummy sequence that no head reads.
    Raises `InputError` for a token whose embedding the run does not train (`mtl/vocabulary.py`).
    """
    pieces: list[np.ndarray] = []
    for _, row in items:
        ids = np.asarray(row["input_ids"])
        lengths = row["lengths"]
        pieces.extend([ids] if len(lengths) == 1 else np.split(ids, np.cumsum(lengths)[:-1]))
    if not pieces:
        pieces = [np.array([special.bos, special.eos])]
    sizes = np.array([len(piece) for piece in pieces])
    order = np.argsort(-sizes, kind="stable")
    starts = np.empty(len(pieces), dtype=np.int64)
    starts[order] = np.cumsum(sizes[order]) - sizes[order]

    readers = [_Reader() for _ in heads]
    sequence = 0
    for head, row in items:
        count = len(row["lengths"])
        readers[head].add(heads[head][1], row, starts[sequence : sequence + count])
        sequence += count
    laid = [pieces[i] for i in order]
    ids = np.concatenate(laid).astype(np.int64)
    if special.known is not None and not special.known[ids].all():
        raise InputError(f"token {ids[~special.known[ids]][0]} is in a row, though no prepared row held it")
    positions = np.concatenate([np.arange(len(piece)) for piece in laid]) + special.pad + 1
    cu_seqlens = np.concatenate([[0], np.cumsum(sizes[order])])
    if weights is None:
        weights = np.ones(len(heads))
    return PackedBatch(
        input_ids=torch.from_numpy(ids)[None],
        position_ids=torch.from_numpy(positions.astype(np.int64))[None],
        cu_seqlens=torch.from_numpy(cu_seqlens.astype(np.int32)),
        seq_lengths=tuple(int(size) for size in sizes[order]),
        heads={name: reader.rows(kind) for (name, kind), reader in zip(heads, readers, strict=True)},
        weights=torch.from_numpy(weights.astype(np.float32)),
    )


class _Reader:
    """Collects what one head reads."""

    def __init__(self) -> None:
        self.tokens: list[np.ndarray] = []
        self.labels: list[Any] = []
        self.keys: list[int] = []

    def add(self, kind: str, row: Row, starts: np.ndarray) -> None:
        if kind == "classify" or kind == "choice":
            self.tokens.append(starts)
            self.labels.append([row["label"]])
        elif kind == "span":
            self.tokens.append(starts[0] + np.arange(len(row["input_ids"])))
            self.labels.append([[row["start"], row["end"]]])
        elif kind == "pair":
            self.tokens.append(starts)
            self.labels.append([row["slot"]])
            self.keys.append(row["passage_key"])
        else:
            self.tokens.append(starts[0] + np.asarray(row["positions"], dtype=np.int64))
            self.labels.append(row["labels"])

    def rows(self, kind: str) -> HeadRows:
        tokens = np.concatenate([np.zeros(0, np.int64), *self.tokens]).astype(np.int64)
        empty = np.zeros((0, 2) if kind == "span" else 0, np.int64)
        labels = np.concatenate([empty, *self.labels]).astype(np.int64)
        group = place = np.zeros(0, np.int64)
        width = 0
        if kind in ("choice", "span") and self.tokens:
            counts = [len(t) for t in self.tokens]
            group = np.repeat(np.arange(len(counts)), counts)
            place = np.concatenate([np.arange(c) for c in counts])
            width = max(counts)
        if kind == "pair":
            group = np.array(self.keys, dtype=np.int64)
        tensor = torch.from_numpy
        return HeadRows(tensor(tokens), tensor(labels), tensor(group), tensor(place), width)


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
