"""What a dataset's file says: what it is, where its copies lie, how a row of each becomes an example, and the tasks."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from common import fields
from common.languages import ISO3, TYDIQA_NAMES, UD_NAMES
from data_prep.formats.readers import Reader, Rows
from tasks.base import Example

# convert(row, where, labels) -> example. `where`: file and row, for messages; `labels`: the label names in id order.
Convert = Callable[[dict[str, Any], str, fields.Labels], Example]
# regroup(rows, convert) -> rows made of several: rows of a split as they are in the files, and what converts one.
Regroup = Callable[[Rows, Convert], Rows]
# select(row, split, language): whether a row belongs to them; others are passed over, not counted as dropped.
Select = Callable[[dict[str, Any], str, str], bool]
# Split -> its names in a repository or in file names. "train" and "dev" are for training (a model is selected on
# dev), "validation" and "test" for evaluation, named as on the Hub.
Splits = dict[str, tuple[str, ...]]

NO_GOLD = "no gold label"
MULTIPLE = "mul"  # ISO 639-2: multiple languages


class Dropped(Exception):
    """A row to leave out; its text is the reason under which it is counted."""


def no_example(row: fields.RawRow, where: str, labels: fields.Labels) -> Example:
    """For the retrieval targets, whose rows become no examples but the types of `eval/rows.py`."""
    raise NotImplementedError(where)


def splits(train: str = "", dev: str = "", validation: str = "", test: str = "") -> Splits:
    """The names of each split that there is, separated by spaces."""
    given = {"train": train, "dev": dev, "validation": validation, "test": test}
    return {split: tuple(names.split()) for split, names in given.items() if names}


ON_HUB = splits("train", "validation", "validation", "test")
IN_FILES = splits("train", "dev", "dev", "test")


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository of the Hugging Face Hub: a configuration, the columns that are read, what makes a row an example.

    revision: the commit, where a public record names one; else that of the first download is kept and used.
    label: the column that is empty or -1 in a copy without labels. languages: those that it has; () for all.
    documents: of a corpus too large to be fetched whole, the first so many rows are dev and so many after them train.
    unconfirmed: no public record of its columns was found; a language that cannot be read is missing, without error.
    differs: how its rows differ from those of the official test file, so that no submission can be made of them.
    """

    id: str
    config: str
    columns: tuple[str, ...]
    convert: Convert
    revision: str | None = None
    splits: Splits = field(default_factory=lambda: ON_HUB)
    label: str = "label"
    languages: tuple[str, ...] = ()
    select: Select | None = None
    documents: tuple[int, int] | None = None
    unconfirmed: bool = False
    differs: str = ""


