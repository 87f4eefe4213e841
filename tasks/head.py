"""What the heads of all task types share. A head is a small module with its loss, decoding and dev metrics.

The modules have the shape and parameter names of transformers' own heads where it has them, so that an exported head
loads there. Each reads only the hidden states it needs (m positions of the packed row) and returns scores; `loss` sums
the unit losses, which the plan's weights normalise. Zero rows give a loss of 0 with a complete graph.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig

from common.columns import Columns, as_numbers
from tasks.base import Positions
from tasks.encoding import Row

Scored = Sequence[tuple[Row, np.ndarray]]  # the rows of one example, each with the scores of the positions read


@dataclass(frozen=True)
class PairGradients:
    """Of the loss summed over a whole step, for n pairs of it. vectors: float32 [2n, H], by the vectors of query and

    passage; scale: float32 scalar, these pairs' share of that by the scale; units: float32 [n, 2], loss and right.
    """

    vectors: Tensor
    scale: Tensor
    units: Tensor


@dataclass(frozen=True)
class HeadRows:
    """What one head reads in a micro-batch: n rows, m positions.

    tokens: int64 [m], positions in the packed row. classify: the first token of each sequence; choice: the first token
    of every choice; span: all tokens of the sequence; tag, mlm: the labelled tokens.
    labels: int64 [n] (span: [n, 2] start and end, counted in the sequence; tag, mlm: [m]); float32 where they are real
    numbers.
    group, column: int64 [m], line and column of a token's score in a table (choice, span; else empty).
    width: columns of the table (choice: most choices; span: longest sequence).
    counts: int64 NumPy [n], positions of each row.
    pair: tokens [2n], the first of query and passage in turn; labels [n], the slot among the step's pairs of this task;
    group [n], the key of the passage (equal for equal texts); `pairs`: see `tasks/pair/gradient_caching.py`.
    """

    tokens: Tensor
    labels: Tensor
    group: Tensor
    column: Tensor
    width: int
    counts: np.ndarray
    pairs: PairGradients | None = None

    @classmethod
    def of(cls, read: Positions) -> "HeadRows":
        """The same as tensors."""
        arrays = (read.tokens, read.labels, read.group, read.column)
        tokens, labels, group, column = (torch.from_numpy(as_numbers(array)) for array in arrays)
        width = int(read.counts.max(initial=0)) if len(read.column) else 0
        return cls(tokens, labels, group, column, width, read.counts)

    def table(self, scores: Tensor) -> Tensor:
        """[m] scores -> [n, width], -inf where a row has no such column."""
        table = scores.new_full((len(self.labels), max(1, self.width)), float("-inf"))
        return table.index_put((self.group, self.column), scores)


class Head(nn.Module):
    """Scores, loss, decoding and dev metrics of one task.

    auto_class: the transformers class that encoder and head export to; export_prefix: of this module's parameters
    there; export_config: fields of its config, where the task has no label names. outcome: what dev evaluation keeps
    of an example besides loss, units and units right, by name.
    """

    reads_pooler: ClassVar[bool] = False
    auto_class: ClassVar[str | None] = None
    export_prefix: ClassVar[str] = ""
    export_config: ClassVar[Mapping[str, Any]] = {}
    outcome: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: PretrainedConfig, labels: int | None) -> None:
        """labels: how many label names the task has, None if its type has none."""
        super().__init__()

    @classmethod
    def fresh(cls, config: PretrainedConfig, labels: int | None) -> Self:
        """A head with weights drawn as transformers draws them (normal, initializer_range; biases 0)."""
        head = cls(config, labels)
        for module in head.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=config.initializer_range)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        return head

    def forward(self, hidden: Tensor, encoder: Any) -> Tensor:
        """Scores [m, ...] of hidden states [m, H]. `encoder`: for heads that read its pooler or word embeddings."""
        raise NotImplementedError

    def unit_losses(self, scores: Tensor, rows: HeadRows) -> tuple[Tensor, Tensor]:
        """(loss, 1 where right) of each unit, float32 [u] each; float32 `scores`.

        Here cross-entropy over the last dimension. A label of -1 (unknown to the training data) costs nothing and is
        never right.
        """
        losses = F.cross_entropy(scores, rows.labels, ignore_index=-1, reduction="none")
        return losses, (scores.argmax(-1) == rows.labels).float()

    def known(self, rows: HeadRows) -> Tensor:
        """bool [u]: the units whose label is known, over which the mean loss is taken."""
        return torch.ones(len(rows.labels), dtype=torch.bool, device=rows.labels.device)

    def loss(self, scores: Tensor, rows: HeadRows) -> tuple[Tensor, Tensor, Tensor]:
        """(what to send backward, summed unit losses, units right), float32 scalars, of one micro-batch."""
        losses, right = self.unit_losses(scores.float(), rows)
        total = losses.sum()
        return total, total.detach(), right.sum()

    def export_state(self) -> dict[str, Tensor]:
        """Its weights under the names of the exported model."""
        return {f"{self.export_prefix}{name}": tensor for name, tensor in self.state_dict().items()}

    def decode(self, scored: Scored, example: Any, labels: Sequence[str] | None) -> Any:
        """The prediction for an example from the scores of all of its rows."""
        raise NotImplementedError(f"{type(self).__name__} predicts nothing")

    def outcome_width(self, hidden_size: int) -> int:
        """How many numbers `example_outcome` gives."""
        return len(self.outcome)

    def example_outcome(self, scored: Scored, gold: dict[str, Any] | None, metric: str) -> Sequence[float] | np.ndarray:
        """Of one dev example, the numbers that `outcome` names."""
        return ()

    def dev_metrics(self, totals: np.ndarray, outcomes: np.ndarray, columns: Columns) -> dict[str, float]:
        """Dev metrics, the one that selects the best step first; shares are in [0, 1].

        totals: float64 [4], summed unit losses, units with a known label, units, units right; outcomes: float64
        [examples, outcome_width]; columns: what the task type reads of the rows.
        """
        return {"accuracy": float(totals[3] / totals[2]), "loss": mean_loss(totals)}


def mean_loss(totals: np.ndarray) -> float:
    """Mean unit loss, from the totals of `Head.dev_metrics`."""
    return float(totals[0] / max(totals[1], 1.0))


def classifier_dropout(config: PretrainedConfig) -> float:
    """`classifier_dropout` of the config, or else `hidden_dropout_prob`, as transformers' heads have it."""
    special = getattr(config, "classifier_dropout", None)
    return config.hidden_dropout_prob if special is None else special
