"""What is asked of an encoder family. A module of this folder describes one, as `FAMILY`.

The blocks are transformers' own modules; they are called one by one, since heads read few of the last block's
positions, and with attention over packed rows (`mtl/model/attention.py`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor
from transformers import PretrainedConfig

from mtl.model.attention import Layout
from tasks.head import Bodies


class Family(ABC):
    """One family. hidden_dropout, attention_dropout: fields of its config (none: it has no such dropout).

    has_pooler: whether the encoder has a pooler, which then gives the vector of a sequence; otherwise that is its first
    token. positions_after_padding: whether positions start after the padding index, as RoBERTa's, and not at 0.
    gated: whether its MLPs multiply two projections, so that they keep twice as much for the backward pass.
    options: arguments of the constructor of its `AutoModel` class.
    """

    hidden_dropout: ClassVar[Sequence[str]] = ("hidden_dropout_prob",)
    attention_dropout: ClassVar[str] = "attention_probs_dropout_prob"
    has_pooler: ClassVar[bool] = True
    positions_after_padding: ClassVar[bool] = False
    gated: ClassVar[bool] = False
    options: ClassVar[Mapping[str, Any]] = {}

    def first_position(self, config: PretrainedConfig) -> int:
        """The position id of a sequence's first token."""
        return int(config.pad_token_id) + 1 if self.positions_after_padding else 0

    def positions(self, config: PretrainedConfig) -> int:
        """How many tokens a sequence may have."""
        return int(config.max_position_embeddings) - self.first_position(config)

    def window(self, config: PretrainedConfig) -> int | None:
        """Some blocks attend to tokens less than so far away only; None: all attend to the whole sequence."""
        return None

    @abstractmethod
    def bodies(self, config: PretrainedConfig) -> Bodies:
        """What its heads are made of: as in its transformers classes, where there are such."""

    def reads_whole_sequences(self, config: PretrainedConfig) -> bool:
        """Whether heads of whole sequences read all of their tokens, for a mean, and not the first."""
        return getattr(config, "classifier_pooling", "cls") not in ("cls", "bos")

    def embed(self, encoder: Any, input_ids: Tensor, position_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """The input of the first block, [1, T, H], of int64 [1, T]; `token_type_ids` None: all 0."""
        return encoder.embeddings(input_ids=input_ids, position_ids=position_ids, token_type_ids=token_type_ids)

    def blocks(self, encoder: Any) -> Any:
        """Its blocks, a `ModuleList`."""
        return encoder.layers

    def rotary(self, encoder: Any, hidden: Tensor, position_ids: Tensor) -> Any:
        """What `attend` needs to know of positions: computed once for all blocks, from positions in each sequence."""
        return encoder.rotary_emb(hidden, position_ids)

    @abstractmethod
    def attend(self, block: Any, hidden: Tensor, rotary: Any, layout: Layout) -> Tensor:
        """Attention of a block, [1, T, H] -> [1, T, H]: all of it that mixes tokens, and no residual."""

    # A static method: it is compiled as a plain function.
    @staticmethod
    @abstractmethod
    def after_attention(block: Any, context: Tensor, hidden: Tensor) -> Tensor:
        """A block's output from `attend`'s and the block's input `hidden`; each token by itself, [1, n, H] each."""

    def final(self, encoder: Any, hidden: Tensor) -> Tensor:
        """What follows the last block."""
        return hidden

    def vector(self, encoder: Any, hidden: Tensor) -> Tensor:
        """The vectors of sequences, [n, H], from their first tokens' hidden states [n, H]."""
        return encoder.pooler(hidden[:, None]) if self.has_pooler else hidden
