"""EuroBERT: pre-norm blocks with RMSNorm, rotary positions, grouped keys; no pooler and no dropout but attention's."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig

from mtl.model.attention import Layout
from mtl.model.families import bodies
from mtl.model.families.base import Family
from tasks.head import Bodies, Body


@dataclass(frozen=True)
class Classification(Body):
    """Dense, GELU, linear (EuroBertForSequenceClassification)."""

    late: bool

    def build(self, head: nn.Module, config: PretrainedConfig, outputs: int) -> None:
        head.dense = nn.Linear(config.hidden_size, config.hidden_size)
        head.classifier = nn.Linear(config.hidden_size, outputs)

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        return head.classifier(F.gelu(head.dense(hidden)))


class Lm(Body):
    """An output layer and nothing else (EuroBertForMaskedLM)."""

    def build(self, head: nn.Module, config: PretrainedConfig, outputs: int) -> None:
        head.lm_head = bodies.Output(config, config.mlp_bias)

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        return head.lm_head(hidden, encoder)


class EuroBert(Family):
    """transformers has no class for extractive QA and multiple choice; these heads are like its others."""

    gated = True
    hidden_dropout = ()
    attention_dropout = "attention_dropout"
    has_pooler = False

    def bodies(self, config: PretrainedConfig) -> Bodies:
        own = Classification(late=config.classifier_pooling == "late")
        return Bodies(
            sequence=own, choice=own, span=bodies.Questions(), token=bodies.Tokens(), lm=Lm(), vector=bodies.First()
        )

    def embed(self, encoder: Any, input_ids: Tensor, position_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        return encoder.embed_tokens(input_ids)

    def attend(self, block: Any, hidden: Tensor, rotary: Any, layout: Layout) -> Tensor:
        normed = block.input_layernorm(hidden)
        return block.self_attn(normed, position_embeddings=rotary, layout=layout)[0]

    @staticmethod
    def after_attention(block: Any, context: Tensor, hidden: Tensor) -> Tensor:
        hidden = hidden + context
        return hidden + block.mlp(block.post_attention_layernorm(hidden))

    def final(self, encoder: Any, hidden: Tensor) -> Tensor:
        return encoder.norm(hidden)


FAMILY = EuroBert()
