"""mMARCO (Bonifacio et al. 2021): MS MARCO's passage ranking in 14 languages, by Google Translate, parallel by its ids.

In the layout of unicamp-dl/mmarco on the Hub (a loading script, which says what the columns are): triples of the ids of
a query, a passage that answers it and one that does not, the same for all languages; and in each language the queries
and the 8.8 million passages, `id<TAB>text`. The first `TRIPLES` of 39.8 million triples are read, in every language; a
pass through the passages keeps those that they name (about 0.6 GB of memory). Dev are the triples of one query in 256.
A group is a query with its passage.
"""

from collections.abc import Collection
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path

from common import fields
from common.errors import InputError
from common.languages import LANGUAGES, codes
from data_prep.datasets.schema import Dataset, Files, Published, Task, by_language, splits
from data_prep.formats import readers
from tasks.registry import TASK_TYPES

COMMIT = "6d039c4638c0ba3e46a9cb7b498b145e7edc6230"
TRIPLES = 400_000
ORIGINAL = "en"
DATA = "https://huggingface.co/datasets/unicamp-dl/mmarco"


def triples(path: Path, passages: str, ids: str) -> readers.Rows:
    """The triples with their texts. path: the queries; passages, ids: paths from its folder of the other two files."""
    named = []
    for number, line in islice(readers.lines(path.parent / ids), TRIPLES):
        where, columns = f"{path.parent / ids}: line {number}", line.split("\t")
        if len(columns) != 3:
            raise InputError(f"{where}: expected the ids of query, positive, negative, found {fields.shorten(line)}")
        named.append((where, columns))
    queries = _texts(path, {query for _, (query, *_) in named})
    texts = _texts(path.parent / passages, {name for _, (_, *two) in named for name in two})
    for where, columns in named:
        row = {"id": "-".join(columns), "query_id": columns[0], "group": "-".join(columns[:2])}
        for field, name, known in zip(("query", "positive", "negative"), columns, (queries, texts, texts), strict=True):
            if name not in known:
                other = path if known is queries else path.parent / passages
                raise InputError(f"{where}: {field} {name} is not in {other}; are the files whole?")
            row[field] = known[name]
        yield where, row


def _texts(path: Path, wanted: Collection[str]) -> dict[str, str]:
    """The texts of these ids in a file of `id<TAB>text`."""
    found = {}
    for number, line in readers.lines(path):
        name, tab, text = line.partition("\t")
        if not tab:
            raise InputError(f"{path}: line {number}: expected `id<TAB>text`, found {fields.shorten(line)}")
        if name in wanted:
            found[name] = text
    return found


pair = TASK_TYPES["pair"].from_row


def by_query(row: fields.RawRow, split: str, language: str) -> bool:
    """The same queries in every language."""
    return (sha256(row["query_id"].encode()).digest()[0] == 0) == (split == "dev")


def _in(code: str) -> Dataset:
    name = LANGUAGES[code].name.lower()
    passages, ids = f"../../collections/{name}_collection.tsv", "../../../triples.train.ids.small.tsv"
    queries = f"google/queries/train/{name}_queries.train.tsv"
    read = partial(triples, passages=passages, ids=ids)
    files = (queries, f"google/collections/{name}_collection.tsv", "triples.train.ids.small.tsv")
    return Dataset(
        "mmarco" if code == ORIGINAL else f"mmarco.{code}",
        "pair",
        "Apache-2.0; MS MARCO: non-commercial research",
        DATA,
        f"{TRIPLES:,} triples, of which 1 in 256 dev",
        files=(Files(queries, read, pair, splits("train", "train"), joined=(passages, ids), select=by_query),),
        language=code,
        published=tuple(
            Published(f"mmarco/data/{file}", (f"{DATA}/resolve/{COMMIT}/data/{file}",), None) for file in files
        ),
        translated="" if code == ORIGINAL else "Google Translate, 2021",
    )


TRAINING = tuple(_in(code) for code in (ORIGINAL, *codes("ar de es fr hi id it ja nl pt ru vi zh")))
TASKS = Task("mmarco", "pair", "map@20", ("mmarco",), others=by_language(TRAINING[1:]))
