"""One small module per kind of task, with its loss.

The modules have the shape and parameter names of transformers' own `XLMRobertaFor*` heads, so that an exported head
loads there. Each reads only the hidden states it needs (m tokens of the packed row, see `packing.py`) and returns
scores (`encoder`, which two of them need, is a transformers model); `loss` turns scores into the *sum* of the unit
losses, which `mtl/data/plan.py`'s weights normalise. Zero rows give a loss of 0 with a complete graph.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig
from transformers.activations import gelu

from mtl.data.packing import HeadRows


class ClassifyHead(nn.Module):
    """[n, H] first tokens -> [n, labels]: dropout, dense, tanh, dropout, linear (XLMRobertaClassificationHead)."""

    def __init__(self, config: PretrainedConfig, labels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(_dropout(config))
        self.out_proj = nn.Linear(config.hidden_size, labels)

    def forward(self, hidden: Tensor, encoder: Any = None) -> Tensor:
        return self.out_proj(self.dropout(torch.tanh(self.dense(self.dropout(hidden)))))


class ChoiceHead(nn.Module):
    """[m, H] first tokens of every choice -> [m]: encoder's pooler, dropout, linear (XLMRobertaForMultipleChoice)."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: Tensor, encoder: Any) -> Tensor:
        return self.classifier(self.dropout(encoder.pooler(hidden[:, None])))[:, 0]


class SpanHead(nn.Module):
    """[m, H] -> [m, 2] start and end scores (XLMRobertaForQuestionAnswering)."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.qa_outputs = nn.Linear(config.hidden_size, 2)

    def forward(self, hidden: Tensor, encoder: Any = None) -> Tensor:
        return self.qa_outputs(hidden)


class TagHead(nn.Module):
    """[m, H] labelled tokens -> [m, labels]: dropout, linear (XLMRobertaForTokenClassification)."""

    def __init__(self, config: PretrainedConfig, labels: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, labels)

    def forward(self, hidden: Tensor, encoder: Any = None) -> Tensor:
        return self.classifier(self.dropout(hidden))


class PairHead(nn.Module):
    """[m, H] first tokens -> [m, H] of length 1: encoder's pooler, normalised. `logit_scale`: 100 as in XTREME-R."""

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor([100.0]))

    def forward(self, hidden: Tensor, encoder: Any) -> Tensor:
        return F.normalize(encoder.pooler(hidden[:, None]).float(), dim=1)


class MlmHead(nn.Module):
    """[m, H] masked tokens -> [m, vocabulary]: dense, gelu, LayerNorm, word embeddings (XLMRobertaLMHead).

    With `tie_word_embeddings` false in the config it has an output matrix of its own, `decoder`.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        tied = config.tie_word_embeddings
        self.decoder = None if tied else nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, hidden: Tensor, encoder: Any) -> Tensor:
        output = encoder.get_input_embeddings() if self.decoder is None else self.decoder
        return F.linear(self.layer_norm(gelu(self.dense(hidden))), output.weight, self.bias)


def make_head(kind: str, config: PretrainedConfig, labels: int | None) -> nn.Module:
    """A head of `kind` with fresh weights, drawn as transformers draws them (normal, initializer_range; biases 0)."""
    classes: dict[str, Any] = {
        "classify": ClassifyHead,
        "choice": ChoiceHead,
        "span": SpanHead,
        "tag": TagHead,
        "mlm": MlmHead,
        "pair": PairHead,
    }
    head = classes[kind](config, labels) if kind in ("classify", "tag") else classes[kind](config)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return head


def loss(kind: str, scores: Tensor, rows: HeadRows) -> tuple[Tensor, Tensor]:
    """(sum of the unit losses, number of units answered right), float32 scalars.

    Cross-entropy per unit: over labels (classify, tag), vocabulary (mlm), choices of the example (choice); for span
    the mean of the start and the end cross-entropy over all tokens of the window (Devlin et al. 2019, section 4.2),
    right when both are. A label of -1 (unknown to the training set) costs nothing and is never right.
    """
    scores = scores.float()
    if kind == "choice":
        return _entropy(_table(scores, rows), rows.labels)
    if kind == "span":
        start, end = (_table(scores[:, side], rows) for side in (0, 1))
        total = _entropy(start, rows.labels[:, 0])[0] + _entropy(end, rows.labels[:, 1])[0]
        right = (start.argmax(-1) == rows.labels[:, 0]) & (end.argmax(-1) == rows.labels[:, 1])
        return total / 2, right.sum().float()
    return _entropy(scores, rows.labels)


def _entropy(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    total = F.cross_entropy(scores, labels, ignore_index=-1, reduction="sum")
    return total, (scores.argmax(-1) == labels).sum().float()


def _table(scores: Tensor, rows: HeadRows) -> Tensor:
    """[m] scores of tokens -> [n, width], -inf where a row has no such column."""
    table = scores.new_full((len(rows.labels), max(1, rows.width)), float("-inf"))
    return table.index_put((rows.group, rows.place), scores)


def _dropout(config: PretrainedConfig) -> float:
    special = getattr(config, "classifier_dropout", None)
    return config.hidden_dropout_prob if special is None else special
