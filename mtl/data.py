"""The prepared data of a run: for every task, its training rows and its dev rows.

A task may have several datasets (ANLI+ = MNLI + SNLI + ANLI); their rows stand behind one another and share the head.
Nothing is read here but manifests and three columns; rows are fetched from memory-mapped Arrow when a step needs them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerFast

from data_prep import store
from data_prep import tokenizer as tokenizers
from data_prep.encode import masked_count
from data_prep.errors import InputError
from mtl.batch import Special
from mtl.config import RandomEncoder, RunConfig
from mtl.tasks import Task


class Rows:
    """Several splits behind one another. `length`, `units`, `example`: int32 arrays [rows]."""

    def __init__(self, splits: Sequence[store.Split]) -> None:
        self._splits = list(splits)
        self._ends = np.cumsum([split.rows for split in splits])
        self.length = np.concatenate([split.length for split in splits])
        self.units = np.concatenate([split.units for split in splits])
        # Example numbers of each split begin at 0; shifted so that they stay distinct.
        shift, shifted = 0, []
        for split in splits:
            shifted.append(np.asarray(split.example) + shift)
            shift += int(split.example[-1]) + 1 if split.rows else 0
        self.example = np.concatenate(shifted)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @cached_property
    def passage_keys(self) -> np.ndarray:
        """int64 [rows] of kind `pair`: the key of each passage, the same for the same text."""
        return np.concatenate([split.passage_keys() for split in self._splits])

    def take(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """The encoded rows of the given numbers, in the order given."""
        found: list[dict[str, Any]] = [{}] * len(rows)
        owner = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(owner):
            places = np.flatnonzero(owner == number)
            first = int(self._ends[number]) - self._splits[number].rows
            for place, row in zip(places, self._splits[number].take(rows[places] - first), strict=True):
                found[place] = row
        return found

    def origin(self, row: int) -> str:
        """Where a row lies on disk, for a message."""
        owner = int(np.searchsorted(self._ends, row, side="right"))
        split = self._splits[owner]
        place = row - (int(self._ends[owner]) - split.rows)
        return f"{split.path} row {place} (example {int(split.example[place])})"


@dataclass(frozen=True)
class TaskData:
    """A task with its data. `labels`: names in id order, None for span, choice and mlm."""

    task: Task
    labels: tuple[str, ...] | None
    max_length: int
    prepared: tuple[store.Prepared, ...]
    train: Rows
    dev: Rows
    cap: int | None
    share: float | None
    loss_weight: float

    @property
    def name(self) -> str:
        return self.task.name

    def train_units(self, mlm_probability: float) -> np.ndarray:
        """Loss units of every training row, int64 [rows]."""
        if self.task.kind == "mlm":
            return masked_count(self.train.length, mlm_probability)
        return self.train.units.astype(np.int64)


def tokenizer_of(config: RunConfig) -> PreTrainedTokenizerFast:
    """The tokenizer of the run's encoder."""
    spec = config.encoder
    return tokenizers.load(spec.tokenizer if isinstance(spec, RandomEncoder) else spec)


def special_of(tokenizer: PreTrainedTokenizerFast) -> Special:
    """The ids that packing and masking need."""
    return Special(
        bos=tokenizer.cls_token_id,
        eos=tokenizer.sep_token_id,
        pad=tokenizer.pad_token_id,
        mask=tokenizer.mask_token_id,
        vocabulary=len(tokenizer),
        others=tuple(sorted(tokenizer.all_special_ids)),
    )


def open_tasks(config: RunConfig, tokenizer: PreTrainedTokenizerFast, command: str) -> list[TaskData]:
    """Finds the prepared folder of every dataset of every task; `InputError` names `command`, which makes it."""
    fingerprint = tokenizers.fingerprint(tokenizer)
    opened = []
    for index, (entry, task) in enumerate(zip(config.tasks, config.resolved_tasks(), strict=True)):
        length = config.length_of(index)
        prepared = []
        files = [Path(path) for path in (task.train, task.dev) if path is not None]
        for dataset in task.datasets:
            key = store.encoding_key(dataset, task.kind, task.labels, length, fingerprint, task.query_length)
            prepared.append(store.find(Path(config.data), dataset, key, command, files))
        if hasattr(nn.ModuleDict(), task.name):  # the heads are kept in one, by name
            raise InputError(f"tasks: name {task.name!r} is a word of torch's own; choose another")
        if not any(p.train.rows for p in prepared):
            raise InputError(f"{task.name}: its prepared training split has no rows ({prepared[0].path})")
        opened.append(
            TaskData(
                task=task,
                labels=prepared[0].labels,
                max_length=length,
                prepared=tuple(prepared),
                train=Rows([p.train for p in prepared]),
                dev=Rows([p.dev for p in prepared]),
                cap=entry.cap,
                share=entry.share,
                loss_weight=entry.loss_weight,
            )
        )
    return opened