@dataclass(frozen=True, slots=True)
class Files:
    """Upstream files: a path end with {split} and a language's name (`names`), anywhere below the user's folder.

    `*` in a name stands for any characters. within: the beginning of the name of a folder that must be on the way (for
    names as plain as train.csv). outside: the name of a folder that must not be (of something else under these names).
    beside: suffix of a file of the same name that belongs to it. joined: paths, from its folder, of other files that
    its reader reads as well.
    several: every file that matches is read, one after the other, byte-identical copies once.
    sections: the names of a split are folders of which some may be missing; then a remark names them.
    always: looked for also where the folder holds the dataset in the Hub's layout.
    sha256: by file name, where it was published; a user's copy with another one is no error, but it is reported.
    """

    path: str
    read: Reader
    convert: Convert
    splits: Splits = field(default_factory=lambda: IN_FILES)
    label: str = "label"
    within: str = ""
    outside: str = ""
    beside: str = ""
    joined: tuple[str, ...] = ()
    several: bool = False
    sections: bool = False
    always: bool = False
    select: Select | None = None
    sha256: dict[str, str] = field(default_factory=dict)

    def ends(self, split: str, language: str) -> tuple[str, ...]:
        """The path ends of one split in one language."""
        patterns = (self.path.replace("{split}", name) for name in self.splits.get(split, ()))
        return tuple(pattern.format(**names(language)) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Published:
    """One file to be downloaded: where it goes below the folder of downloads, and mirrors in the order to be tried.

    `sha256` is None where no public record of it was found: then that of the first download is kept and held to.
    """

    path: str
    urls: tuple[str, ...]
    sha256: str | None


def on_github(dataset: str, repository: str, commit: str, folder: str, sha256: dict[str, str]) -> tuple[Published, ...]:
    """Files in a folder of a GitHub repository, by name their sha256: at a commit, or else of the main branch."""
    home = f"https://raw.githubusercontent.com/{repository}"
    return tuple(
        Published(f"{dataset}/{name}", tuple(f"{home}/{at}/{folder}{name}" for at in (commit, "master")), digest)
        for name, digest in sha256.items()
    )


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training data (`splits` train and dev, in one language) or the test data of a target.

    kind: the task type; of test data also `translation`, `mining`, `answers`, `entities` (see `eval/rows.py`).
    obtain: where the upstream files are to be had. rows: training / dev rows, or rows of one language, in words.
    published: files to download where the Hub has no copy, or a loading script only. hub_files: a repository without
    configurations, its commit, and files in it.
    train_from, dev_from: the dataset whose training (dev) split is used. translated: of machine-translated data, by
    whom. hint: what to add to the message where nothing was found.
    regroup: what makes rows of a split from several rows in its files, and what makes examples of these; then `convert`
    of the copies gives what is regrouped.
    layout: the upstream files in words. languages: of test data, by suite. Splits of test data: in order of preference.
    """

    name: str
    kind: str
    licence: str
    obtain: str
    rows: str
    hub: tuple[Hub, ...] = ()
    files: tuple[Files, ...] = ()
    language: str = "en"
    labels: tuple[str, ...] | None = None
    splits: tuple[str, ...] = ("train", "dev")
    published: tuple[Published, ...] = ()
    hub_files: tuple[str, str, tuple[str, ...]] | None = None
    train_from: str = ""
    dev_from: str = ""
    translated: str = ""
    hint: str = ""
    regroup: tuple[Regroup, Convert] | None = None
    layout: str = ""
    suites: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def languages(self) -> tuple[str, ...]:
        """The language of the training data, or every language in which one of the suites scores it."""
        return tuple(sorted({code for codes in self.suites.values() for code in codes})) or (self.language,)

    @property
    def downloads(self) -> str:
        """The folder of its `published` files below that of all downloads."""
        return self.published[0].path.partition("/")[0] if self.published else self.name

    @property
    def training(self) -> bool:
        """Whether it is for training: then all its splits come from one copy."""
        return "train" in self.splits or "dev" in self.splits


@dataclass(frozen=True, slots=True)
class Task:
    """`kind` is the name of a task type. `labels`: None where the type has none or where the data define them (tag).

    files: training and dev file of the datasets that are the user's own, or that the user has translated. others: its
    datasets in other languages, by language. codes: where the entry of a run names languages, that of each of its
    datasets, equal ones in a row.
    """

    name: str
    kind: str
    metric: str
    datasets: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    language: str = "en"
    # Greatest length of a pair's query, special tokens included (None: as long as its passage, the config's length).
    query_length: int | None = None
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    codes: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def by_language(self) -> dict[str, tuple[str, ...]]:
        """Its datasets in every language that it has."""
        return {**({} if self.language == MULTIPLE else {self.language: self.datasets}), **self.others}


def in_languages(dataset: Dataset, codes: Iterable[str]) -> tuple[Dataset, ...]:
    """The same data in other languages than its own, as datasets `NAME.CODE`."""
    others = (code for code in codes if code != dataset.language)
    return tuple(replace(dataset, name=f"{dataset.name}.{code}", language=code) for code in others)


def by_language(datasets: Iterable[Dataset]) -> dict[str, tuple[str, ...]]:
    """For `Task.others`: the name of each dataset, by its language."""
    return {dataset.language: (dataset.name,) for dataset in datasets}


def with_label(dataset: Dataset, column: str, row: fields.RawRow) -> fields.RawRow:
    """A row of a test with some label in `column`, so that it converts whether or not its own was withheld."""
    words = row.get("words", row.get("tokens"))
    first = (dataset.labels or ("",))[0]
    if dataset.kind == "span":
        return {**row, column: {"text": [], "answer_start": []} if isinstance(row.get(column), dict) else []}
    if dataset.kind == "tag":
        return {**row, column: [first] * len(words or ())}
    return {**row, column: {"classify": first}.get(dataset.kind, 0)} if dataset.kind != "translation" else row


def names(code: str) -> dict[str, str]:
    """What the placeholders stand for; of an MLQA pair CONTEXT-QUESTION, else both languages are `code`.

    {code} is a language's ISO 639-1 code, {iso3} its ISO 639-3 code, {ud} and {tydi} its English name as two of the
    datasets write it, {context} and {question} the two languages of an MLQA pair.
    """
    context, _, question = code.partition("-")
    written = {key: table.get(code, code) for key, table in _WRITTEN.items()}
    return {"code": code, "context": context, "question": question or context, **written}


_WRITTEN = {"iso3": ISO3, "ud": UD_NAMES, "tydi": TYDIQA_NAMES}
_CODES = {key: {name: code for code, name in table.items()} for key, table in _WRITTEN.items()}


def code_in(pattern: str, name: str) -> str | None:
    """The language that `name` is in, read with `pattern`; "" if it may hold any, None if it is not of the pattern."""
    expression = re.escape(pattern).replace(r"\*", ".*")
    for key in names(""):
        first, later = f"(?P<{key}>[A-Za-z]+)", f"(?P={key})"
        expression = expression.replace(rf"\{{{key}\}}", first, 1).replace(rf"\{{{key}\}}", later)
    if (match := re.fullmatch(expression, name)) is None:
        return None
    found = match.groupdict()
    if "context" in found:
        context, question = found["context"], found["question"]
        return context if context == question else f"{context}-{question}"
    return next((_CODES.get(key, {}).get(value, value) for key, value in found.items()), "")


def shown(pattern: str) -> str:
    """A name with xx for every placeholder, for people."""
    return re.sub(r"\{[a-z0-9]+\}", "xx", pattern)
