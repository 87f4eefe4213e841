"""Multiple choice: a prompt and its possible continuations, one of them right."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common import fields
from common.columns import Columns, lists, plain
from tasks.base import LeftOut, Positions, TaskType, Translation
from tasks.encoding import INT, Encoding, Pieces, Row, make_row, template_of, tokenize

MAX_CHOICES = 26


LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
PROMPT = ("prompt", "question", "ctx", "premise")
CHOICES = ("choices", "endings", "options")
LABEL = ("label", "answer", "answerKey")


@dataclass(frozen=True, slots=True)
class Choice:
    """A prompt and its possible continuations; `label` is the index of the right one."""

    id: str
    prompt: str
    choices: tuple[str, ...]
    label: int


class Type(TaskType[Choice]):
    """A sequence `<s> prompt </s></s> choice </s>` per choice; the head reads the first token of each."""

    metrics = ("accuracy",)
    columns = (("label", INT),)
    whole = True
    translatable = True
    dynamics = True

    def from_row(self, row: fields.RawRow, where: str, labels: fields.Labels) -> Choice:
        prompt = fields.text(row, fields.column(row, PROMPT, where), where)
        letters: Sequence[str] = LETTERS
        numbered = [name for name in row if re.fullmatch(r"(choice|ending|answer|option)_?\d{1,2}", name)]
        if numbered and not any(name in row for name in CHOICES):
            numbered.sort(key=lambda name: int(re.sub(r"\D", "", name)))
            choices = [fields.text(row, name, where) for name in numbered]
        else:
            name = fields.column(row, CHOICES, where)
            given = row[name]
            if isinstance(given, dict):  # the Hub's {"label": ["A", ...], "text": [...]}
                choices = fields.texts(given, "text", f"{where}: field `{name}`")
                letters = fields.texts(given, "label", f"{where}: field `{name}`") if "label" in given else LETTERS
            else:
                choices = fields.texts(row, name, where)
        name = fields.column(row, LABEL, where)
        label = letters.index(row[name]) if row[name] in letters else fields.number(row[name], name, where)
        return Choice(str(row.get("id", "")), prompt, tuple(choices), label)

    def validate(self, example: Choice, where: str, labels: Sequence[str] | None = None) -> None:
        fields.check_text(example.prompt, "prompt", where)
        found = len(example.choices)
        if not 2 <= found <= MAX_CHOICES:
            raise fields.wrong(where, "choices", f"2 to {MAX_CHOICES} choices", found)
        for number, choice in enumerate(example.choices):
            fields.check_text(choice, f"choices, number {number + 1}", where)
        if not 0 <= example.label < found:
            raise fields.wrong(where, "label", f"0 to {found - 1} (a choice)", example.label)

    def translated(self, example: Choice, labels: fields.Labels, to: Translation) -> dict[str, Any]:
        """Prompt and choices, each by itself; left out where choices that differ would no longer do so."""
        prompt, choices = to.text(example.prompt), [to.text(choice) for choice in example.choices]
        if _different(choices) < _different(example.choices):
            raise LeftOut("choices no longer differ")
        return {"id": example.id, "prompt": prompt, "choices": choices, "label": example.label}

    def encode(self, tokenizer: Pieces, examples: Sequence[Choice], to: Encoding) -> list[Row]:
        """Adds `label`, an int: the index of the right choice.

        The prompt loses tokens at its start (its end is what the choice continues), a choice is kept whole unless it
        alone is longer than the room.
        """
        template = template_of(tokenizer)
        ids = tokenize(tokenizer, (text for e in examples for text in (e.prompt, *e.choices)))
        room = to.max_length - template.pair_specials
        rows = []
        for index, example in enumerate(examples):
            prompt = ids[example.prompt]
            sequences, second = [], []
            cut_prompt = cut_choice = False
            for text in example.choices:
                choice = ids[text][:room]
                rest = room - len(choice)
                cut_choice |= len(ids[text]) > room
                cut_prompt |= len(prompt) > rest
                # From the front, because prompt[-0:] would be all of it.
                kept = prompt[max(0, len(prompt) - rest) :]
                sequences.append(template.pair(kept, choice))
                second.append(template.before_second(len(kept)))
            if cut_prompt:
                to.truncated["prompt"] += 1
            if cut_choice:
                to.truncated["choice"] += 1
            rows.append(make_row(template, sequences, 1, index, second, label=example.label))
        return rows

    def positions(self, columns: Columns, starts: np.ndarray, first: np.ndarray) -> Positions:
        return Positions.table(starts, plain(columns["label"]), lists(columns["lengths"]).counts)


def _different(texts: Sequence[str]) -> int:
    return len({" ".join(text.casefold().split()) for text in texts})
