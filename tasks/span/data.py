"""Extractive question answering: a question, a context, and answers that are spans of it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from common import fields
from common.columns import Columns, lists, plain, spread
from common.errors import InputError
from tasks.base import Positions, TaskType, Translation
from tasks.encoding import INT, INTS, Encoding, Pieces, Row, encodings, make_row, template_of, tokenize

QUESTION_TOKENS = 64  # Phang et al. 2020 and the SQuAD scripts before them
STRIDE = 128  # tokens that two neighbouring windows share, as `stride` of transformers
WORD_MARKS = "\u2581\u0120"  # how pieces mark the start of a word: XLM-R's, RoBERTa's


@dataclass(frozen=True, slots=True)
class Span:
    """A question about a context. `answers` holds (text, first character in `context`); none: unanswerable."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


class Type(TaskType[Span]):
    """`<s> question </s></s> window </s>`, one row per window of the context; the head reads every token."""

    metrics = ("squad", "squad_v2")
    columns = (("start", INT), ("end", INT))
    dev_columns = (("offset_start", INTS), ("offset_end", INTS))
    translatable = True
    dynamics = True
    gold = pa.schema(
        {"example": pa.int32(), "id": pa.string(), "context": pa.large_string(), "answers": pa.list_(pa.string())}
    )

    def from_row(self, row: fields.RawRow, where: str, labels: fields.Labels) -> Span:
        # Predictions are kept by id, so a row without one is named by its position in the file.
        name = str(row["id"]) if row.get("id") is not None else where.rsplit(": ", 1)[-1]
        question, context = fields.text(row, "question", where), fields.text(row, "context", where)
        return Span(name, question, context, fields.answers(row, "start", where))

    def validate(self, example: Span, where: str, labels: Sequence[str] | None = None) -> None:
        fields.check_text(example.question, "question", where)
        fields.check_text(example.context, "context", where)
        for number, (text, start) in enumerate(example.answers):
            _check_answer(example.context, text, start, f"{where}: field `answers`, number {number + 1}")

    def identity(self, example: Span) -> dict[str, str]:
        return {"question": example.question, "context": example.context}

    def translated(self, example: Span, labels: fields.Labels, to: Translation) -> dict[str, Any]:
        """With the first answer, as in training."""
        row: dict[str, Any] = {"id": example.id, "question": to.text(example.question), "answers": []}
        if not example.answers:
            return {**row, "context": to.text(example.context)}
        context, answer, start = to.span(example.context, *example.answers[0])
        return {**row, "context": context, "answers": [{"text": answer, "start": start}]}

    def encode(self, tokenizer: Pieces, examples: Sequence[Span], to: Encoding) -> list[Row]:
        """Adds start, end (int: token positions in the row, inclusive) and offset_start, offset_end (int32 [length]:
        the characters of the context that each token covers, end exclusive; -1 outside the context).

        Every window is kept. The question has at most 64 tokens, and at most half of the room when `max_length` is
        small; neighbouring windows share 128 tokens, at most a third of the window. `start` and `end` are those of the
        first answer, both 0 (`<s>`) where there is no answer or where it does not lie wholly in the window.

        A token belongs to the answer if it covers one of its characters. Pieces that are only the word mark (a lone
        `\u2581`) are ignored: their offsets name the first character of the piece that follows.
        """
        template = template_of(tokenizer)
        questions = tokenize(tokenizer, (e.question for e in examples))
        contexts = dict(_context_tokens(tokenizer, (e.context for e in examples)))
        longest_question = min(QUESTION_TOKENS, (to.max_length - template.pair_specials) // 2)
        rows = []
        for index, example in enumerate(examples):
            question = questions[example.question]
            if len(question) > longest_question:
                to.truncated["question"] += 1
                question = question[:longest_question]
            ids, starts, ends, bare = contexts[example.context]
            answer = _answer_tokens(example, starts, ends, bare)
            if example.answers and answer is None:
                to.truncated["answer without a token"] += 1
            before = template.before_second(len(question))
            room, fits = to.max_length - before - 1, answer is None
            for first, last in windows(len(ids), room, min(STRIDE, room // 3)):
                sequence = np.array(template.pair(question, ids[first:last].tolist()), np.int32)
                covered = np.full((2, len(sequence)), -1, np.int32)
                covered[:, before:-1] = starts[first:last], ends[first:last]
                start = end = 0
                if answer is not None and first <= answer[0] and answer[1] < last:
                    start, end = answer[0] - first + before, answer[1] - first + before
                    fits = True
                offsets = {"offset_start": covered[0], "offset_end": covered[1]}
                rows.append(make_row(template, [sequence], 1, index, [before], start=start, end=end, **offsets))
            if not fits:
                to.truncated["answer that fits in no window"] += 1
        return rows

    def gold_record(self, example: Span) -> dict[str, Any]:
        return {"id": example.id, "context": example.context, "answers": [text for text, _ in example.answers]}

    def positions(self, columns: Columns, starts: np.ndarray, first: np.ndarray) -> Positions:
        """All tokens of the row; labels [n, 2]: start and end, counted in the row."""
        counts = lists(columns["input_ids"]).counts
        ends = np.stack([plain(columns["start"]), plain(columns["end"])], axis=1)
        return Positions.table(spread(starts[first], counts), ends, counts)

    def classes(self, columns: Columns) -> np.ndarray:
        """1 where the window has an answer, else 0."""
        return (plain(columns["start"]) > 0).astype(np.int64)

    def no_positions(self) -> Positions:
        return replace(super().no_positions(), labels=np.zeros((0, 2), np.int64))

    def majority(self, columns: Columns, gold: Sequence[dict[str, Any]]) -> float:
        """The share of unanswerable questions."""
        return sum(not one["answers"] for one in gold) / len(gold)


def windows(length: int, room: int, stride: int) -> Iterator[tuple[int, int]]:
    """Half-open windows of at most `room` over `length` tokens, neighbours sharing `stride`; one if there are none."""
    first = 0
    while first + room < length:
        yield first, first + room
        first += room - stride
    yield first, length


def _context_tokens(tokenizer: Pieces, texts: Iterable[str]) -> Iterator[tuple[str, tuple[np.ndarray, ...]]]:
    """Per distinct text: ids int32 [n], character starts and ends int32 [n], and bool [n]: only a word mark."""
    for text, encoding in encodings(tokenizer, texts):
        ids = np.array(encoding.ids, np.int32)
        offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
        # To XLM-R, RoBERTa's mark is a letter (Maltese): a piece that covers one is more than a mark.
        bare = np.array(
            [
                not token.strip(WORD_MARKS) and text[start:end] != WORD_MARKS[1]
                for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True)
            ],
            bool,
        )
        yield text, (ids, offsets[:, 0], offsets[:, 1], bare)


def _answer_tokens(example: Span, starts: np.ndarray, ends: np.ndarray, bare: np.ndarray) -> tuple[int, int] | None:
    """First and last token of the context that cover a character of the first answer."""
    if not example.answers:
        return None
    text, first = example.answers[0]
    covering = np.flatnonzero((ends > first) & (starts < first + len(text)) & (ends > starts) & ~bare)
    return (int(covering[0]), int(covering[-1])) if len(covering) else None


def _check_answer(context: str, text: str, start: int, where: str) -> None:
    if not text or text.isspace():
        raise InputError(
            f"{where}: expected an answer text, found {text!r} (an unanswerable question has an empty list; copies"
            " with blanked answers cannot be used)"
        )
    if start >= 0 and context.startswith(text, start):
        return
    place = context.find(text)
    hint = f"it stands at {place}: offsets count characters of the context as given, from 0"
    hint = hint if place >= 0 else "it stands nowhere in the context"
    raise InputError(f"{where}: expected {fields.shorten(text)} at character {start} of `context`, but {hint}")
