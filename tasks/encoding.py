"""What the encoders of all task types share: tokenization, special tokens, and the form of an encoded row.

A row is a dict of NumPy int32 arrays and numbers,

    input_ids  int32 [length]   tokens of all sequences of the row, one sequence after the other
    lengths    int32 [n]        tokens of each sequence (n = 1, but one per choice for `choice`, and 2 for `pair`)
    length     int              len(input_ids)
    units      int              loss units of the row: 1; labelled words (tag); masked tokens (mlm)
    example    int              index of the source example (which may give several rows: windows, long sentences)
    second     int32 [n]        only if the tokenizer gives token types: tokens of each sequence before those of type 1

and what the task type adds. Texts are tokenized once per distinct text of a call, without special tokens; these are
added here as the tokenizer's own template has them (`Template`). Change ENCODING_VERSION with anything that changes a
row: prepared folders carry it in their name.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from common.errors import InputError

Row = dict[str, Any]

ENCODING_VERSION = 1
SHORTEST = 12  # below this a pair has no room for words

INT = pa.int32()
FLOAT = pa.float32()
INTS = pa.list_(pa.field("item", pa.int32(), nullable=False))


Pieces = Any  # a tokenizer: a `PreTrainedTokenizerFast`, or what has these attributes of one
PIECES = ("backend_tokenizer", "unk_token_id", "mask_token_id", "model_input_names")


@dataclass(frozen=True)
class Template:
    """Where a tokenizer puts special tokens: `first A last`, and `first A between B last` for a pair.

    typed: whether it gives the second text of a pair, from behind `between` on, token type 1; spaced: whether a word
    within a text is another token than at its beginning, so that words by themselves need a space in front.
    """

    first: int
    last: int
    between: tuple[int, ...]
    typed: bool = False
    spaced: bool = False

    @property
    def pair_specials(self) -> int:
        """Special tokens of a pair."""
        return 2 + len(self.between)

    def single(self, a: Sequence[int]) -> list[int]:
        """A text's tokens as a sequence."""
        return [self.first, *a, self.last]

    def pair(self, a: Sequence[int], b: Sequence[int]) -> list[int]:
        """Two texts' tokens as a sequence."""
        return [self.first, *a, *self.between, *b, self.last]

    def before_second(self, a: int) -> int:
        """Tokens of a pair before those of its second text, if the first has `a`."""
        return 1 + a + len(self.between)


