"""GTE: mGTE base (gte-multilingual-base), whose own code calls the family `new`. Rotary positions, a pooler.

transformers' class is `GteModel`, model_type `gte`; it has none for extractive QA and multiple choice. Its `AutoModel`
builds no pooler unless it is asked to.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.activations import gelu

from mtl.model.attention import Layout
from mtl.model.families import bodies
from mtl.model.families.base import Family
from tasks.head import Bodies, Body


class GteLm(Body):
    """Dense, gelu, LayerNorm, output (GteLMHead)."""

    prefix = "lm_head."
    output_bias = "decoder.bias"

    def build(self, head: nn.Module, config: PretrainedConfig, outputs: int) -> None:
        head.dense = nn.Linear(config.hidden_size, config.hidden_size)
        head.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        head.decoder = bodies.Output(config, bias=True)

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        return head.decoder(head.layer_norm(gelu(head.dense(hidden))), encoder)


class Gte(Family):
    """Post-norm blocks with gated MLPs."""

    gated = True
    options: ClassVar[Mapping[str, Any]] = {"add_pooling_layer": True}

    def bodies(self, config: PretrainedConfig) -> Bodies:
        return bodies.pooled(GteLm())

    def attend(self, block: Any, hidden: Tensor, rotary: Any, layout: Layout) -> Tensor:
        return block.self_attn(hidden, position_embeddings=rotary, layout=layout)[0]

    @staticmethod
    def after_attention(block: Any, context: Tensor, hidden: Tensor) -> Tensor:
        hidden = block.post_attention_layernorm(hidden + block.post_attention_dropout(context))
        return block.post_mlp_layernorm(hidden + block.post_mlp_dropout(block.mlp(hidden)))


FAMILY = Gte()
