"""Examples to token ids and labels, one function per kind.

    rows = encode_classify(tokenizer, examples, max_length=256)

Every function takes a checked tokenizer (`data_prep.tokenizer.load`), a list of examples and the greatest number of
tokens of one sequence (special tokens included), and returns rows: dicts of NumPy int32 arrays and ints,

    input_ids  int32 [length]   tokens of all sequences of the row, one sequence after the other
    lengths    int32 [n]        tokens of each sequence (n = 1, but one per choice for `choice`, and 2 for `pair`)
    length     int              len(input_ids)
    units      int              loss units of the row: 1; labelled words (tag); masked tokens (mlm)
    example    int              index into `examples` (an example may give several rows: windows, long sentences)

and what the kind adds. Truncations are counted by reason in `truncated`, if one is given. Texts are tokenised once
per distinct text of the call, without special tokens; these are put down here, always as
`<s> A </s>` or `<s> A </s></s> B </s>`. Change ENCODING_VERSION with anything that changes a row: prepared folders
carry it in their name.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import InputError
from data_prep.encoding.tokenizer import Pieces
from data_prep.encoding.word_cache import Words
from data_prep.examples import Choice, Classify, Example, Pair, Span, Tag, Text

if TYPE_CHECKING:
    from tokenizers import Encoding

Row = dict[str, Any]

ENCODING_VERSION = 1
QUESTION_TOKENS = 64  # Phang et al. 2020 and the SQuAD scripts before them
STRIDE = 128  # tokens that two neighbouring windows share, as `stride` of transformers
MLM_PROBABILITY = 0.15
WORD_MARKS = "\u2581\u0120"  # how pieces mark the start of a word: XLM-R's, RoBERTa's
SHORTEST = 12  # below this a pair has no room for words


def encode(
    kind: str,
    tokenizer: Pieces,
    examples: Sequence[Example],
    max_length: int,
    labels: Sequence[str] | None = None,
    truncated: Counter[str] | None = None,
    query_length: int | None = None,
) -> list[Row]:
    """Rows of `examples`, all of one `kind`; `labels` are the tag names of a `tag` task.

    `query_length` is the greatest number of tokens of a pair's query, `max_length` then that of its passage.
    """
    some: Any = examples
    if kind == "classify":
        return encode_classify(tokenizer, some, max_length, truncated)
    if kind == "span":
        return encode_span(tokenizer, some, max_length, truncated)
    if kind == "choice":
        return encode_choice(tokenizer, some, max_length, truncated)
    if kind == "tag":
        assert labels is not None, "a tag task needs its label names"
        return encode_tag(tokenizer, some, max_length, labels, truncated)
    if kind == "pair":
        return encode_pair(tokenizer, some, max_length, query_length or max_length, truncated)
    assert kind == "mlm", kind
    return encode_mlm(tokenizer, some, max_length)


def encode_classify(
    tokenizer: Pieces,
    examples: Sequence[Classify],
    max_length: int,
    truncated: Counter[str] | None = None,
) -> list[Row]:
    """Adds `label`, an int. `<s> A </s></s> B </s>` (or `<s> A </s>`), cut at the ends, the longer text first."""
    _check(max_length)
    bos, eos = _ends(tokenizer)
    ids = _tokenize(tokenizer, [t for e in examples for t in (e.text_a, e.text_b) if t is not None])
    rows = []
    for index, example in enumerate(examples):
        a = ids[example.text_a]
        if example.text_b is None:
            if len(a) > max_length - 2:
                _count(truncated, "text")
            sequence = [bos, *a[: max_length - 2], eos]
        else:
            b = ids[example.text_b]
            keep_a, keep_b = longest_first(len(a), len(b), max_length - 4)
            if keep_a < len(a) or keep_b < len(b):
                _count(truncated, "text")
            sequence = [bos, *a[:keep_a], eos, eos, *b[:keep_b], eos]
        rows.append(_row([sequence], 1, index, label=example.label))
    return rows


def longest_first(a: int, b: int, room: int) -> tuple[int, int]:
    """How many of `a` and `b` tokens to keep so that at most `room` remain, taking from the longer one first.

    Where both have to give, the halves are equal and an odd token goes to the longer text (transformers' rule,
    truncation="longest_first").
    """
    if a + b <= room:
        return a, b
    short, long = min(a, b), max(a, b)
    long = max(short, room - short)
    if short + long > room:
        short = room // 2
        long = room - short
    return (short, long) if a <= b else (long, short)


def encode_choice(
    tokenizer: Pieces,
    examples: Sequence[Choice],
    max_length: int,
    truncated: Counter[str] | None = None,
) -> list[Row]:
    """Adds `label`, an int: the index of the right choice. One sequence `<s> prompt </s></s> choice </s>` per choice.

    The prompt loses tokens at its start (its end is what the choice continues), a choice is kept whole unless it
    alone is longer than the room.
    """
    _check(max_length)
    bos, eos = _ends(tokenizer)
    ids = _tokenize(tokenizer, [t for e in examples for t in (e.prompt, *e.choices)])
    room = max_length - 4
    rows = []
    for index, example in enumerate(examples):
        prompt = ids[example.prompt]
        sequences = []
        cut_prompt = cut_choice = False
        for text in example.choices:
            choice = ids[text][:room]
            rest = room - len(choice)
            cut_choice |= len(ids[text]) > room
            cut_prompt |= len(prompt) > rest
            # From the front, because prompt[-0:] would be all of it.
            kept = prompt[max(0, len(prompt) - rest) :]
            sequences.append([bos, *kept, eos, eos, *choice, eos])
        if cut_prompt:
            _count(truncated, "prompt")
        if cut_choice:
            _count(truncated, "choice")
        rows.append(_row(sequences, 1, index, label=example.label))
    return rows


def encode_span(
    tokenizer: Pieces,
    examples: Sequence[Span],
    max_length: int,
    truncated: Counter[str] | None = None,
) -> list[Row]:
    """Adds start, end (int: token positions in the row, inclusive) and offset_start, offset_end (int32 [length]:
    the characters of the context that each token covers, end exclusive; -1 outside the context).

    `<s> question </s></s> window </s>`, one row per window, every window kept. The question has at most 64 tokens,
    and at most half of the room when `max_length` is small; neighbouring windows share 128 tokens, at most a third of
    the window. `start` and `end` are those of the first answer, both 0 (`<s>`) where there is no answer or where it
    does not lie wholly in the window.

    A token belongs to the answer if it covers one of its characters. Pieces that are only the word mark (a lone
    `\u2581`) are ignored: their offsets name the first character of the piece that follows.
    """
    _check(max_length)
    bos, eos = _ends(tokenizer)
    questions = _tokenize(tokenizer, [e.question for e in examples])
    contexts = _context_tokens(tokenizer, [e.context for e in examples])
    longest_question = min(QUESTION_TOKENS, (max_length - 4) // 2)
    rows = []
    for index, example in enumerate(examples):
        question = questions[example.question]
        if len(question) > longest_question:
            _count(truncated, "question")
            question = question[:longest_question]
        ids, starts, ends, bare = contexts[example.context]
        answer = _answer_tokens(example, starts, ends, bare)
        if example.answers and answer is None:
            _count(truncated, "answer without a token")
        before = len(question) + 3
        room = max_length - before - 1
        for first, last in windows(len(ids), room, min(STRIDE, room // 3)):
            sequence = np.concatenate([[bos], question, [eos, eos], ids[first:last], [eos]]).astype(np.int32)
            offset_start = np.full(len(sequence), -1, np.int32)
            offset_end = offset_start.copy()
            offset_start[before:-1] = starts[first:last]
            offset_end[before:-1] = ends[first:last]
            start = end = 0
            if answer is not None and first <= answer[0] and answer[1] < last:
                start, end = answer[0] - first + before, answer[1] - first + before
            rows.append(
                _row([sequence], 1, index, start=start, end=end, offset_start=offset_start, offset_end=offset_end)
            )
    return rows


def windows(length: int, room: int, stride: int) -> Iterable[tuple[int, int]]:
    """Half-open windows of at most `room` over `length` tokens, neighbours sharing `stride`; one if there are none."""
    first = 0
    while first + room < length:
        yield first, first + room
        first += room - stride
    yield first, length


def _context_tokens(
    tokenizer: Pieces, texts: list[str]
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Per distinct text: ids int32 [n], character starts and ends int32 [n], and bool [n]: only a word mark."""
    found = {}
    for text, encoding in _encodings(tokenizer, texts):
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
        found[text] = (ids, offsets[:, 0], offsets[:, 1], bare)
    return found


