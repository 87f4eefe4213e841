"""BERT: multilingual E5 small, Multilingual MiniLM, mBERT, LaBSE. Laid out as RoBERTa; positions start at 0.

The pad id of config.json may be another than the tokenizer's (multilingual E5 small: 0 and 1). Packed rows have no
padding; as in transformers the row of that id in the word embeddings gets no gradient.
"""

from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

from mtl.model.families import bodies
from mtl.model.families.roberta import Roberta
from tasks.head import Bodies


class BertLm(bodies.SharedBiasLm):
    """Dense, activation, LayerNorm, output (BertLMPredictionHead)."""

    prefix = "cls.predictions."

    def build(self, head: nn.Module, config: PretrainedConfig, outputs: int) -> None:
        head.transform = BertPredictionHeadTransform(config)
        super().build(head, config, outputs)

    def transformed(self, head: Any, hidden: Tensor) -> Tensor:
        return head.transform(hidden)


class Bert(Roberta):
    """Its classification head reads the pooler."""

    positions_after_padding = False

    def bodies(self, config: PretrainedConfig) -> Bodies:
        return bodies.pooled(BertLm())


FAMILY = Bert()
