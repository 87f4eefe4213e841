"""The canonical example of each kind of task, and its validation.

Readers turn the rows of any file into these six classes; everything after that (encoding, training, scoring) knows
only them. `validate` is the one place that says what a well-formed example is. Texts are kept exactly as they were
read (never stripped or normalised), because answer offsets count every character.
"""

from dataclasses import dataclass

from common.errors import InputError

__all__ = [
    "Choice",
    "Classify",
    "EmptyText",
    "Example",
    "InputError",
    "Pair",
    "Span",
    "Tag",
    "Text",
    "shorten",
    "validate",
]


class EmptyText(InputError):
    """A text without a visible character: an error in a user's file, dropped and counted in the public datasets."""


@dataclass(frozen=True, slots=True)
class Classify:
    """A text or a pair of texts with one label; `label` is an id, the index into the task's label names."""

    id: str
    text_a: str
    text_b: str | None
    label: int


@dataclass(frozen=True, slots=True)
class Span:
    """A question about a context. `answers` holds (text, first character in `context`); none: unanswerable."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A prompt and its possible continuations; `label` is the index of the right one."""

    id: str
    prompt: str
    choices: tuple[str, ...]
    label: int


@dataclass(frozen=True, slots=True)
class Tag:
    """A sentence in words, each with a tag."""

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text without labels, for masked language modelling."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the passage that answers it, for a dual encoder: each becomes a vector of its own."""

    id: str
    query: str
    passage: str


Example = Classify | Span | Choice | Tag | Text | Pair

MAX_CHOICES = 5


def shorten(value: object, limit: int = 60) -> str:
    """`value` as it may stand in a one-line message: its repr, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def validate(example: Example, where: str, labels: int | None = None) -> None:
    """Checks one example; `where` is the file and row for the message, `labels` the number of labels (classify).

    Raises `EmptyText` for a text without a visible character and `InputError` for everything else that is wrong.
    """
    if isinstance(example, Classify):
        _filled(example.text_a, "text_a", where)
        if example.text_b is not None:
            _filled(example.text_b, "text_b", where)
        if example.label < 0 or (labels is not None and example.label >= labels):
            expected = f"0 to {labels - 1}" if labels else "0 or more"
            raise InputError(f"{where}: field `label`: expected {expected}, found {example.label}")
    elif isinstance(example, Span):
        _unicode(example.id, "id", where)  # it is stored, for the predictions
        _filled(example.question, "question", where)
        _filled(example.context, "context", where)
        for number, (text, start) in enumerate(example.answers):
            _check_answer(example.context, text, start, f"{where}: field `answers`, number {number + 1}")
    elif isinstance(example, Choice):
        _filled(example.prompt, "prompt", where)
        if not 2 <= len(example.choices) <= MAX_CHOICES:
            found = len(example.choices)
            raise InputError(f"{where}: field `choices`: expected 2 to {MAX_CHOICES} choices, found {found}")
        for number, choice in enumerate(example.choices):
            _filled(choice, f"choices, number {number + 1}", where)
        if not 0 <= example.label < len(example.choices):
            last = len(example.choices) - 1
            raise InputError(f"{where}: field `label`: expected 0 to {last} (a choice), found {example.label}")
    elif isinstance(example, Tag):
        if not example.words and not example.tags:
            raise EmptyText(f"{where}: field `words`: expected at least one word, found none")
        if len(example.words) != len(example.tags):
            raise InputError(
                f"{where}: field `tags`: expected one tag per word, found {len(example.words)} words"
                f" and {len(example.tags)} tags"
            )
        for number, (word, tag) in enumerate(zip(example.words, example.tags, strict=True)):
            _filled(word, f"words, number {number + 1}", where)
            if not tag.strip():
                raise InputError(f"{where}: field `tags`, number {number + 1}: expected a tag, found {tag!r}")
            _unicode(tag, f"tags, number {number + 1}", where)
    elif isinstance(example, Pair):
        _filled(example.query, "query", where)
        _filled(example.passage, "passage", where)
    else:
        _filled(example.text, "text", where)


def _filled(text: str, field: str, where: str) -> None:
    if not text or text.isspace():
        raise EmptyText(f"{where}: field `{field}`: expected a text, found {text!r}")
    _unicode(text, field, where)


def _unicode(text: str, field: str, where: str) -> None:
    # A lone surrogate (from a JSON escape such as \ud800) is no character; no tokenizer or UTF-8 file can hold it.
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{where}: field `{field}`: expected Unicode text, found half of a surrogate pair")


def _check_answer(context: str, text: str, start: int, where: str) -> None:
    if not text or text.isspace():
        raise InputError(
            f"{where}: expected an answer text, found {text!r} (an unanswerable question has an empty list; copies"
            " with blanked answers cannot be used)"
        )
    if start >= 0 and context.startswith(text, start):
        return
    places = [i for i in range(len(context)) if context.startswith(text, i)]
    if places:
        nearest = min(places, key=lambda place: abs(place - start))
        hint = f"it stands at {nearest}: offsets count characters of the context as given, from 0"
    else:
        hint = "it stands nowhere in the context"
    raise InputError(f"{where}: expected {shorten(text)} at character {start} of `context`, but {hint}")