def _answer_tokens(example: Span, starts: np.ndarray, ends: np.ndarray, bare: np.ndarray) -> tuple[int, int] | None:
    """First and last token of the context that cover a character of the first answer."""
    if not example.answers:
        return None
    text, first = example.answers[0]
    covering = np.flatnonzero((ends > first) & (starts < first + len(text)) & (ends > starts) & ~bare)
    return (int(covering[0]), int(covering[-1])) if len(covering) else None


def encode_tag(
    tokenizer: Pieces,
    examples: Sequence[Tag],
    max_length: int,
    labels: Sequence[str],
    truncated: Counter[str] | None = None,
) -> list[Row]:
    """Adds positions and labels (int32 [words]): the first token of each word, and the id of its tag.

    Words are tokenised one by one. A sentence longer than `max_length` is split between words into several rows; no
    word is lost: one that is longer than a whole row is cut (counted), one that the normaliser leaves nothing of is
    `<unk>`. A tag outside `labels` has the label -1; `units` counts the others.
    """
    _check(max_length)
    bos, eos = _ends(tokenizer)
    unk: int = tokenizer.unk_token_id
    number = {label: i for i, label in enumerate(labels)}
    ids = _tokenize(tokenizer, [word for e in examples for word in e.words])
    room = max_length - 2
    rows = []
    for index, example in enumerate(examples):
        tokens: list[int] = [bos]
        positions: list[int] = []
        numbers: list[int] = []
        for word, tag in zip(example.words, example.tags, strict=True):
            pieces = ids[word] or [unk]
            if len(pieces) > room:
                _count(truncated, "word")
                pieces = pieces[:room]
            if len(tokens) - 1 + len(pieces) > room:
                rows.append(_tag_row([*tokens, eos], positions, numbers, index))
                tokens, positions, numbers = [bos], [], []
            positions.append(len(tokens))
            numbers.append(number.get(tag, -1))
            tokens.extend(pieces)
        rows.append(_tag_row([*tokens, eos], positions, numbers, index))
    return rows


