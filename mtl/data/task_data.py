"""The prepared data of a run: for every task, its training rows and its dev rows.

A task may have several datasets (ANLI+ = MNLI + SNLI + ANLI); their rows are concatenated and share the head.
Only manifests are read here; rows are fetched from memory-mapped Arrow when a step needs them, so neither start-up nor
a step gets slower with more data.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerFast

from common.columns import Columns, concatenated, plain, rows_of, selected
from common.errors import InputError
from common.run_config import RandomEncoder, RunConfig, TaskEntry
from data_prep.encoding import tokenizer as tokenizers
from data_prep.storage import store
from data_prep.storage.arrow_file import Split
from mtl.data import subset
from tasks.base import TaskType
from tasks.encoding import Special, template_of
from tasks.registry import TASK_TYPES
from tasks.task import Task


class Rows:
    """The rows of several splits, concatenated. Nothing is read on opening.

    chosen: ascending int64, the numbers of those to have among all (None: all); rows are then counted among these.
    """

    def __init__(self, splits: Sequence[Split], chosen: np.ndarray | None = None) -> None:
        self._splits = list(splits)
        self._ends = np.cumsum([split.rows for split in splits])
        self.chosen = chosen

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.chosen is None else len(self.chosen)

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """The numbers of these rows among all that were prepared."""
        return rows if self.chosen is None else self.chosen[rows]

    # Whole columns, copied into memory: for dev sets.

    @cached_property
    def length(self) -> np.ndarray:
        """int32 [rows]: tokens of each row."""
        lengths = np.concatenate([split.length for split in self._splits])
        return lengths[slice(None) if self.chosen is None else self.chosen]

    @cached_property
    def example(self) -> np.ndarray:
        """int32 [rows]: the example of each row; each split counts from 0, here shifted so that they stay distinct."""
        shifted: list[np.ndarray] = []
        first = 0
        for split in self._splits:
            shifted.append(split.example + first)
            first = int(shifted[-1][-1]) + 1 if split.rows else first
        return np.concatenate(shifted)[slice(None) if self.chosen is None else self.chosen]

    def gather(self, rows: np.ndarray, names: Sequence[str]) -> Columns:
        """Columns `names` of these rows (at least one), in the order given (see `Split.gather`)."""
        rows = self.numbers(rows)
        if len(self._splits) == 1:
            return self._splits[0].gather(rows, names)
        splits, positions, numbers = zip(*self._by_split(rows), strict=True)
        parts = [split.gather(mine, names) for split, mine in zip(splits, numbers, strict=True)]
        order = np.argsort(np.concatenate(positions))
        return {name: selected(concatenated([part[name] for part in parts]), order) for name in names}

    def take(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """These encoded rows, in the order given."""
        return rows_of(self.gather(rows, self._splits[0].columns))

    def _by_split(self, rows: np.ndarray) -> Iterator[tuple[Split, np.ndarray, np.ndarray]]:
        """(split, positions in `rows` of the rows in it, their numbers in it)."""
        owner = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(owner).tolist():
            split, positions = self._splits[number], np.flatnonzero(owner == number)
            yield split, positions, rows[positions] - (int(self._ends[number]) - split.rows)

    def origin(self, row: int) -> str:
        """File and row number on disk, for a message."""
        ((split, _, numbers),) = self._by_split(self.numbers(np.array([row])))
        (example,) = split.gather(numbers, ["example"]).values()
        return f"{split.path} row {numbers[0]} (example {plain(example)[0]})"


@dataclass(frozen=True)
class Source:
    """The training rows first <= row < first + rows of a task, all in one language ("": of a task without languages).

    share: of the draws of the task; tokens: of a row, on average.
    """

    language: str
    first: int
    rows: int
    share: float
    tokens: float


@dataclass(frozen=True)
class TaskData:
    """A task with its data. `labels`: names in id order, None for span, choice and mlm.

    dev_prepared: the folders whose dev rows are `dev`; sources: what examples are drawn from, one for each language.
    """

    task: Task
    labels: tuple[str, ...] | None
    max_length: int
    prepared: tuple[store.Prepared, ...]
    train: Rows
    dev: Rows
    dev_prepared: tuple[store.Prepared, ...]
    cap: int | None
    share: float | None
    loss_weight: float
    sources: tuple[Source, ...]

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def type(self) -> TaskType[Any]:
        return TASK_TYPES[self.task.kind]

    @property
    def mean_length(self) -> float:
        """Tokens of a drawn training row, on average."""
        return sum(source.share * source.tokens for source in self.sources)

    @cached_property
    def longest(self) -> int:
        """No training row has more tokens; from the manifests, whose histogram rounds it up to a power of two."""
        splits = [prepared.manifest["splits"]["train"] for prepared in self.prepared]
        return max(int(bin.removeprefix("<=")) for split in splits for bin in split["length_histogram"])

    def row_changed(self, row: int) -> InputError:
        """The error for a training row that is not what was prepared."""
        return InputError(
            f"{self.name}: {self.train.origin(row)}: is not what was prepared (ids or lengths out of range): "
            "has the file changed? delete its folder and prepare again"
        )

    def sizes(self, rows: np.ndarray, mlm_probability: float) -> tuple[np.ndarray, np.ndarray]:
        """(tokens, loss units) of training rows: two int64 [rows]. `InputError` if they cannot be what was prepared."""
        columns = self.train.gather(rows, ("length", "units"))
        length, units = (plain(columns[name]).astype(np.int64) for name in ("length", "units"))
        wrong = (length < 1) | (length > self.longest) | (units < 0) | (units > length)
        if wrong.any():  # the plan depends on these numbers
            raise self.row_changed(int(rows[np.argmax(wrong)]))
        return length, self.type.units(length, units, mlm_probability)


def tokenizer_of(config: RunConfig) -> PreTrainedTokenizerFast:
    """The tokenizer of the run's encoder."""
    spec = config.encoder
    return tokenizers.load(spec.tokenizer if isinstance(spec, RandomEncoder) else spec)


