"""Predictions of a head for the examples of a target: labels, choices, tags of words, answers.

found = predict(encoder, tokenizer, head, examples, shard=(0, 2))       # {index: prediction} of half of them
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from common.columns import Columns
from mtl.data.packing import columns_of
from mtl.data.task_data import special_of
from mtl.evaluation.inference import Shard, score
from mtl.model.families import adapted
from mtl.model.saved_heads import LoadedHead
from tasks.base import Example
from tasks.encoding import Encoding, Row
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
