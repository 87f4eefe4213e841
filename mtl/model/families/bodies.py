"""Bodies of heads that several families share; parameter names are those of the transformers classes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig
from transformers.activations import gelu

from tasks.head import Bodies, Body


def classifier_dropout(config: PretrainedConfig) -> float:
    """`classifier_dropout` of the config, or else `hidden_dropout_prob`, as transformers' heads have it; 0 without."""
    special = getattr(config, "classifier_dropout", None)
    return getattr(config, "hidden_dropout_prob", 0.0) if special is None else special


class Tokens(Body):
    """Dropout, linear (XLMRobertaForTokenClassification)."""

    def build(self, head: Any, config: PretrainedConfig, outputs: int) -> None:
        head.dropout = nn.Dropout(classifier_dropout(config))
        head.classifier = nn.Linear(config.hidden_size, outputs)

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        return head.classifier(head.dropout(hidden))


class Pooled(Tokens):
    """The encoder's pooler, dropout, linear (BertForSequenceClassification, BertForMultipleChoice)."""

    reads_pooler = True

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        return super().scores(head, encoder.pooler(hidden[:, None]), encoder)


class Questions(Body):
    """Start and end scores by one linear layer (XLMRobertaForQuestionAnswering)."""

    def build(self, head: Any, config: PretrainedConfig, outputs: int) -> None:
        head.qa_outputs = nn.Linear(config.hidden_size, outputs)

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        return head.qa_outputs(hidden)


class Pooler(Body):
    """The encoder's pooler alone, without parameters of the head's."""

    reads_pooler = True

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        return encoder.pooler(hidden[:, None])


class First(Body):
    """The first token's hidden state as it is."""

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        return hidden


class Output(nn.Module):
    """The output layer of an LM head: the encoder's word embeddings as weights, or its own if they are not tied."""

    def __init__(self, config: PretrainedConfig, bias: bool) -> None:
        super().__init__()
        size = (config.vocab_size, config.hidden_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size)) if bias else None
        self.weight = None if config.tie_word_embeddings else nn.Parameter(torch.empty(size))
        if self.weight is not None:
            nn.init.normal_(self.weight, std=config.initializer_range)

    def forward(self, hidden: Tensor, encoder: Any) -> Tensor:
        weight = encoder.get_input_embeddings().weight if self.weight is None else self.weight
        return F.linear(hidden, weight, self.bias)


class SharedBiasLm(Body):
    """An LM head whose `bias` is also the output layer's: with the word embeddings as output matrix, or its own."""

    output_bias = "bias"

    def build(self, head: Any, config: PretrainedConfig, outputs: int) -> None:
        head.bias = nn.Parameter(torch.zeros(config.vocab_size))
        tied = config.tie_word_embeddings
        head.decoder = None if tied else nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def transformed(self, head: Any, hidden: Tensor) -> Tensor:
        """What the output layer reads."""
        raise NotImplementedError

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        output = encoder.get_input_embeddings() if head.decoder is None else head.decoder
        return F.linear(self.transformed(head, hidden), output.weight, head.bias)

    def exported(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**state, f"{self.prefix}decoder.bias": state[f"{self.prefix}bias"]}


class RobertaLm(SharedBiasLm):
    """Dense, gelu, LayerNorm, output (XLMRobertaLMHead)."""

    prefix = "lm_head."

    def build(self, head: Any, config: PretrainedConfig, outputs: int) -> None:
        head.dense = nn.Linear(config.hidden_size, config.hidden_size)
        head.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        super().build(head, config, outputs)

    def transformed(self, head: Any, hidden: Tensor) -> Tensor:
        return head.layer_norm(gelu(head.dense(hidden)))


def pooled(lm: Body) -> Bodies:
    """Bodies of a family whose heads of whole sequences read the encoder's pooler, with its own LM head."""
    return Bodies(sequence=Pooled(), choice=Pooled(), span=Questions(), token=Tokens(), lm=lm, vector=Pooler())