def _tag_row(tokens: list[int], positions: list[int], numbers: list[int], index: int) -> Row:
    units = sum(number >= 0 for number in numbers)
    places = np.array(positions, np.int32)
    return _row([tokens], units, index, positions=places, labels=np.array(numbers, np.int32))


def encode_pair(
    tokenizer: Pieces,
    examples: Sequence[Pair],
    max_length: int,
    query_length: int,
    truncated: Counter[str] | None = None,
) -> list[Row]:
    """Adds `passage_key`, an int from 0 to 2^63 - 1. Two sequences, `<s> query </s>` and `<s> passage </s>`.

    Each is cut at its end, the query to `query_length` and the passage to `max_length` tokens. Rows with the same
    passage (its tokens after the cut, so what the encoder sees) have the same key, and others another one: in a batch
    such a passage is not a wrong answer to the other row's query.
    """
    _check(max_length)
    _check(query_length)
    bos, eos = _ends(tokenizer)
    ids = _tokenize(tokenizer, [t for e in examples for t in (e.query, e.passage)])
    rows = []
    for index, example in enumerate(examples):
        sequences = []
        for text, most, name in ((example.query, query_length, "query"), (example.passage, max_length, "passage")):
            tokens = ids[text]
            if len(tokens) > most - 2:
                _count(truncated, name)
            sequences.append([bos, *tokens[: most - 2], eos])
        digest = hashlib.blake2b(np.array(sequences[1], "<i4").tobytes(), digest_size=8).digest()
        rows.append(_row(sequences, 1, index, passage_key=int.from_bytes(digest, "little") >> 1))
    return rows


