"""Parts of speech of Universal Dependencies, as XTREME uses them, trained on its English part, or another."""

from dataclasses import replace
from functools import partial

from common import fields
from common.errors import InputError
from common.labels import UPOS
from common.languages import UD_NAMES, codes
from data_prep.datasets.schema import Dataset, Dropped, Files, Hub, Task, by_language, in_languages
from data_prep.formats import tagged
from tasks.tag.data import Tag

NO_WORDS = "words withheld by the treebank's licence"
COLUMNS = ("tokens", "pos_tags")
# The loading script from which the Hub's copy was converted gives rows of words that have a tag, file by path.
DIFFERS = "multi-word tokens are in parts and treebanks in another order"


def word_tags(row: fields.RawRow, where: str, labels: fields.Labels) -> Tag:
    """Words and tags from a file of one word a line (`formats/tagged.py`)."""
    words = fields.texts(row, "words", where)
    blanks = words.count("_")
    if blanks and blanks >= len(words) - 1:  # XTREME leaves these sentences out as well
        raise Dropped(NO_WORDS)
    if "tags" not in row:
        raise InputError(f"{where}: this copy has no labels, only words: a test split? expected `word<TAB>TAG`")
    return Tag("", tuple(words), tuple(fields.texts(row, "tags", where)))


def hub_tags(row: fields.RawRow, where: str, labels: fields.Labels, *, column: str, order: fields.Labels) -> Tag:
    """`order` is the Hub's, for copies whose Parquet files have lost the label names."""
    tags = fields.get(row, column, where)
    if not isinstance(tags, list):
        raise fields.wrong(where, column, "a list of tags", tags)
    if any(tag in (None, -1) for tag in tags):
        raise InputError(f"{where}: field `{column}`: this copy has no labels; expected a tag for every word")
    words = fields.texts(row, "tokens", where)
    return Tag("", tuple(words), tuple(fields.named(tag, order, column, where) for tag in tags))


hub_pos = partial(hub_tags, column="pos_tags", order=UPOS)

XTREME = Hub(
    "google/xtreme", "udpos.{ud}", COLUMNS, hub_pos, label="pos_tags", languages=tuple(UD_NAMES), differs=DIFFERS
)
MORE_LANGUAGES = ("lt", "pl", "ro", "uk", "wo")  # of XTREME-R
ENGLISH = Dataset(
    "udpos",
    "tag",
    "of each treebank (CC BY-SA 4.0 and others)",
    "https://universaldependencies.org (UD 2.5)",
    "21,253 / 3,974",
    (
        XTREME,
        replace(XTREME, id="izhx/xtreme-r-udpos", config="{code}", languages=MORE_LANGUAGES, unconfirmed=True),
    ),
    (
        Files("{split}-{code}.tsv", tagged.word_lines, word_tags, label="tags", within="udpos"),
        Files("{code}_*-ud-{split}.conllu", tagged.conllu, word_tags, label="tags", several=True),
    ),
)
TEST = replace(
    ENGLISH,
    obtain="https://universaldependencies.org (UD 2.5; 2.7 for lt pl ro uk wo)",
    rows="47 to 20,436 sentences",
    labels=UPOS,
    splits=("test", "validation"),
    layout="xx_*-ud-{test,dev}.conllu; XTREME's udpos/{test,dev}-xx.tsv",
    suites={"xtreme": tuple(UD_NAMES), "xtreme-r": codes(*UD_NAMES, *MORE_LANGUAGES)},
)
WITHOUT_DEV = ("kk", "th", "tl", "yo")
TRAINING = (ENGLISH, *in_languages(ENGLISH, sorted(set(TEST.languages) - set(WITHOUT_DEV))))
TASKS = Task("udpos", "tag", "token_accuracy", ("udpos",), UPOS, others=by_language(TRAINING[1:]))
