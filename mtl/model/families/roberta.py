"""RoBERTa and what has its layout: XLM-R, XLM-V, XLM-R XL, CamemBERT, multilingual E5 base and large, BGE-M3."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from mtl.model import attention
from mtl.model.attention import Layout
from mtl.model.families import bodies
from mtl.model.families.base import Family
from tasks.head import Bodies, Body


class Classification(Body):
    """Dropout, dense, tanh, dropout, linear (XLMRobertaClassificationHead)."""

    prefix = "classifier."

    def build(self, head: Any, config: PretrainedConfig, outputs: int) -> None:
        head.dense = nn.Linear(config.hidden_size, config.hidden_size)
        head.dropout = nn.Dropout(bodies.classifier_dropout(config))
        head.out_proj = nn.Linear(config.hidden_size, outputs)

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        return head.out_proj(head.dropout(torch.tanh(head.dense(head.dropout(hidden)))))


class Choice(bodies.Pooled):
    """Its dropout is the encoder's (XLMRobertaForMultipleChoice)."""

    def build(self, head: Any, config: PretrainedConfig, outputs: int) -> None:
        super().build(head, config, outputs)
        head.dropout.p = config.hidden_dropout_prob


class Roberta(Family):
    """Positions are looked up and start after the padding index; XLM-R XL has pre-norm blocks and a final LayerNorm."""

    positions_after_padding = True

    def bodies(self, config: PretrainedConfig) -> Bodies:
        return replace(bodies.pooled(bodies.RobertaLm()), sequence=Classification(), choice=Choice())

    def blocks(self, encoder: Any) -> Any:
        return encoder.encoder.layer

    def rotary(self, encoder: Any, hidden: Tensor, position_ids: Tensor) -> Any:
        return None

    def attend(self, block: Any, hidden: Tensor, rotary: Any, layout: Layout) -> Tensor:
        norm = getattr(block.attention, "self_attn_layer_norm", None)  # XLM-R XL
        return attention.self_attention(block.attention.self, hidden if norm is None else norm(hidden), layout)

    @staticmethod
    def after_attention(block: Any, context: Tensor, hidden: Tensor) -> Tensor:
        return block.feed_forward_chunk(block.attention.output(context, hidden))

    def final(self, encoder: Any, hidden: Tensor) -> Tensor:
        norm = getattr(encoder.encoder, "LayerNorm", None)  # XLM-R XL
        return hidden if norm is None else norm(hidden)


FAMILY = Roberta()
