"""XTREME's own machine translations of its English training data (Hu et al. 2020): other ones than XNLI's and MLQA's.

Their rows are in another order than the English data's (google-research/xtreme#37) and are not matched with them: each
has its label, and in XNLI and PAWS-X the two English texts. The dev sets are the English ones.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from common import fields
from common.labels import NLI, PAWSX
from common.languages import codes
from data_prep.datasets import mnli, pawsx, squad, xnli
from data_prep.datasets.schema import Convert, Dataset, Dropped, Files, Published, Task, by_language, in_languages
from data_prep.datasets.sentence_pair import sentence_pair
from data_prep.formats import readers
from data_prep.formats.readers import Reader
from tasks.classify.data import Classify

BUCKET = "https://storage.googleapis.com/xtreme_translations"
COLUMNS = ("english1", "english2", "sentence1", "sentence2", "label")
PAIRS = "translate-train/en-{code}-translated.tsv"


xtreme_nli = sentence_pair("sentence1", "sentence2", words=xnli.WORDS)


def xtreme_pawsx(row: fields.RawRow, where: str, labels: fields.Labels) -> Classify:
    if row.get("label") not in pawsx.WORDS:
        raise Dropped("no label 0 or 1")
    return pawsx.pawsx(row, where, labels)


def translated(of: Dataset, path: str, read: Reader, convert: Convert, languages: Iterable[str]) -> tuple[Dataset, ...]:
    """The translations of `of` at `path` in the bucket."""
    whole = Dataset(
        f"{of.name}_xtreme", of.kind, of.licence, f"{BUCKET}/{path}", of.rows, dev_from=of.name, splits=("train",),
        files=(Files(path, read, convert),), translated="XTREME, 2020",
    )  # fmt: skip

    def published(code: str) -> Published:
        name = path.format(code=code)
        return Published(f"xtreme_{code}/{name}", (f"{BUCKET}/{name}",), None)

    each = in_languages(whole, languages)
    return tuple(replace(dataset, published=(published(dataset.language),)) for dataset in each)


SQUAD = "SQuAD/translate-train/squad.translate.train.en-{code}.json"
_NLI = translated(mnli.TRAINING, f"XNLI/{PAIRS}", partial(readers.tsv, columns=COLUMNS), xtreme_nli, mnli.TRANSLATED)
_QUOTED = partial(readers.quoted_tsv, columns=COLUMNS, lenient=True)  # some rows are shifted or cut
_PAWSX = translated(pawsx.ENGLISH, f"PAWSX/{PAIRS}", _QUOTED, xtreme_pawsx, pawsx.TRANSLATED)
_SQUAD = translated(squad.V1, SQUAD, readers.squad_json, squad.translated_squad, codes("ar de el es hi ru th tr vi zh"))
TRAINING = (*_NLI, *_PAWSX, *_SQUAD)
TASKS = (
    Task("mnli_xtreme", "classify", "accuracy", ("mnli",), NLI, others=by_language(_NLI)),
    Task("pawsx_xtreme", "classify", "accuracy", ("pawsx",), PAWSX, others=by_language(_PAWSX)),
    Task("squad_v1_xtreme", "span", "squad", ("squad_v1",), others=by_language(_SQUAD)),
)
