"""A task: a task type, a label set, a metric, and the datasets that share its head."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MULTIPLE = "mul"  # ISO 639-2: multiple languages


@dataclass(frozen=True, slots=True)
class Task:
    """`kind` is the name of a task type. `labels`: None where the type has none or where the data define them (tag).

    files: of datasets that the user has translated, training and dev file. others: its datasets in other languages, by
    language. codes: where the entry of a run names languages, that of each of its datasets, equal ones in a row.
    """

    name: str
    kind: str
    metric: str
    datasets: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    language: str = "en"
    # A user's own files; set only for a task written in the run config, then `datasets` is (name,).
    train: str | None = None
    dev: str | None = None
    # Greatest length of a pair's query, special tokens included (None: as long as its passage, the config's length).
    query_length: int | None = None
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    codes: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def files_of(self, dataset: str) -> tuple[str | None, str | None]:
        """The user's own files of one of its datasets, training and dev."""
        return self.files.get(dataset, (self.train, self.dev))

    @property
    def by_language(self) -> dict[str, tuple[str, ...]]:
        """Its datasets in every language that it has."""
        return {**({} if self.language == MULTIPLE else {self.language: self.datasets}), **self.others}
