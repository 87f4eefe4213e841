"""Sentence vectors from any layers of the encoder, by a packed forward pass without padding.

XTREME's sentence vector is the mean over all tokens, `<s>` and `</s>` included, of the output of layer 14 of XLM-R
Large's 24; `default_layer` scales that to other depths. Layers above the highest one asked for are not computed.

The batches are formed over the whole list of rows and know nothing of processes. N processes therefore get the vectors
of one, to the bit, if each takes every N-th whole batch, which is what `share` = (rank, N) says.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from common.errors import InputError
from eval.inference.predict import fetch
from mtl.data.packing import PackedBatch
from mtl.data.task_data import special_of
from mtl.evaluation.inference import Share, packed, passes
from mtl.model.encoder import encode_each
from tasks.encoding import Encoding, encode_texts

MAX_LENGTH = 512  # tokens of a sentence, special ones included: XTREME's limit and XLM-R's own
POOLINGS = ("mean", "mean_no_special", "cls", "pooler")


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
    share: Share = (0, 1),
    truncated: Counter[str] | None = None,
    progress: Callable[[int], Any] = lambda n: None,
) -> np.ndarray:
    """float32 [texts, H]: the pooled output of one layer; everything else as in `embed_layers`."""
    return embed_layers(
        encoder, tokenizer, texts,
        layers=[layer], pooling=pooling, max_length=max_length, micro_tokens=micro_tokens,
        share=share, truncated=truncated, progress=progress,
    )[0]  # fmt: skip


def embed_layers(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    layers: Sequence[int],
    pooling: str = "mean",
    max_length: int = MAX_LENGTH,
    micro_tokens: int = 16384,
    share: Share = (0, 1),
    truncated: Counter[str] | None = None,
    progress: Callable[[int], Any] = lambda n: None,
) -> np.ndarray:
    """float32 [layers, texts, H]: the pooled output of each of `layers` (0: the embeddings), in one pass.

    Every text is a sequence by itself. pooling: `mean` over all tokens, `mean_no_special` over those between `<s>` and
    `</s>` (all, if there are none), `cls`: the `<s>` token, `pooler`: that through the encoder's pooler, as the dual
    encoders of LAReQA and Mewsli-X are scored (`InputError` if it has none). Vectors are not normalised.

    The result takes layers * texts * H * 4 bytes: 102 MB for 25 layers of 1,000 texts, H = 1024; on the device only one
    layer of one batch of `micro_tokens` is held. With a `share` the rows of other processes' batches are 0, so that the
    sum over processes is the whole. `progress` is called with the number of texts done; longer texts are cut, counted.
    """
    vectors = np.zeros((len(layers), len(texts), encoder.config.hidden_size), dtype=np.float32)
    for places, some in _pooled(encoder, tokenizer, texts, layers, pooling, max_length, micro_tokens, share, truncated):
        vectors[:, places] = some
        progress(len(places))
    return vectors


def embed_parts(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    layer: int | None,
    pooling: str = "mean",
    max_length: int = MAX_LENGTH,
    micro_tokens: int = 16384,
    share: Share = (0, 1),
    truncated: Counter[str] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(places in `texts` int64 [n], vectors float32 [n, H]) batch by batch of this share; as `embed`, nothing is kept.

    `layer` None: the last.
    """
    layers = [encoder.config.num_hidden_layers if layer is None else layer]
    for places, some in _pooled(encoder, tokenizer, texts, layers, pooling, max_length, micro_tokens, share, truncated):
        yield places, some[0]


@torch.inference_mode()
def _pooled(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    layers: Sequence[int],
    pooling: str,
    max_length: int,
    micro_tokens: int,
    share: Share,
    truncated: Counter[str] | None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(places in `texts` int64 [n], vectors float32 [layers, n, H]) of each batch of this share."""
    assert pooling in POOLINGS and len(layers) > 0, (pooling, layers)
    pooler: Any = getattr(encoder, "pooler", None)
    if pooling == "pooler" and pooler is None:
        raise InputError("pooling `pooler`: this encoder has none; use `cls` or `mean`")
    max_length = min(max_length, encoder.config.max_position_embeddings - encoder.config.pad_token_id - 1)
    rows = encode_texts(tokenizer, texts, Encoding(max_length, truncated=Counter() if truncated is None else truncated))
    special = special_of(tokenizer)
    lengths = np.array([row["length"] for row in rows], dtype=np.int64)
    for (group,) in passes(np.arange(len(rows)), lengths, micro_tokens, encoder.device, share):
        batch = packed(encoder, partial(fetch, rows, ()), group, special)
        vectors = np.empty((len(layers), len(group), encoder.config.hidden_size), dtype=np.float32)
        first = batch.cu_seqlens[:-1].long() if pooling in ("cls", "pooler") else None
        # Only of the last block: a layer's vectors, to the bit, do not depend on which others are asked for.
        last = first if max(layers) == encoder.config.num_hidden_layers else None
        for number, hidden in enumerate(encode_each(encoder, batch, max(layers), last)):
            if number not in layers:
                continue
            if first is None:
                pooled = mean(hidden, batch, pooling == "mean")
            else:
                read = hidden if last is not None and number == max(layers) else hidden[first]
                pooled = read if pooling == "cls" else pooler(read[:, None])
            places = [place for place, layer in enumerate(layers) if layer == number]
            vectors[places] = pooled.float().cpu().numpy()
        yield group, vectors


def mean(hidden: Tensor, batch: PackedBatch, special: bool) -> Tensor:
    """Mean of the hidden states [T, H] of each sequence of a packed batch, float32 [S, H]; `<s>` and `</s>` or not."""
    first = batch.cu_seqlens[:-1].long()
    lengths = whole = torch.tensor(batch.seq_lengths, device=hidden.device)
    hidden = hidden.float()
    if not special:
        weights = torch.ones(len(hidden), device=hidden.device)
        inner = lengths > 2
        weights[first[inner]] = 0
        weights[(first + lengths - 1)[inner]] = 0
        hidden = hidden * weights[:, None]
        lengths = torch.where(inner, lengths - 2, lengths)
    if hidden.is_cuda:
        # There `index_add_` adds in whatever order its threads come: other last bits each time.
        return torch.segment_reduce(hidden, "sum", lengths=whole, unsafe=True) / lengths[:, None]
    owner = torch.repeat_interleave(torch.arange(len(lengths)), whole)
    sums = hidden.new_zeros(len(lengths), hidden.shape[1]).index_add_(0, owner, hidden)
    return sums / lengths[:, None]