def encode_mlm(tokenizer: Pieces, examples: Sequence[Text], max_length: int) -> list[Row]:
    """Adds nothing. `<s> tokens </s>`, a long text cut into rows of `max_length`, every token kept.

    `units` is `masked_count(length)` at 15 % (a run may mask another share): any token but the row's own `<s>` and
    `</s>` may be masked. A text that the normaliser leaves nothing of gives no row.
    """
    _check(max_length)
    bos, eos = _ends(tokenizer)
    ids = _tokenize(tokenizer, [e.text for e in examples])
    room = max_length - 2
    rows = []
    for index, example in enumerate(examples):
        tokens = ids[example.text]
        for first in range(0, len(tokens), room):
            part = tokens[first : first + room]
            rows.append(_row([[bos, *part, eos]], int(masked_count(np.array(len(part) + 2), MLM_PROBABILITY)), index))
    return rows


def masked_count(lengths: np.ndarray, probability: float) -> np.ndarray:
    """Masked tokens of rows of `lengths` tokens (<s> and </s> included): int64, at least 1.

    A function of the length alone, so that every rank knows the loss units of a batch.
    """
    return np.maximum(1, np.rint(probability * (np.asarray(lengths) - 2))).astype(np.int64)


def _row(sequences: Sequence[Sequence[int] | np.ndarray], units: int, example: int, **more: Any) -> Row:
    ids = np.concatenate([np.asarray(s, np.int32) for s in sequences]) if len(sequences) > 1 else sequences[0]
    return {
        "input_ids": np.asarray(ids, np.int32),
        "lengths": np.array([len(s) for s in sequences], np.int32),
        "length": len(ids),
        "units": units,
        "example": example,
        **more,
    }


def _ends(tokenizer: Pieces) -> tuple[int, int]:
    return tokenizer.bos_token_id, tokenizer.eos_token_id


def _tokenize(tokenizer: Pieces, texts: list[str]) -> dict[str, list[int]]:
    """Token ids of every distinct text, without special tokens."""
    global _words
    distinct = list(dict.fromkeys(texts))
    backend = _backend(tokenizer)
    if _words is None or _words[0] is not backend:
        _words = (backend, Words(backend))
    return dict(zip(distinct, _words[1].encode(distinct), strict=True))


# Of the tokenizer that this process used last.
_words: tuple[Any, Words] | None = None


def _encodings(tokenizer: Pieces, texts: list[str]) -> Iterable[tuple[str, "Encoding"]]:
    """Every distinct text with its tokens and their offsets."""
    distinct = list(dict.fromkeys(texts))
    return zip(distinct, _backend(tokenizer).encode_batch(distinct, add_special_tokens=False), strict=True)


def _backend(tokenizer: Pieces) -> Any:
    backend = tokenizer.backend_tokenizer
    # A call of the transformers tokenizer leaves its truncation behind in the backend.
    backend.no_truncation()
    backend.no_padding()
    return backend


def _check(max_length: int) -> None:
    if max_length < SHORTEST:
        raise InputError(f"max_length {max_length}: at least {SHORTEST} tokens are needed, special tokens included")


def _count(truncated: Counter[str] | None, reason: str) -> None:
    if truncated is not None:
        truncated[reason] += 1
