"""Token classification: a sentence in words, each with a tag."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common import fields
from common.columns import Columns, lists
from common.errors import InputError
from tasks.base import Positions, TaskType
from tasks.encoding import INTS, Encoding, Pieces, Row, Template, make_row, template_of, tokenize

WORDS = ("words", "tokens")
TAGS = ("tags", "ner_tags", "pos_tags", "upos", "labels")


@dataclass(frozen=True, slots=True)
class Tag:
    """A sentence in words, each with a tag."""

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...]


class Type(TaskType[Tag]):
    """`<s> words </s>`; the head reads the first token of every word."""

    metrics = ("token_accuracy",)
    labels = "optional"
    columns = (("positions", INTS), ("labels", INTS))
    dynamics = True

    def from_row(self, row: fields.RawRow, where: str, labels: fields.Labels) -> Tag:
        words, name = fields.texts(row, fields.column(row, WORDS, where), where), fields.column(row, TAGS, where)
        tags = row[name]
        if isinstance(tags, list):
            tags = [fields.label_name(tag, f"{where}: field `{name}`", labels) for tag in tags]
        tags = fields.texts({name: tags}, name, where)
        return Tag(str(row.get("id") or ""), tuple(words), tuple(tags))

    def validate(self, example: Tag, where: str, labels: Sequence[str] | None = None) -> None:
        words, tags = len(example.words), len(example.tags)
        if not words and not tags:
            raise fields.EmptyText(f"{where}: field `words`: expected at least one word, found none")
        if words != tags:
            raise InputError(f"{where}: field `tags`: expected one tag per word, found {words} words and {tags} tags")
        for number, (word, tag) in enumerate(zip(example.words, example.tags, strict=True), 1):
            fields.check_text(word, f"words, number {number}", where)
            if not tag.strip():
                raise InputError(f"{where}: field `tags`, number {number}: expected a tag, found {tag!r}")
            if labels is not None and tag not in labels:
                known = fields.shorten(", ".join(labels))
                raise InputError(f"{where}, tags: {fields.shorten(tag)} is not among the task's labels ({known})")

    def identity(self, example: Tag) -> dict[str, str]:
        return {"sentence": " ".join(example.words)}

    def encode(self, tokenizer: Pieces, examples: Sequence[Tag], to: Encoding) -> list[Row]:
        """Adds positions and labels (int32 [words]): the first token of each word, and the id of its tag.

        Words are tokenized one by one, with a space in front where the tokenizer has other tokens for the beginning of
        a text (as transformers does with `is_split_into_words` and `add_prefix_space`). A sentence longer than
        `max_length` is split between words into several rows; no word is lost: one that is longer than a whole row is
        cut (counted), one that the normalizer leaves nothing of is `<unk>`. A tag outside `labels` has the label -1;
        `units` counts the others.
        """
        assert to.labels is not None
        template = template_of(tokenizer)
        # A byte-level tokenizer has no token for what it does not know.
        unk = tokenizer.mask_token_id if tokenizer.unk_token_id is None else tokenizer.unk_token_id
        space = " " if template.spaced else ""
        number = {label: i for i, label in enumerate(to.labels)}
        ids = tokenize(tokenizer, (space + word for e in examples for word in e.words))
        room = to.max_length - 2
        rows = []
        for index, example in enumerate(examples):
            tokens: list[int] = []
            positions: list[int] = []
            numbers: list[int] = []
            for word, tag in zip(example.words, example.tags, strict=True):
                pieces = ids[space + word] or [unk]
                if len(pieces) > room:
                    to.truncated["word"] += 1
                    pieces = pieces[:room]
                if len(tokens) + len(pieces) > room:
                    rows.append(_row(template, tokens, positions, numbers, index))
                    tokens, positions, numbers = [], [], []
                positions.append(1 + len(tokens))
                numbers.append(number.get(tag, -1))
                tokens.extend(pieces)
            rows.append(_row(template, tokens, positions, numbers, index))
        return rows

    def labels_in(self, example: Tag) -> Sequence[str]:
        return example.tags

    def positions(self, columns: Columns, starts: np.ndarray, first: np.ndarray) -> Positions:
        return Positions.labelled(columns, starts[first])

    def classes(self, columns: Columns) -> np.ndarray:
        """All 0: a sentence has many tags."""
        return np.zeros(len(lists(columns["labels"]).counts), np.int64)


def _row(template: Template, tokens: list[int], positions: list[int], numbers: list[int], index: int) -> Row:
    units = sum(number >= 0 for number in numbers)
    row = make_row(template, [template.single(tokens)], units, index)
    return {**row, "positions": np.array(positions, np.int32), "labels": np.array(numbers, np.int32)}
