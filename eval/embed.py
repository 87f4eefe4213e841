"""Sentence vectors from any layer of the encoder, by a packed forward pass without padding.

XTREME's sentence vector is the mean over all tokens, `<s>` and `</s>` included, of the output of layer 14 of XLM-R
Large's 24; `default_layer` scales that to other depths. Layers above the one asked for are not computed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from data_prep.encode import encode_classify
from data_prep.examples import Classify
from mtl.batch import PackedBatch, batches_by_tokens, pack_sequences
from mtl.model import encode

MAX_LENGTH = 512  # tokens of a sentence, special ones included: XTREME's limit and XLM-R's own
POOLINGS = ("mean", "mean_no_special", "cls")


def default_layer(depth: int) -> int:
    """14 of 24 (Hu et al. 2020 on XLM-R Large), scaled to `depth` and rounded, at least 1."""
    return max(1, round(14 / 24 * depth))


def embed(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    layer: int,
    pooling: str = "mean",
    max_length: int = MAX_LENGTH,
    micro_tokens: int = 16384,
    truncated: Counter[str] | None = None,
    progress: Callable[[int], Any] = lambda n: None,
) -> np.ndarray:
    """float32 [texts, H]: the pooled output of `layer` (0: the embeddings) of each text, run as a sequence by itself.

    pooling: `mean` over all tokens, `mean_no_special` over those between `<s>` and `</s>` (all, if there are none),
    `cls`: the `<s>` token. `progress` is called with the number of texts done; longer texts are cut and counted.
    """
    assert pooling in POOLINGS, pooling
    max_length = min(max_length, encoder.config.max_position_embeddings - encoder.config.pad_token_id - 1)
    rows = encode_classify(tokenizer, [Classify("", text, None, 0) for text in texts], max_length, truncated)
    vectors = np.empty((len(texts), encoder.config.hidden_size), dtype=np.float32)
    for group, batch, hidden in forward(encoder, tokenizer, rows, layer, micro_tokens):
        vectors[group] = pool(hidden, batch, pooling).cpu().numpy()
        progress(len(group))
    return vectors


@torch.inference_mode()
def forward(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[dict[str, Any]],
    layer: int | None,
    micro_tokens: int,
) -> Iterator[tuple[np.ndarray, PackedBatch, Tensor]]:
    """(indices into `rows`, packed batch, hidden states [T, H]) of groups of at most `micro_tokens` tokens.

    The sequences of a batch stand in the order of its indices; every row is one sequence. The longest come first, so
    that too little memory shows at once.
    """
    padding = tokenizer.pad_token_id
    assert isinstance(padding, int)
    for group in batches_by_tokens(np.array([row["length"] for row in rows]), micro_tokens):
        batch = pack_sequences([rows[i]["input_ids"] for i in group], padding).to(encoder.device)
        yield group, batch, encode(encoder, batch, layer)


def pool(hidden: Tensor, batch: PackedBatch, pooling: str) -> Tensor:
    """Hidden states [T, H] of a packed batch -> float32 [S, H], one vector per sequence."""
    first = batch.cu_seqlens[:-1].long()
    if pooling == "cls":
        return hidden[first].float()
    lengths = torch.tensor(batch.seq_lengths, device=hidden.device)
    hidden = hidden.float()
    if pooling == "mean_no_special":
        weights = torch.ones(len(hidden), device=hidden.device)
        inner = lengths > 2
        weights[first[inner]] = 0
        weights[(first + lengths - 1)[inner]] = 0
        hidden = hidden * weights[:, None]
        lengths = torch.where(inner, lengths - 2, lengths)
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=hidden.device), torch.diff(batch.cu_seqlens))
    sums = hidden.new_zeros(len(lengths), hidden.shape[1]).index_add_(0, owner, hidden)
    return sums / lengths[:, None]
