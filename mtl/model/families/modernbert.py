"""ModernBERT: mmBERT base and small. Pre-norm blocks, rotary positions, windows in two blocks of three, no pooler."""

from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.models.modernbert.modeling_modernbert import ModernBertPredictionHead

from mtl.model.attention import Layout
from mtl.model.families import bodies
from mtl.model.families.base import Family
from tasks.head import Bodies, Body


class Classification(Body):
    """Dense, activation, norm, dropout, linear (ModernBertFor...)."""

    def build(self, head: nn.Module, config: Any, outputs: int) -> None:
        head.head = ModernBertPredictionHead(config)
        head.drop = nn.Dropout(config.classifier_dropout)
        head.classifier = nn.Linear(config.hidden_size, outputs)

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        return head.classifier(head.drop(head.head(hidden)))


class Lm(Body):
    """Dense, activation, norm, output (ModernBertForMaskedLM)."""

    output_bias = "decoder.bias"

    def build(self, head: nn.Module, config: Any, outputs: int) -> None:
        head.head = ModernBertPredictionHead(config)
        head.decoder = bodies.Output(config, config.decoder_bias)

    def scores(self, head: Any, hidden: Tensor, encoder: Any) -> Tensor:
        return head.decoder(head.head(hidden), encoder)


class ModernBert(Family):
    """`hidden_dropout_prob` of a run is the dropout of embeddings and MLPs."""

    gated = True
    hidden_dropout = ("embedding_dropout", "mlp_dropout")
    attention_dropout = "attention_dropout"
    has_pooler = False

    def window(self, config: PretrainedConfig) -> int | None:
        return config.sliding_window + 1 if "sliding_attention" in config.layer_types else None

    def bodies(self, config: PretrainedConfig) -> Bodies:
        own = Classification()
        return Bodies(sequence=own, choice=own, span=own, token=own, lm=Lm(), vector=bodies.First())

    def embed(self, encoder: Any, input_ids: Tensor, position_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        return encoder.embeddings(input_ids=input_ids)

    def rotary(self, encoder: Any, hidden: Tensor, position_ids: Tensor) -> Any:
        """By type of layer."""
        types = dict.fromkeys(encoder.config.layer_types)  # of equal order on all ranks
        return {layer_type: encoder.rotary_emb(hidden, position_ids, layer_type) for layer_type in types}

    def attend(self, block: Any, hidden: Tensor, rotary: Any, layout: Layout) -> Tensor:
        normed = block.attn_norm(hidden)
        return block.attn(normed, position_embeddings=rotary[block.attention_type], layout=layout)[0]

    @staticmethod
    def after_attention(block: Any, context: Tensor, hidden: Tensor) -> Tensor:
        hidden = hidden + context
        return hidden + block.mlp(block.mlp_norm(hidden))

    def final(self, encoder: Any, hidden: Tensor) -> Tensor:
        return encoder.final_norm(hidden)


FAMILY = ModernBert()
