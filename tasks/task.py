"""A task: a task type, a label set, a metric, and the datasets that share its head."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """`kind` is the name of a task type. `labels`: None where the type has none or where the data define them (tag)."""

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
