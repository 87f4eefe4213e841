"""What a reader of test data gives: the rows of the retrieval targets, and `Loaded`, which holds any target's rows.

The other targets have the examples of their task types (`tasks/`). Texts are kept as they were read.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import InputError

Rows = list[tuple[str, dict[str, Any]]]  # (file and row, for messages; fields as they are in the file)

UNLABELLED = "unlabelled"


class NoData(InputError):
    """Nothing to score: no data of this target, or a copy without labels. A suite names it and goes on."""


@dataclass(frozen=True, slots=True)
class Translation:
    """Tatoeba: one sentence in English and in the other language."""

    english: str
    other: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """One side of BUCC: `ids[i]` names `sentences[i]`."""

    ids: Sequence[str]
    sentences: Sequence[str]

    def distinct(self) -> np.ndarray:
        """Indices int64 [m] of the first occurrence of each different sentence: what is embedded and searched."""
        return np.sort(np.unique(np.array(self.sentences, dtype=object), return_index=True)[1])

    def unrepeated(self) -> np.ndarray:
        """bool [m], aligned with `distinct()`: whether the sentence occurs once (white space around it set aside).

        The script drops a sentence that occurs twice from both the pairs and the ids, and leaves the gold as it is.
        """
        counts = Counter(sentence.strip() for sentence in self.sentences)
        return np.array([counts[self.sentences[index].strip()] == 1 for index in self.distinct()], dtype=bool)


@dataclass(frozen=True, slots=True)
class Corpora:
    """BUCC: two corpora, among whose sentences the translations are to be found.

    sides: the other language's sentences ("xx") and the English ones ("en"), in file order; gold: (id of the other
    language's sentence, id of the English one). split: "validation" (the official sample, on which XTREME sets the
    threshold) or "test" (the official training set).
    """

    split: str
    sides: dict[str, Corpus]
    gold: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """LAReQA's question or Mewsli-X's mention in its sentence. `gold`: the ids of the right candidates of the pool."""

    id: str
    text: str
    gold: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence with its paragraph (LAReQA) or the description of an entity (Mewsli-X)."""

    id: str
    text: str
    language: str


@dataclass
class Loaded:
    """What was read for one target, by language. `files`: sha256 by name; `notes`: what was passed over, in words.

    rows: `Classify`, `Span`, `Choice`, `Tag`, `Translation` or `Query`; for BUCC one or two `Corpora`, test last.
    pool: LAReQA's and Mewsli-X's candidates, of all languages together; every gold id is in it.
    data: where it was read, `hub` or a folder.
    supplied: what to know before comparing, in words, for example that this is not the first place that was asked for.
    unsubmitted: why these rows are not those of the official test files, so that no submission can be made of them.
    dev: languages of which dev is read, since the tests are not there or have no labels: in no average or submission.
    unlabelled: rows of tests whose labels were withheld, by language, their labels or gold meaningless: predicted for
    the submission, never scored.
    perturbed: (noise, metric) -> artifact -> index -> text that noise changes, see `eval/perturb/queries.py`.
    """

    split: str
    rows: dict[str, list[Any]]
    files: dict[str, dict[str, str]]
    notes: list[str] = field(default_factory=list)
    pool: list[Candidate] = field(default_factory=list)
    data: str = "hub"
    supplied: list[str] = field(default_factory=list)
    unsubmitted: str = ""
    dev: tuple[str, ...] = ()
    unlabelled: dict[str, list[Any]] = field(default_factory=dict)
    perturbed: dict[tuple[str, str], dict[str, dict[int, str]]] = field(default_factory=dict)

    def artifacts(self) -> list[tuple[str, str, list[Any]]]:
        """(name, language, rows) of everything that is predicted or embedded."""
        scored = [(code, code, rows) for code, rows in self.rows.items()]
        return [*scored, *((f"{code}.{UNLABELLED}", code, rows) for code, rows in self.unlabelled.items())]


def joined(parts: list[Loaded]) -> Loaded:
    """One target's rows of several places, each with languages of its own; `InputError` if they are of other splits."""
    first, *more = parts
    for part in more:
        if part.split != first.split:
            raise InputError(f"{first.data}: split {first.split}, {part.data}: split {part.split}; expected one split")
        first.rows |= part.rows
        first.files |= part.files
        first.unlabelled |= part.unlabelled
        first.notes += part.notes
        first.supplied += part.supplied
        first.dev += part.dev
    first.data = " and ".join(dict.fromkeys(part.data for part in parts))
    first.unsubmitted = "; ".join(part.unsubmitted for part in parts if part.unsubmitted)
    return first
