"""The forward loop of dev evaluation, prediction and embedding: packed, without gradients, sharded over processes.

Passes are formed over the whole list of rows and assigned to the processes afterwards, so what is computed for an
example does not depend on the number of processes. All rows of an example (windows, parts of a sentence) go to one
process.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from common.columns import Columns
from mtl.data.packing import PackedBatch, at_once, by_tokens, pack
from mtl.model.encoder import encode
from tasks.encoding import Special
from tasks.head import Head, HeadRows

Shard = tuple[int, int]  # (index, number of shards)
TOTALS = 4
Fetch = Callable[[np.ndarray], Columns]  # row numbers -> what packing reads of them


@dataclass
class Scored:
    """One example: its rows' numbers, their scores where they are kept, and sums over the rows, float64 [4]:

    unit losses, units with a known label, units, units right.
    """

    example: int
    rows: list[int] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    totals: np.ndarray = field(default_factory=lambda: np.zeros(TOTALS))


def passes(
    examples: np.ndarray, lengths: np.ndarray, micro_tokens: int, device: torch.device, shard: Shard = (0, 1)
) -> Iterator[list[np.ndarray]]:
    """The rows of each forward pass of this shard, in groups of passes that hold whole examples.

    examples, lengths: int [rows], the example of each row (ascending) and its tokens. A pass has at most `micro_tokens`
    tokens, on CPU 2,048, unless one row has more; the longest examples come first, so that too little memory shows at
    once and shards take about equally long.
    """
    index, shards = shard
    if not len(examples):
        return
    budget = at_once(micro_tokens, device)
    starts = np.flatnonzero(np.diff(examples, prepend=examples[0] - 1))
    ends = np.append(starts[1:], len(examples))
    tokens = np.add.reduceat(lengths, starts)
    order = np.argsort(-tokens, kind="stable")
    for group in by_tokens(order, tokens[order], budget)[index::shards]:
        rows = np.concatenate([np.arange(starts[example], ends[example]) for example in group])
        yield by_tokens(rows, lengths[rows], budget)


def packed(
    encoder: PreTrainedModel, fetch: Fetch, rows: np.ndarray, special: Special, heads: Sequence[tuple[str, str]] = ()
) -> PackedBatch:
    """The rows of one pass on the encoder's device; heads: (name, task type) of what reads them, at most one."""
    return pack([(0, np.arange(len(rows)), fetch(rows))], heads, special).to(encoder.device)


@torch.no_grad()
def score(
    encoder: PreTrainedModel,
    head: Head,
    kind: str,
    fetch: Fetch,
    examples: np.ndarray,
    lengths: np.ndarray,
    special: Special,
    *,
    micro_tokens: int,
    shard: Shard = (0, 1),
    keep_scores: bool = True,
    losses: bool = False,
) -> Iterator[Scored]:
    """Every example of this shard, as `head` of task type `kind` scores it; arguments as in `passes`.

    keep_scores: whether `Scored.scores` are filled, float32 [positions read, ...] for each row; losses: whether
    `Scored.totals` are.
    """
    for group in passes(examples, lengths, micro_tokens, encoder.device, shard):
        scored: dict[int, Scored] = {}
        for rows in group:
            batch = packed(encoder, fetch, rows, special, [("head", kind)])
            read = batch.heads["head"]
            scores = head(encode(encoder, batch, tokens=read.tokens), encoder, read.mean).float()
            totals = _totals(head, scores, read) if losses else np.zeros((len(rows), TOTALS))
            cuts = np.cumsum(read.counts)[:-1]
            kept = np.split(scores.cpu().numpy(), cuts) if keep_scores else [None] * len(rows)
            for row, own, sums in zip(rows.tolist(), kept, totals, strict=True):
                example = scored.setdefault(int(examples[row]), Scored(int(examples[row])))
                example.rows.append(row)
                example.totals += sums
                if own is not None:
                    example.scores.append(own)
        yield from scored.values()


def _totals(head: Head, scores: Tensor, read: HeadRows) -> np.ndarray:
    """float64 [rows, 4]: the sums of `Scored.totals` for each row."""
    unit_losses, right = head.unit_losses(scores, read)
    columns = (unit_losses, head.known(read), torch.ones_like(unit_losses), right)
    values = torch.stack([column.double() for column in columns], 1).cpu().numpy()
    owner = np.arange(len(read.counts))
    if len(values) != len(owner):  # a unit for each position read, not for each row
        owner = np.repeat(owner, read.counts)
    totals = np.zeros((len(read.counts), TOTALS))
    np.add.at(totals, owner, values)
    return totals
