"""What a reader of test data gives: the rows of the retrieval targets, and `Loaded`, which holds any target's rows.

The other targets have the canonical examples of `data_prep/examples.py`. Texts are kept as they were read.
"""

from dataclasses import dataclass, field
from typing import Any

from data_prep.errors import InputError


class NotThere(InputError):
    """Nothing to score: no data of this target, or a copy without labels. A suite names it and goes on."""


@dataclass(frozen=True, slots=True)
class Translation:
    """Tatoeba: one sentence in English and in the other language."""

    english: str
    other: str


@dataclass(frozen=True, slots=True)
class Corpora:
    """BUCC: two corpora, among whose sentences the translations are to be found.

    Ids and texts in file order; `gold` holds (id of the other language's sentence, id of the English one). `split` is
    "validation" (the official sample, on which XTREME sets the threshold) or "test" (the official training set).
    """

    split: str
    other_ids: tuple[str, ...]
    other: tuple[str, ...]
    english_ids: tuple[str, ...]
    english: tuple[str, ...]
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
    data: where it was read; supplied: what to know before comparing, in words: another place than the first asked for.
    unsubmitted: why these rows are not those of the official test files, so that no submission can be made of them.
    """

    split: str
    rows: dict[str, list[Any]]
    files: dict[str, dict[str, str]]
    notes: list[str] = field(default_factory=list)
    pool: list[Candidate] = field(default_factory=list)
    data: str = "hub"
    supplied: list[str] = field(default_factory=list)
    unsubmitted: str = ""
