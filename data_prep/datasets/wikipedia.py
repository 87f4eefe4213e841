"""Wikipedia in the 50 languages of XTREME-R, for masked language modelling: `wiki_sw` and so on.

Of each language the first 200 articles of the dump are dev and the next 20,000 training data (all that follow, where a
language has fewer). Only the files that hold these are downloaded.
"""

from common.languages import ALL
from data_prep.datasets.schema import Dataset, Hub
from tasks.registry import TASK_TYPES

DUMP = "20231101"
DEV_DOCUMENTS, TRAIN_DOCUMENTS = 200, 20_000

WIKIPEDIA = tuple(
    Dataset(
        f"wiki_{code}",
        "mlm",
        "CC BY-SA 3.0 and GFDL",
        "https://dumps.wikimedia.org",
        Hub(
            "wikimedia/wikipedia",
            f"{DUMP}.{code}",
            ("train",),
            ("train",),
            ("id", "text"),
            TASK_TYPES["mlm"].from_row,
            documents=(DEV_DOCUMENTS, TRAIN_DOCUMENTS),
        ),
        (),
        rows=f"{TRAIN_DOCUMENTS:,} / {DEV_DOCUMENTS} articles",
        language=code,
    )
    for code in ALL
)
