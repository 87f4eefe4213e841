"""CCGbank (Hockenmaier and Steedman 2007): sections 02-21 to train, 00 to develop, 23 to test."""

from common import fields
from data_prep.datasets.schema import Dataset, Files, Task
from data_prep.formats import readers
from tasks.tag.data import Tag

SECTIONS = {"train": tuple(f"{section:02d}" for section in range(2, 22)), "dev": ("00",)}


def ccg(row: fields.RawRow, where: str, labels: fields.Labels) -> Tag:
    words, tags = fields.texts(row, "words", where), fields.texts(row, "tags", where)
    return Tag(str(row.get("id") or ""), tuple(words), tuple(tags))


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