@dataclass(frozen=True)
class Special:
    """The token ids that packing and masking need, and what packing needs to know of the encoder."""

    bos: int
    eos: int
    pad: int
    mask: int
    vocabulary: int
    others: tuple[int, ...]  # all special ids: never drawn as a random token
    first_position: int = 0  # position id of a sequence's first token
    token_types: bool = False  # whether the second text of a pair has token type 1
    whole_sequences: bool = False  # whether heads of whole sequences read all of their tokens
    known: np.ndarray | None = field(default=None, compare=False, repr=False)  # bool [ids], `Vocabulary.known`

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of encoded rows that every packed row needs."""
        return ("input_ids", "lengths", "second") if self.token_types else ("input_ids", "lengths")


@dataclass(frozen=True)
class Encoding:
    """What examples are encoded to. max_length: tokens of a sequence, special tokens included; labels: names in id

    order (classify, tag); query_length: tokens of a pair's query (None: `max_length`, which is then its passage's too);
    truncated: counts what was cut, by reason. `InputError` for a length that leaves no room for words.
    """

    max_length: int
    labels: Sequence[str] | None = None
    query_length: int | None = None
    truncated: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for length in (self.max_length, self.query_length or self.max_length):
            if length < SHORTEST:
                raise InputError(f"max_length {length}: at least {SHORTEST} tokens are needed, special tokens included")


def template_of(tokenizer: Pieces) -> Template:
    """The template of a tokenizer; `ValueError` if it is of another form."""
    return _read_template(_backend(tokenizer), tuple(tokenizer.model_input_names))


@lru_cache(maxsize=1)
def _read_template(backend: Any, inputs: tuple[str, ...]) -> Template:
    pair, single = backend.encode("a", "a"), backend.encode("a")
    owner, types = pair.sequence_ids, pair.type_ids
    texts = [n for n, one in enumerate(owner) if one is not None]
    begin = owner.index(1) if 1 in owner else 0
    end = max((n for n, one in enumerate(owner) if one == 0), default=-1) + 1
    around = [single.ids[n] for n, one in enumerate(single.sequence_ids) if one is None]
    if not texts or texts[0] != 1 or texts[-1] != len(owner) - 2 or around != [pair.ids[0], pair.ids[-1]]:
        raise ValueError("expected one special token before a text and one behind it")
    typed = "token_type_ids" in inputs and any(types)
    if typed and (any(single.type_ids) or types != [int(n >= begin) for n in range(len(types))]):
        raise ValueError("expected token type 1 from the second text of a pair on, and 0 before")
    spaced = backend.encode(" a", add_special_tokens=False).ids != backend.encode("a", add_special_tokens=False).ids
    return Template(around[0], around[1], tuple(pair.ids[end:begin]), typed, spaced)


def make_row(
    template: Template,
    sequences: Sequence[Sequence[int] | np.ndarray],
    units: int,
    example: int,
    second: Sequence[int] = (),
    **more: Any,
) -> Row:
    """One encoded row. second: tokens of each sequence before those of its second text (none: it has no second text);

    `more`: the columns that the task type adds.
    """
    ids = np.concatenate([np.asarray(s, np.int32) for s in sequences]) if len(sequences) > 1 else sequences[0]
    lengths = np.array([len(s) for s in sequences], np.int32)
    return {
        "input_ids": np.asarray(ids, np.int32),
        "lengths": lengths,
        "length": len(ids),
        "units": units,
        "example": example,
        **({"second": np.array(second, np.int32) if second else lengths} if template.typed else {}),
        **more,
    }


def tokenize(tokenizer: Pieces, texts: Iterable[str]) -> dict[str, list[int]]:
    """Token ids of every distinct text, without special tokens."""
    distinct = list(dict.fromkeys(texts))
    found = _backend(tokenizer).encode_batch_fast(distinct, add_special_tokens=False)
    return {text: one.ids for text, one in zip(distinct, found, strict=True)}


def encodings(tokenizer: Pieces, texts: Iterable[str]) -> Iterable[tuple[str, Any]]:
    """Every distinct text with its `tokenizers.Encoding`: tokens and their offsets, without special tokens."""
    distinct = list(dict.fromkeys(texts))
    return zip(distinct, _backend(tokenizer).encode_batch(distinct, add_special_tokens=False), strict=True)


def _backend(tokenizer: Pieces) -> Any:
    backend = tokenizer.backend_tokenizer
    # A call of the transformers tokenizer leaves its truncation behind in the backend.
    backend.no_truncation()
    backend.no_padding()
    return backend


def encode_pairs(tokenizer: Pieces, texts: Sequence[tuple[str, str | None]], to: Encoding) -> list[Row]:
    """A row per pair of texts or text (second None), as transformers truncates with `longest_first`."""
    template = template_of(tokenizer)
    ids = tokenize(tokenizer, (text for pair in texts for text in pair if text is not None))
    rows = []
    for index, (text_a, text_b) in enumerate(texts):
        a, b = ids[text_a], [] if text_b is None else ids[text_b]
        special = 2 if text_b is None else template.pair_specials
        keep_a, keep_b = longest_first(len(a), len(b), to.max_length - special)
        if keep_a < len(a) or keep_b < len(b):
            to.truncated["text"] += 1
        sequence = template.single(a[:keep_a]) if text_b is None else template.pair(a[:keep_a], b[:keep_b])
        second = () if text_b is None else (template.before_second(keep_a),)
        rows.append(make_row(template, [sequence], 1, index, second))
    return rows


def longest_first(a: int, b: int, room: int) -> tuple[int, int]:
    """How many of `a` and `b` tokens to keep so that at most `room` remain, taking from the longer one first.

    Where both have to give, the halves are equal and an odd token goes to the longer text (transformers' rule,
    truncation="longest_first").
    """
    if a + b <= room:
        return a, b
    short = min(a, b, room // 2)
    return (short, room - short) if a <= b else (room - short, short)
