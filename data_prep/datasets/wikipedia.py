"""Wikipedia in the 50 languages of XTREME-R, for masked language modelling: `wiki_sw` and so on.

Of each language the first 200 articles of the dump are dev and the next 20,000 training data (all that follow, where a
language has fewer). Only the files that hold these are downloaded.
"""

from itertools import chain

from common.languages import LANGUAGES
from data_prep.datasets.schema import MULTIPLE, Dataset, Hub, Task, by_language, splits
from tasks.registry import TASK_TYPES

DEV_DOCUMENTS, TRAIN_DOCUMENTS = 200, 20_000

TRAINING = tuple(
    Dataset(
        f"wiki_{code}",
        "mlm",
        "CC BY-SA 3.0 and GFDL",
        "https://dumps.wikimedia.org",
        f"{TRAIN_DOCUMENTS:,} / {DEV_DOCUMENTS} articles",
        (
            Hub(
                "wikimedia/wikipedia",
                "20231101.{code}",
                ("id", "text"),
                TASK_TYPES["mlm"].from_row,
                "b04c8d1ceb2f5cd4588862100d08de323dccfbaa",
                splits("train", "train"),
                documents=(DEV_DOCUMENTS, TRAIN_DOCUMENTS),
            ),
        ),
        language=code,
    )
    for code in LANGUAGES
)
WIKIS = by_language(TRAINING)
TASKS = (  # on one head all 50 languages, or those of the entry; or one language
    Task("wiki", "mlm", "masked_accuracy", tuple(chain(*WIKIS.values())), language=MULTIPLE, others=WIKIS),
    *(Task(f"wiki_{code}", "mlm", "masked_accuracy", wiki, language=code) for code, wiki in WIKIS.items()),
)
