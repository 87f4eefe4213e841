"""What packed forward passes give: predictions of a head (labels, choices, tags, answers), vectors of sentences.

    found = predict(encoder, tokenizer, head, examples, shard=(0, 2))       # {index: prediction} of half of them

XTREME's sentence vector is the mean over all tokens, `<s>` and `</s>` included, of the output of layer 14 of XLM-R
Large's 24; `default_layer` scales that to other depths. Layers above the highest one requested are not computed.

Batches are formed over the whole list of rows, independent of the number of processes. With `shard` = (rank, N) each of
N processes takes every N-th whole batch, so that the results are bitwise identical to those of one process.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from common.columns import Columns
from common.errors import InputError
from eval.suites import MAX_LENGTH
from mtl.data.packing import PackedBatch, columns_of
from mtl.data.task_data import special_of
from mtl.evaluation.inference import Shard, packed, passes, score
from mtl.model.encoder import encode_each
from mtl.model.families import adapted, family_of
from mtl.model.saved_heads import LoadedHead
from tasks.base import Example
from tasks.encoding import Encoding, Row, encode_pairs
from tasks.head import Mean
from tasks.registry import TASK_TYPES


def predict(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    head: LoadedHead,
    examples: Sequence[Example],
    *,
    shard: Shard = (0, 1),
    micro_tokens: int = 16384,
    truncated: Counter[str] | None = None,
    progress: Callable[[int], Any] = lambda n: None,
) -> dict[int, Any]:
    """{index: prediction} of this shard of `examples`, which have the head's task type; see `Head.decode`.

    `truncated` counts truncations in all examples, not only in this shard.
    """
    task_type = TASK_TYPES[head.kind]
    to = Encoding(head.max_length, head.labels, truncated=Counter() if truncated is None else truncated)
    rows = task_type.encode(tokenizer, examples, to)
    owner = np.array([row["example"] for row in rows], dtype=np.int64)
    lengths = np.array([row["length"] for row in rows], dtype=np.int64)
    special = adapted(special_of(tokenizer), encoder.config)
    found: dict[int, Any] = {}
    scored = score(
        encoder,
        head.module,
        head.kind,
        partial(fetch, rows, (*special.columns[2:], *task_type.stored)),
        owner,
        lengths,
        special,
        micro_tokens=micro_tokens,
        shard=shard,
    )
    for one in scored:
        own = [(rows[number], scores) for number, scores in zip(one.rows, one.scores, strict=True)]
        found[one.example] = head.module.decode(own, examples[one.example], head.labels)
        progress(1)
    return found


def fetch(rows: Sequence[Row], names: Sequence[str], numbers: np.ndarray) -> Columns:
    """Encoded rows with these numbers as columns."""
    return columns_of([rows[number] for number in numbers], names)


# Vectors


def default_layer(depth: int) -> int:
    """14 of 24 (Hu et al. 2020 on XLM-R Large), scaled to `depth` and rounded, at least 1."""
    return max(1, round(14 / 24 * depth))


def embed_layers(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    layers: Sequence[int],
    progress: Callable[[int], Any] = lambda n: None,
    **options: Any,
) -> np.ndarray:
    """float32 [layers, texts, H]: the vectors of `embed_batches`, whose other options are taken as well.

    102 MB for 25 layers of 1,000 texts, H = 1024. With a `shard` the rows of other processes are 0, so that processes
    can be summed. `progress` is called with the number of texts done.
    """
    vectors = np.zeros((len(layers), len(texts), encoder.config.hidden_size), dtype=np.float32)
    for indices, pooled in embed_batches(encoder, tokenizer, texts, layers, **options):
        vectors[:, indices] = pooled
        progress(len(indices))
    return vectors


@torch.inference_mode()
def embed_batches(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    layers: Sequence[int],
    *,
    pooling: str = "mean",
    max_length: int = MAX_LENGTH,
    micro_tokens: int = 16384,
    shard: Shard = (0, 1),
    truncated: Counter[str] | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(indices into `texts` int64 [n], vectors float32 [layers, n, H]) of each batch of this shard.

    layers: each once, 0 for the embeddings; all come from one forward pass, of which the device holds one layer of one
    batch of `micro_tokens`. pooling: `mean` over all tokens, `mean_no_special` over those between `<s>` and `</s>`
    (all, if there are none), `cls`: the `<s>` token, `pooler`: the encoder's pooler on `<s>`, as the dual encoders of
    LAReQA and Mewsli-X are scored (`InputError` if it has none). Vectors are not normalised. Longer texts than
    `max_length` tokens are truncated, and counted in `truncated`.
    """
    family = family_of(encoder.config)
    if pooling == "pooler" and getattr(encoder, "pooler", None) is None:
        raise InputError("pooling `pooler`: this encoder has none; use `cls` or `mean`")
    max_length = min(max_length, family.positions(encoder.config))
    to = Encoding(max_length, truncated=Counter() if truncated is None else truncated)
    rows = encode_pairs(tokenizer, [(text, None) for text in texts], to)
    special = adapted(special_of(tokenizer), encoder.config)
    lengths = np.array([row["length"] for row in rows], dtype=np.int64)
    for (indices,) in passes(np.arange(len(rows)), lengths, micro_tokens, encoder.device, shard):
        batch = packed(encoder, partial(fetch, rows, special.columns[2:]), indices, special)
        vectors = np.empty((len(layers), len(indices), encoder.config.hidden_size), dtype=np.float32)
        first = batch.cu_seqlens[:-1].long() if pooling in ("cls", "pooler") else None
        # Only in the last block, so that a layer's vectors do not depend on which other layers are requested.
        last = first if max(layers) == encoder.config.num_hidden_layers else None
        for number, hidden in enumerate(encode_each(encoder, batch, max(layers), last)):
            if number not in layers:
                continue
            if first is None:
                pooled = mean(hidden, batch, pooling == "mean")
            else:
                read = hidden if last is not None and number == max(layers) else hidden[first]
                pooled = read if pooling == "cls" else family.vector(encoder, read)
            vectors[layers.index(number)] = pooled.float().cpu().numpy()
        yield indices, vectors


def mean(hidden: Tensor, batch: PackedBatch, special: bool) -> Tensor:
    """Mean over each sequence of the hidden states [T, H] of a packed batch: float32 [S, H].

    `special`: include `<s>` and `</s>`.
    """
    lengths = torch.tensor(batch.seq_lengths, device=hidden.device)
    if not special:
        inner, kept = lengths > 2, torch.ones(len(hidden), dtype=torch.bool, device=hidden.device)
        ends = batch.cu_seqlens[1:].long()[inner]
        kept[ends - lengths[inner]] = kept[ends - 1] = False
        hidden, lengths = hidden[kept], torch.where(inner, lengths - 2, lengths)
    return Mean(lengths)(hidden.float())
