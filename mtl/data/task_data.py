"""The prepared data of a run: for every task, its training rows and its dev rows.

A task may have several datasets (ANLI+ = MNLI + SNLI + ANLI); their rows are concatenated and share the head.
Only manifests are read here; rows are fetched from memory-mapped Arrow when a step needs them, so neither start-up nor
a step gets slower with more data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerFast

from common.columns import plain
from common.errors import InputError
from common.run_config import Learned, RandomEncoder, RunConfig, TaskEntry
from data_prep.encoding import tokenizer as tokenizers
from data_prep.storage import store
from mtl.data import hybrid, subset
from mtl.data.rows import Rows, Source
from tasks.base import TaskType
from tasks.encoding import Special, template_of
from tasks.registry import TASK_TYPES
from tasks.task import Task


@dataclass(frozen=True)
class TaskData:
    """A task with its data. `labels`: names in id order, None for span, choice and mlm.

    dev_prepared: the folders whose dev rows are `dev`; sources: what examples are drawn from, one for each language
    and, with `hybrid`, each ordered pair of them; temperature: (value, whether it is learned), see `TaskEntry`.
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
    pooling: str | None
    temperature: tuple[float, bool] | None
    hybrid: float | None

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
        longest = max(int(bin.removeprefix("<=")) for split in splits for bin in split["length_histogram"])
        return longest if self.hybrid is None else 2 * longest  # a query and a passage of two rows

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
        sources = _sources(entry, task, prepared, train)
        if entry.hybrid is not None:
            train, sources = hybrid.with_two_languages(task.name, train, sources, entry.hybrid)
        given = entry.temperature
        temperature = (given.learned, True) if isinstance(given, Learned) else (given, False) if given else None
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
                sources=sources,
                pooling=entry.pooling,
                temperature=temperature,
                hybrid=entry.hybrid,
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
