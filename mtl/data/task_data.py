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
import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerFast

from common.columns import plain
from common.errors import InputError
from common.run_config import Learned, RunConfig, TaskEntry
from data_prep.datasets.schema import Task
from data_prep.encoding import tokenizer as tokenizers
from data_prep.storage import store
from mtl.data import hybrid
from mtl.data.rows import Rows, Source
from tasks.base import TaskType
from tasks.encoding import Special, template_of
from tasks.registry import TASK_TYPES


@dataclass(frozen=True)
class TaskData:
    """A task with its data. `labels`: names in id order, None for span, choice and mlm.

    dev_prepared: the folders whose dev rows are `dev`; sources: what examples are drawn from, one for each language
    and, with `hybrid`, each ordered pair of them.
    """

    task: Task
    entry: TaskEntry
    labels: tuple[str, ...] | None
    max_length: int
    prepared: tuple[store.Prepared, ...]
    train: Rows
    dev: Rows
    dev_prepared: tuple[store.Prepared, ...]
    sources: tuple[Source, ...]

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def type(self) -> TaskType[Any]:
        return TASK_TYPES[self.task.kind]

    @property
    def temperature(self) -> tuple[float, bool] | None:
        """(value, whether it is learned), see `TaskEntry`."""
        given = self.entry.temperature
        return (given.learned, True) if isinstance(given, Learned) else (given, False) if given else None

    @property
    def mean_length(self) -> float:
        """Tokens of a drawn training row, on average."""
        return sum(source.share * source.tokens for source in self.sources)

    @cached_property
    def longest(self) -> int:
        """No training row has more tokens; from the manifests, whose histogram rounds it up to a power of two."""
        splits = [prepared.manifest["splits"]["train"] for prepared in self.prepared]
        longest = max(int(bin.removeprefix("<=")) for split in splits for bin in split["length_histogram"])
        return longest if self.entry.hybrid is None else 2 * longest  # a query and a passage of two rows

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
            files = [Path(path) for path in task.files.get(dataset, ())]
            job = store.Preparation(dataset, task.kind, task.labels, task.language, length, task.query_length)
            prepared.append(store.find(Path(config.data), dataset, job.key(fingerprint), command, files))
        if len({p.labels for p in prepared}) > 1:
            raise InputError(f"{task.name}: its files have different labels: give `labels` in the task entry")
        if not any(p.train.rows for p in prepared):
            raise InputError(f"{task.name}: its prepared training split has no rows ({prepared[0].path})")
        chosen = None if entry.subset is None else _chosen_rows(task.name, entry.subset, prepared)
        train = Rows([p.train for p in prepared], chosen)
        sources = _sources(entry, task, prepared, train)
        if entry.hybrid is not None:
            train, sources = hybrid.with_two_languages(task.name, train, sources, entry.hybrid)
        dev = [p for p, code in zip(prepared, task.codes, strict=False) if code == "en"] or prepared
        opened.append(
            TaskData(
                task=task,
                entry=entry,
                labels=prepared[0].labels,
                max_length=length,
                prepared=tuple(prepared),
                train=train,
                dev=Rows([p.dev for p in dev]),
                dev_prepared=tuple(dev),
                sources=sources,
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


def _chosen_rows(task: str, path: str, prepared: Sequence[store.Prepared]) -> np.ndarray:
    """Ascending int64: the training rows of these folders, counted over all, whose ids stand in the file, one a line.

    Ids, not row numbers: they stay valid when the data are prepared again for another tokenizer or length, or without
    the rows of a test (`TaskType.row_id`). All rows of an example, and all examples with an id, are meant.
    Raises `InputError` for a file that cannot be read or is empty, and for an id that no row has.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{task}: subset {path}: cannot be read ({error})") from None
    wanted = pa.array([line for line in lines if line], pa.string())
    ids = store.row_ids(prepared)
    unknown = wanted.filter(pc.invert(pc.is_in(wanted, value_set=ids)))
    if not len(wanted):
        raise InputError(f"{task}: subset {path}: empty; expected the id of a training example a line")
    if len(unknown):
        raise InputError(
            f"{task}: subset {path}: {len(unknown)} of {len(wanted)} ids, {unknown[0]} the first, are those of no "
            f"training row of {', '.join(str(p.path) for p in prepared)}: prepare the data that the list was made of"
        )
    return np.flatnonzero(pc.is_in(ids, value_set=wanted).to_numpy(zero_copy_only=False))
