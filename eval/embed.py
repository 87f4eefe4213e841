"""Sentence vectors from any layer of the encoder, by a packed forward pass without padding.

XTREME's sentence vector is the mean over all tokens, `<s>` and `</s>` included, of the output of layer 14 of XLM-R
Large's 24; `default_layer` scales that to other depths. Layers above the one asked for are not computed.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from data_prep.encode import encode_classify
from data_prep.examples import Classify
from mtl.batch import PackedBatch, batches_by_tokens, pack_sequences
from mtl.model import encode

MAX_LENGTH = 512  # tokens of a sentence, special ones included: XTREME's limit and XLM-R's own
BLOCK = 1 << 16  # texts tokenised at once: some 10 kB of memory each
POOLINGS = ("mean", "mean_no_special", "cls", "pooler")


def default_layer(depth: int) -> int:
    """14 of 24 (Hu et al. 2020 on XLM-R Large), scaled to `depth` and rounded, at least 1."""
    return max(1, round(14 / 24 * depth))


def embed(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    layer: int | None,
    pooling: str = "mean",
    max_length: int = MAX_LENGTH,
    micro_tokens: int = 16384,
    share: tuple[int, int] = (0, 1),
    truncated: Counter[str] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(places in `texts` int64 [n], vectors float32 [n, H]) of this share, group by group.

    A vector is the pooled output of `layer` (0: the embeddings, None: the last) of a text run as a sequence by itself.
    pooling: `mean` over all tokens, `mean_no_special` over those between `<s>` and `</s>` (all, if there are none),
    `cls`: the `<s>` token, `pooler`: the encoder's pooler on it, at length 1. Longer texts are cut and counted, those
    of all texts, not of this share alone. Groups are formed over blocks of `BLOCK` texts, which are tokenised one
    after the other, and process `share[0]` of `share[1]` takes its own of each: a vector does not depend on how many
    there are.
    """
    assert pooling in POOLINGS, pooling
    max_length = min(max_length, encoder.config.max_position_embeddings - encoder.config.pad_token_id - 1)
    for begin in range(0, len(texts), BLOCK):
        examples = [Classify("", text, None, 0) for text in texts[begin : begin + BLOCK]]
        rows = encode_classify(tokenizer, examples, max_length, truncated)
        for group, batch, hidden in forward(encoder, tokenizer, rows, layer, micro_tokens, share):
            if pooling == "pooler":
                first = hidden[batch.cu_seqlens[:-1].long()]
                with torch.inference_mode():
                    found = F.normalize(cast(Any, encoder).pooler(first[:, None]).float(), dim=1)
            else:
                found = pool(hidden, batch, pooling)
            yield begin + group, found.cpu().numpy()


def embed_all(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    layer: int | None,
    pooling: str = "mean",
    micro_tokens: int = 16384,
) -> np.ndarray:
    """float32 [texts, H]: `embed` in one array."""
    vectors = np.empty((len(texts), encoder.config.hidden_size), dtype=np.float32)
    for places, some in embed(encoder, tokenizer, texts, layer=layer, pooling=pooling, micro_tokens=micro_tokens):
        vectors[places] = some
    return vectors


@torch.inference_mode()
def forward(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[dict[str, Any]],
    layer: int | None,
    micro_tokens: int,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[np.ndarray, PackedBatch, Tensor]]:
    """(indices into `rows`, packed batch, hidden states [T, H]) of groups of at most `micro_tokens` tokens.

    The sequences of a batch stand in the order of its indices; every row is one sequence. The longest come first, so
    that too little memory shows at once.
    """
    padding = tokenizer.pad_token_id
    assert isinstance(padding, int)
    groups = batches_by_tokens(np.array([row["length"] for row in rows]), micro_tokens)
    for group in groups[share[0] :: share[1]]:
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
