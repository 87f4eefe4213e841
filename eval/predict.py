"""Targets by the head of an intermediate task, directly: no training on the target, English is the only language seen.

Classification takes the highest label; questions take the best span over all windows of a context (`mtl/spans.py`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from data_prep.encode import encode_classify, encode_span
from data_prep.errors import InputError
from data_prep.examples import Classify, Span
from eval.embed import forward
from mtl.savedheads import LoadedHead
from mtl.spans import best_answers


@torch.inference_mode()
def classify(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    head: LoadedHead,
    examples: Sequence[Classify],
    labels: Sequence[str],
    *,
    micro_tokens: int = 16384,
    truncated: Counter[str] | None = None,
    progress: Callable[[int], Any] = lambda n: None,
) -> list[int]:
    """The predicted label of each example, as an index into `labels`.

    The head's own label order may differ; raises `InputError` if its label *names* do.
    """
    names = head.labels or ()
    if sorted(names) != sorted(labels):
        raise InputError(f"head {head.task}: its labels are {', '.join(names)}; the target has {', '.join(labels)}")
    rows = encode_classify(tokenizer, examples, head.max_length, truncated)
    predictions = np.empty(len(examples), dtype=np.int64)
    for group, batch, hidden in forward(encoder, tokenizer, rows, None, micro_tokens):
        logits = head.module(hidden[batch.cu_seqlens[:-1].long()], encoder)
        predictions[group] = logits.argmax(-1).cpu().numpy()
        progress(len(group))
    return [labels.index(names[prediction]) for prediction in predictions]


@torch.inference_mode()
def answer(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    head: LoadedHead,
    examples: Sequence[Span],
    *,
    null_allowed: bool = False,
    micro_tokens: int = 16384,
    truncated: Counter[str] | None = None,
    progress: Callable[[int], Any] = lambda n: None,
) -> list[str]:
    """The answer string of each question; with `null_allowed` "" where `<s>` scores higher than the best span."""
    rows = encode_span(tokenizer, examples, head.max_length, truncated)
    # A question is done with its last window; windows run longest first.
    left = Counter(row["example"] for row in rows)
    logits: list[np.ndarray] = [np.empty(0)] * len(rows)
    for group, batch, hidden in forward(encoder, tokenizer, rows, None, micro_tokens):
        scores = head.module(hidden, encoder).float().cpu().numpy()
        for row, piece in zip(group, np.split(scores, np.cumsum(batch.seq_lengths)[:-1]), strict=True):
            logits[row] = piece
        done = 0
        for row in group:
            left[rows[row]["example"]] -= 1
            done += left[rows[row]["example"]] == 0
        progress(done)
    found = best_answers(
        [piece[:, 0] for piece in logits],
        [piece[:, 1] for piece in logits],
        [row["offset_start"] for row in rows],
        [row["offset_end"] for row in rows],
        [row["example"] for row in rows],
        null_allowed=null_allowed,
    )
    return [found[index].text(example.context) for index, example in enumerate(examples)]
