"""The tasks that a run config may name. Data, not classes.

The nine intermediate tasks are those of Phang et al. 2020 (arXiv 2005.13013); a user's own task is written in the run
config (`data_prep/run_tasks.py`). The order of `labels` fixes the label ids everywhere.
"""

from common import languages
from common.labels import NER, NLI, PAWSX, QQP, UPOS
from tasks.task import Task

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