def special_of(tokenizer: PreTrainedTokenizerFast) -> Special:
    """The ids that packing and masking need."""
    template = template_of(tokenizer)
    return Special(
        bos=template.first,
        eos=template.last,
        pad=tokenizer.pad_token_id,
        mask=tokenizer.mask_token_id,
        vocabulary=len(tokenizer),
        others=tuple(sorted({*tokenizer.all_special_ids, *template.between})),
        token_types=template.typed,
    )


def open_tasks(
    config: RunConfig, tasks: Sequence[Task], tokenizer: PreTrainedTokenizerFast, command: str
) -> list[TaskData]:
    """Finds the prepared folder of every dataset of every task; `InputError` names `command`, which makes it."""
    fingerprint = tokenizers.fingerprint(tokenizer)
    opened = []
    for index, (entry, task) in enumerate(zip(config.tasks, tasks, strict=True)):
        length = config.length_of(index)
        prepared = []
        for dataset in task.datasets:
            files = [Path(path) for path in task.files_of(dataset) if path is not None]
            key = store.encoding_key(dataset, task.kind, task.labels, length, fingerprint, task.query_length)
            prepared.append(store.find(Path(config.data), dataset, key, command, files))
        if hasattr(nn.ModuleDict(), task.name):  # which holds the heads by name
            raise InputError(f"tasks: name {task.name!r} is an attribute of torch's ModuleDict; choose another")
        if not any(p.train.rows for p in prepared):
            raise InputError(f"{task.name}: its prepared training split has no rows ({prepared[0].path})")
        chosen = None if entry.subset is None else subset.chosen_rows(task.name, entry.subset, prepared)
        train = Rows([p.train for p in prepared], chosen)
        dev = [p for p, code in zip(prepared, task.codes, strict=False) if code == "en"] or prepared
        opened.append(
            TaskData(
                task=task,
                labels=prepared[0].labels,
                max_length=length,
                prepared=tuple(prepared),
                train=train,
                dev=Rows([p.dev for p in dev]),
                dev_prepared=tuple(dev),
                cap=entry.cap,
                share=entry.share,
                loss_weight=entry.loss_weight,
                sources=_sources(entry, task, prepared, train),
            )
        )
    return opened


def _sources(entry: TaskEntry, task: Task, prepared: Sequence[store.Prepared], train: Rows) -> tuple[Source, ...]:
    """One source for each language of the entry, in order. `InputError` for a language without a row to draw."""
    names = list(dict.fromkeys(task.codes)) or [""]
    language = np.array([names.index(code) for code in task.codes or [""] * len(prepared)])  # of each folder
    splits = [p.manifest["splits"]["train"] for p in prepared]
    rows, tokens = (np.array([split[key] for split in splits]) for key in ("rows", "tokens"))
    if train.chosen is not None:
        folder = np.searchsorted(np.cumsum(rows), train.chosen, side="right")
        rows, tokens = (np.bincount(folder, values, len(rows)) for values in (None, train.length))
    rows, tokens = (np.bincount(language, values, len(names)) for values in (rows, tokens))
    if isinstance(entry.languages, dict):
        weights = np.array([entry.languages[name] for name in names], dtype=np.float64)
    else:  # p ~ n^alpha (Conneau & Lample 2019, section 3.1), alpha 0 for equal shares
        weights = rows.astype(np.float64) ** (entry.exponent or 0.0)
    for name in np.array(names)[rows == 0]:
        raise InputError(f"{task.name}: no training row is in language {name!r}; leave it out of `languages`")
    parts = zip(names, np.cumsum(rows) - rows, rows, weights / weights.sum(), tokens / np.maximum(rows, 1), strict=True)
    return tuple(Source(name, int(first), int(n), float(p), float(mean)) for name, first, n, p, mean in parts)
