"""The head of masked language modelling."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig
from transformers.activations import gelu

from tasks import head


class Head(head.Head):
    """[m, H] masked tokens -> [m, vocabulary]: dense, gelu, LayerNorm, word embeddings (XLMRobertaLMHead).

    With `tie_word_embeddings` false in the config it has an output matrix of its own, `decoder`.
    """

    auto_class = "AutoModelForMaskedLM"
    export_prefix = "lm_head."

    def __init__(self, config: PretrainedConfig, labels: int | None) -> None:
        super().__init__(config, labels)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        tied = config.tie_word_embeddings
        self.decoder = None if tied else nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, hidden: Tensor, encoder: Any) -> Tensor:
        output = encoder.get_input_embeddings() if self.decoder is None else self.decoder
        return F.linear(self.layer_norm(gelu(self.dense(hidden))), output.weight, self.bias)

    def export_state(self) -> dict[str, Tensor]:
        state = super().export_state()
        return {**state, "lm_head.decoder.bias": state["lm_head.bias"]}
