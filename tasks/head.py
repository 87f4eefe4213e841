"""What the heads of all task types share. A head is a small module with its loss, decoding and dev metrics.

The modules have the shape and parameter names of transformers' own heads where it has them, so that an exported head
loads there. Each reads only the hidden states it needs (m positions of the packed row) and returns scores; `loss` sums
the unit losses, which the plan's weights normalise. Zero rows give a loss of 0 with a complete graph.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig

from common.columns import Columns, as_numbers
from tasks import intervals
from tasks.base import Positions
from tasks.encoding import Row
from tasks.intervals import Interval

Scored = Sequence[tuple[Row, np.ndarray]]  # the rows of one example, each with the scores of the positions read


@dataclass(frozen=True)
class PairGradients:
    """Of the loss summed over a whole step, for n pairs of it. vectors: float32 [m, H], by the vectors of query,

    passage and hard negative; scale: float32 scalar, these pairs' share of that by the scale; units: float32 [n, 2],
    loss and right.
    """

    vectors: Tensor
    scale: Tensor
    units: Tensor


@dataclass(frozen=True)
class Mean:
    """The mean of each of m sequences over its tokens. sizes: int64 [m], at least 1."""

    sizes: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """[sum of sizes, ...] -> [m, ...]."""
        if not len(self.sizes):
            return values
        # Not `index_add`, which is not deterministic on CUDA.
        total = torch.segment_reduce(values.float(), "sum", lengths=self.sizes, unsafe=True)
        return (total / self.sizes[:, None]).to(values.dtype)


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
    mean: for heads of whole sequences that read all of their tokens: `tokens` are then these, m sequences in turn.
    pair: tokens [m], the first of query, passage and, where there is one, hard negative in turn; labels [n], the slot
    among the step's pairs of this task; group [n, 3], the pairs' keys; `pairs`: see `tasks/pair/gradient_caching.py`.
    """

    tokens: Tensor
    labels: Tensor
    group: Tensor
    column: Tensor
    width: int
    counts: np.ndarray
    pairs: PairGradients | None = None
    mean: Mean | None = None

    @classmethod
    def of(cls, read: Positions) -> "HeadRows":
        """The same as tensors."""
        arrays = (read.tokens, read.labels, read.group, read.column)
        tokens, labels, group, column = (torch.from_numpy(as_numbers(array)) for array in arrays)
        width = int(read.counts.max(initial=0)) if len(read.column) else 0
        mean = None if read.sizes is None else Mean(torch.from_numpy(read.sizes))
        return cls(tokens, labels, group, column, width, read.counts, mean=mean)

    def table(self, scores: Tensor) -> Tensor:
        """[m] scores -> [n, width], -inf where a row has no such column."""
        table = scores.new_full((len(self.labels), max(1, self.width)), float("-inf"))
        return table.index_put((self.group, self.column), scores)


class Body:
    """Modules between hidden states and scores, as a transformers class of the encoder's family has them; no state.

    prefix: of their parameters there; reads_pooler: whether the encoder's pooler is among them; late: where whole
    sequences are read, whether the mean is taken of the scores and not of the hidden states. Of a masked language
    model: `output_bias`, what the output layer's bias is called ("": it has none).
    """

    prefix: str = ""
    reads_pooler: bool = False
    late: bool = False
    output_bias: str = ""

    def build(self, head: nn.Module, config: PretrainedConfig, outputs: int) -> None:
        """Gives `head` its modules, under the names of the transformers class; `outputs`: scores per position."""

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        """Scores [m, ...] of hidden states [m, H]. `encoder`: for its pooler or word embeddings."""
        raise NotImplementedError

    def exported(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """`state`, a head's weights under the names of the transformers class, with what is there twice."""
        return state


@dataclass(frozen=True)
class Bodies:
    """The bodies of an encoder family by what they read: a vector of the sequence (`sequence`: for labels or numbers;

    `choice`: for one score; `vector`: as it is), or tokens (`span`, `token`, masked ones: `lm`).
    """

    sequence: Body
    choice: Body
    vector: Body
    span: Body
    token: Body
    lm: Body


class Head(nn.Module):
    """Scores, loss, decoding and dev metrics of one task; its modules are those of `body`.

    reads: the field of `Bodies` with its body; outputs: scores of a position, None: one for each label name.

    auto_class: the transformers class that encoder and head export to; export_config: fields of its config, where the
    task has no label names. outcome: what dev evaluation keeps of an example besides loss, units and units right, by
    name.
    """

    auto_class: ClassVar[str | None] = None
    export_config: ClassVar[Mapping[str, Any]] = {}
    outcome: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str]
    outputs: ClassVar[int | None] = None

    def __init__(self, config: PretrainedConfig, labels: int | None, bodies: Bodies) -> None:
        """A head for an encoder of this config with new weights (linear layers: normal, initializer_range; biases 0).

        labels: how many label names the task has, None: its type has none.
        """
        super().__init__()
        self.body: Body = getattr(bodies, self.reads)
        self.body.build(self, config, self.outputs or labels or 0)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=config.initializer_range)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, hidden: Tensor, encoder: Any, mean: Mean | None = None) -> Tensor:
        """Scores [m, ...] of hidden states [m, H], or with `mean` of those of all tokens of m sequences.

        `encoder`: for heads that read its pooler or word embeddings.
        """
        if mean is None:
            return self.body.scores(self, hidden, encoder)
        if self.body.late:
            return mean(self.body.scores(self, hidden, encoder))
        return self.body.scores(self, mean(hidden), encoder)

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

    def gold_probability(self, losses: Tensor) -> Tensor:
        """Probability of the gold answer of each unit, from its loss."""
        return torch.exp(-losses)

    def visits(self, scores: Tensor, rows: HeadRows) -> Tensor:
        """float32 [n, 2]: of each row the probability of its gold answer, and 1 where that is the best one.

        Of a row of several units their mean over those whose label is known; NaN where there is none.
        """
        losses, right = self.unit_losses(scores.float(), rows)
        known = self.known(rows).float()
        values = torch.stack([self.gold_probability(losses), right], 1) * known[:, None]
        if len(values) != len(rows.counts):
            counts = torch.from_numpy(rows.counts).to(values.device, non_blocking=True)
            values, known = (torch.segment_reduce(v, "sum", lengths=counts, unsafe=True) for v in (values, known))
        return values / known[:, None]

    def set_temperature(self, temperature: float, learned: bool) -> None:
        """Scores are to be divided by `temperature`, which is the start of a `learned` one; for types that have one."""
        raise NotImplementedError

    def export_state(self) -> dict[str, Tensor]:
        """Its weights under the names of the exported model."""
        return self.body.exported({f"{self.body.prefix}{name}": w for name, w in self.state_dict().items()})

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

    def dev_interval(self, score: float, units: np.ndarray, outcomes: np.ndarray, columns: Columns) -> Interval:
        """The 95 % interval over dev examples of `score`, the first of `dev_metrics`, from the same and from

        units: float64 [examples, 2], units and units right of each example.
        """
        return intervals.accuracy(units[:, 1], units[:, 0])


def mean_loss(totals: np.ndarray) -> float:
    """Mean unit loss, from the totals of `Head.dev_metrics`."""
    return float(totals[0] / max(totals[1], 1.0))
