"""CCGbank (Hockenmaier and Steedman 2007): sections 02-21 to train, 00 to develop, 23 to test."""

from data_prep.datasets.schema import Dataset, Files, Task
from data_prep.formats import readers
from tasks.registry import TASK_TYPES

SECTIONS = {"train": tuple(f"{section:02d}" for section in range(2, 22)), "dev": ("00",)}


ccg = TASK_TYPES["tag"].from_row

TRAINING = Dataset(
    "ccg",
    "tag",
    "that of the files given; CCGbank: LDC User Agreement (LDC2005T13)",
    "https://catalog.ldc.upenn.edu/LDC2005T13",
    "39,604 / 1,913 (CCGbank)",
    files=(
        Files("*.{split}.tsv", readers.words_tags, ccg, within="ccg"),
        Files("{split}/*.auto", readers.ccgbank_auto, ccg, SECTIONS, sections=True),
    ),
    hint=(
        "CCGbank is LDC2005T13, under a paid licence; add --source DIR with DIR/.../ccg/NAME.train.tsv and NAME.dev.tsv"
        " (words<TAB>tags, one sentence a line) or CCGbank's own .../AUTO/NN/*.auto (sections 02-21 are training, 00 is"
        " dev), or give `train` and `dev` in the config; configs/mtl_open.json runs without it"
    ),
)
TASKS = Task("ccg", "tag", "token_accuracy", ("ccg",))
