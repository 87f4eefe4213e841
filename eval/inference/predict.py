"""What a head says of the examples of a target: labels, choices, tags of words, answers.

    found = predict(encoder, tokenizer, head, examples, share=(0, 2))       # {index: prediction}, of half of them

Examples are grouped once over the whole list and whole groups are dealt to the processes, so what is computed for an
example does not depend on how many processes there are. All sequences of an example (choices, windows, parts of a
sentence) are in one group.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from data_prep.encoding.encode import Row, encode
from data_prep.examples import Example, Span
from mtl.data.packing import at_once, batches_by_tokens, pack_sequences
from mtl.model import encoder as model
from mtl.model.saved_heads import LoadedHead
from tasks.span.squad import best_answers

Share = tuple[int, int]  # (number of this process, how many there are)
Scored = list[tuple[Row, np.ndarray]]


def predict(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    head: LoadedHead,
    examples: Sequence[Example],
    *,
    share: Share = (0, 1),
    micro_tokens: int = 16384,
    truncated: Counter[str] | None = None,
    progress: Callable[[int], Any] = lambda n: None,
) -> dict[int, Any]:
    """{index: prediction} of this share of `examples`, which must be of the head's kind.

    classify: a label name of the head; choice: the index of the choice; tag: a label name of the head for every word;
    span: the answer string (never none: the targets have no unanswerable questions). `truncated` counts what was cut
    in all examples, not in this share alone.
    """
    rows = encode(head.kind, tokenizer, examples, head.max_length, head.labels, truncated)
    units: list[list[Row]] = [[] for _ in examples]
    for row in rows:
        units[row["example"]].append(row)
    found: dict[int, Any] = {}
    for index, scored in _scores(encoder, tokenizer, head, units, micro_tokens, share):
        found[index] = _DECODE[head.kind](head, examples[index], scored)
        progress(1)
    return found


@torch.inference_mode()
def _scores(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    head: LoadedHead,
    units: Sequence[Sequence[Row]],
    micro_tokens: int,
    share: Share,
) -> Iterator[tuple[int, Scored]]:
    """(index of an example, [(row, scores of the places that the head reads)]) of this share."""
    padding = tokenizer.pad_token_id
    assert isinstance(padding, int)
    totals = np.array([sum(row["length"] for row in unit) for unit in units])
    budget = at_once(micro_tokens, encoder.device)
    for group in batches_by_tokens(totals, budget)[share[0] :: share[1]]:
        members = [(int(index), row) for index in group for row in units[index]]
        scored: dict[int, Scored] = {int(index): [] for index in group}
        for part in _within(members, budget):
            pieces = [piece for _, row in part for piece in _sequences(row)]
            batch = pack_sequences(pieces, padding).to(encoder.device)
            places, sizes = _read(head.kind, [row for _, row in part])
            hidden = model.encode(encoder, batch, tokens=places.to(encoder.device))
            scores = head.module(hidden, encoder).float().cpu().numpy()
            for (index, row), own in zip(part, np.split(scores, np.cumsum(sizes)[:-1]), strict=True):
                scored[index].append((row, own))
        yield from scored.items()


def _within(members: list[tuple[int, Row]], budget: int) -> Iterator[list[tuple[int, Row]]]:
    """`members` in order, cut where they exceed the budget: one long example alone may."""
    part: list[tuple[int, Row]] = []
    filled = 0
    for member in members:
        if part and filled + member[1]["length"] > budget:
            yield part
            part, filled = [], 0
        part.append(member)
        filled += member[1]["length"]
    yield part


def _sequences(row: Row) -> list[np.ndarray]:
    return np.split(row["input_ids"], np.cumsum(row["lengths"])[:-1])


def _read(kind: str, rows: Sequence[Row]) -> tuple[torch.Tensor, list[int]]:
    """(places int64 in the packed row that the head reads, how many of each row)."""
    places, first = [], 0
    for row in rows:
        if kind == "span":
            mine = np.arange(row["length"])
        elif kind == "tag":
            mine = np.asarray(row["positions"])
        else:
            mine = np.cumsum(row["lengths"]) - row["lengths"]
        places.append(first + mine)
        first += row["length"]
    return torch.from_numpy(np.concatenate(places).astype(np.int64)), [len(mine) for mine in places]


def _label(head: LoadedHead, example: Example, scored: Scored) -> str:
    assert head.labels is not None
    return head.labels[int(scored[0][1][0].argmax())]


def _choice(head: LoadedHead, example: Example, scored: Scored) -> int:
    return int(scored[0][1].argmax())


def _tags(head: LoadedHead, example: Example, scored: Scored) -> list[str]:
    assert head.labels is not None
    return [head.labels[int(number)] for _, scores in scored for number in scores.argmax(-1)]


def _answer(head: LoadedHead, example: Example, scored: Scored) -> str:
    assert isinstance(example, Span)
    answers = best_answers(
        [scores[:, 0] for _, scores in scored],
        [scores[:, 1] for _, scores in scored],
        [row["offset_start"] for row, _ in scored],
        [row["offset_end"] for row, _ in scored],
        [0] * len(scored),
    )
    return answers[0].text(example.context)


_DECODE: dict[str, Callable[[LoadedHead, Example, Scored], Any]] = {
    "classify": _label, "choice": _choice, "tag": _tags, "span": _answer,
}  # fmt: skip
