"""The table of tasks: what each is made of and how it is scored. Data, not classes.

A task is a kind, a label set, a metric and one or more datasets that share one head. The nine here are the
intermediate tasks of Phang et al. 2020 (arXiv 2005.13013); a user's own task is written in the run config and
becomes a `Task` as well (see `common/run_config.py`). The order of `labels` fixes the label ids everywhere.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from common import languages
from common.labels import NER, NLI, PAWSX, QQP, UPOS

__all__ = ["KINDS", "METRICS", "NLI", "TASKS", "Kind", "Task"]

Kind = Literal["classify", "span", "choice", "tag", "mlm", "pair"]
KINDS: tuple[str, ...] = get_args(Kind)

# What a dev figure may be, by kind; the first is the default and is also what selects the best model.
METRICS: dict[str, tuple[str, ...]] = {
    "classify": ("accuracy",),
    "span": ("squad", "squad_v2"),
    "choice": ("accuracy",),
    "tag": ("token_accuracy",),
    "mlm": ("masked_accuracy",),
    "pair": ("map@20",),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One task: `labels` is None where the kind has none (span, choice, mlm) or where the data define them (tag)."""

    name: str
    kind: Kind
    metric: str
    datasets: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    language: str = "en"
    # A user's own files; set only for a task written in the run config, then `datasets` is (name,).
    train: str | None = None
    dev: str | None = None
    # Greatest length of a pair's query, special tokens included (None: as long as its passage, the config's length).
    query_length: int | None = None


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        # ANLI+ is MNLI + SNLI + ANLI rounds 1-3 on one head (Phang et al. 2020, table 1).
        Task("anli_plus", "classify", "accuracy", ("mnli", "snli", "anli"), NLI),
        Task("mnli", "classify", "accuracy", ("mnli",), NLI),
        Task("qqp", "classify", "accuracy", ("qqp",), QQP),
        Task("squad_v1", "span", "squad", ("squad_v1",)),
        Task("squad_v2", "span", "squad_v2", ("squad_v2",)),
        Task("hellaswag", "choice", "accuracy", ("hellaswag",)),
        Task("ccg", "tag", "token_accuracy", ("ccg",)),
        Task("cosmosqa", "choice", "accuracy", ("cosmosqa",)),
        Task("commonsenseqa", "choice", "accuracy", ("commonsenseqa",)),
        # What the targets train on (XQuAD and MLQA: squad_v1; XCOPA: siqa, then copa).
        Task("xnli", "classify", "accuracy", ("xnli",), NLI),
        Task("pawsx", "classify", "accuracy", ("pawsx",), PAWSX),
        Task("udpos", "tag", "token_accuracy", ("udpos",), UPOS),
        Task("panx", "tag", "token_accuracy", ("panx",), NER),
        Task("tydiqa", "span", "squad", ("tydiqa",)),
        Task("siqa", "choice", "accuracy", ("siqa",)),
        Task("copa", "choice", "accuracy", ("copa",)),
        # Lengths of XTREME-R's scripts: 96 and 256 tokens, 64 and 64 (train_lareqa.sh, train_mewslix.sh).
        Task("lareqa", "pair", "map@20", ("lareqa",), query_length=96),
        Task("mewslix", "pair", "map@20", ("mewslix",), query_length=64),
        # Wikipedia: all 50 languages on one head, or one language.
        Task("wiki", "mlm", "masked_accuracy", tuple(f"wiki_{code}" for code in languages.ALL), language="mul"),
        *(Task(f"wiki_{code}", "mlm", "masked_accuracy", (f"wiki_{code}",), language=code) for code in languages.ALL),
    )
}
