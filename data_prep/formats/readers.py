"""File formats: each reader yields (where, row), `where` being the file and row for messages, `row` a dict.

Readers are lazy and know nothing of datasets and tasks. Text files are read as bytes and decoded line by line, so that
a broken byte or a truncated line is reported with its number (from 1; Parquet: row numbers from 0, as in `datasets`).
SQuAD's JSON is the exception to laziness: it is one document (42 MB for SQuAD 2.0).
"""

import contextlib
import csv
import gzip
import io
import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, product
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from common import jsontext
from common.errors import InputError, reason
from common.fields import RawRow, named, shorten

Rows = Iterator[tuple[str, RawRow]]
Reader = Callable[[Path], Rows]

BATCH = 1024


def hub_file(path: Path, columns: Sequence[str]) -> Rows:
    """A file of a repository of the Hub: the named columns of Parquet, whole rows of JSON lines or CSV."""
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix == ".parquet":
        return parquet(path, columns)
    if suffix == ".arrow":
        return arrow(path, columns)
    if suffix in (".json", ".jsonl"):
        return jsonl(path)
    if suffix == ".csv":
        return csv_quoted(path)
    raise InputError(f"{path}: expected Parquet, Arrow, JSON lines or CSV")


def parquet(path: Path, columns: Sequence[str] | None = None) -> Rows:
    """The named columns of a Parquet file, or all; ClassLabel numbers become names where the file records them."""
    with _readable(path, "Parquet file", pa.ArrowException, OSError):
        file = pq.ParquetFile(path)
        columns = file.schema_arrow.names if columns is None else columns
        yield from _table_rows(path, file.schema_arrow, columns, file.iter_batches(BATCH, columns=list(columns)))


def arrow(path: Path, columns: Sequence[str]) -> Rows:
    """As `parquet`, of a file that `datasets` wrote with `save_to_disk` (an Arrow stream)."""
    with _readable(path, "Arrow file", pa.ArrowException, OSError), pa.memory_map(str(path)) as source:
        stream = pa.ipc.open_stream(source)
        yield from _table_rows(path, stream.schema, columns, (batch.select(list(columns)) for batch in stream))


@contextlib.contextmanager
def _readable(path: Path, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns the errors of a file that is damaged into `InputError`."""
    try:
        yield
    except errors as error:
        raise InputError(f"{path}: not a readable {what} ({reason(error)}); copy or download it again") from None


def _table_rows(path: Path, schema: pa.Schema, columns: Sequence[str], batches: Iterator[pa.RecordBatch]) -> Rows:
    """The rows of all batches; the columns are checked before the first is read."""
    there: list[str] = schema.names
    missing = [name for name in columns if name not in there]
    if missing:
        expected = ", ".join(columns)
        raise InputError(f"{path}: column `{missing[0]}` is missing; expected {expected}; there: {', '.join(there)}")
    twice = [name for name in columns if there.count(name) > 1]
    if twice:
        raise InputError(f"{path}: column `{twice[0]}` occurs {there.count(twice[0])} times; expected one")
    names, first = _class_names(path, schema), 0
    for batch in batches:
        yield from _batch_rows(path, batch, names, first)
        first += batch.num_rows


def _class_names(path: Path, schema: pa.Schema) -> dict[str, list[str]]:
    """Column -> label names, from the metadata that `datasets` writes into Arrow schemas."""
    info = (schema.metadata or {}).get(b"huggingface", b"{}")
    with _readable(path, "schema with `huggingface` metadata", ValueError, AttributeError, KeyError, TypeError):
        features = jsontext.parse(info.decode("utf-8")).get("info", {}).get("features", {})
        # A list of labels (POS, NER) is {"feature": {"names": ...}, "_type": "List"}, formerly "Sequence".
        found = {name: one.get("feature", one) for name, one in features.items() if isinstance(one, dict)}
        return {
            name: [str(label) for label in one["names"]]
            for name, one in found.items()
            if isinstance(one, dict) and one.get("_type") == "ClassLabel"
        }


def _batch_rows(path: Path, batch: pa.RecordBatch, names: dict[str, list[str]], first: int) -> Rows:
    """The rows of one Arrow batch whose first row is number `first`."""
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError:  # which row and column is looked for only now, because it is slow
        for i, name in product(range(batch.num_rows), batch.schema.names):
            try:
                batch.column(name)[i].as_py()
            except UnicodeDecodeError as error:
                place = f"{path}: row {first + i}: field `{name}`"
                raise InputError(f"{place}: invalid UTF-8 ({error.reason})") from None
        raise
    for i, row in enumerate(rows, first):
        where = f"{path}: row {i}"
        for column in names.keys() & row.keys():
            row[column] = _class_name(row[column], names[column], column, where)
        yield where, row


def _class_name(value: Any, labels: list[str], column: str, where: str) -> Any:
    """The name of a ClassLabel number, of each in a list; None for -1, which stands for a label that is withheld."""
    if isinstance(value, list):
        return [_class_name(item, labels, column, where) for item in value]
    if not isinstance(value, int):
        return value
    return None if value == -1 else named(value, labels, column, where)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text without its line end) of a UTF-8 file; lines end at LF or CRLF and nothing else.

    A .gz, .xz or .zst file is unpacked on the way, and of a .tar.gz its first file.
    """
    try:
        with _opened(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"{path}: line {number}: invalid UTF-8 at byte {error.start + 1} of the line ({error.reason});"
                        " save the file as UTF-8"
                    ) from None
                yield number, text.rstrip("\n").removesuffix("\r")
    except (EOFError, tarfile.TarError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a readable archive ({reason(error)}); copy or download it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path.name.endswith((".tar.gz", ".tgz")):
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member)
                if file is not None:
                    yield file
                    return
            raise tarfile.TarError("no file in it")
    elif path.suffix == ".zst":
        with pa.input_stream(str(path), compression="zstd") as stream:
            yield io.BufferedReader(stream)
    else:
        unpackers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
        with unpackers.get(path.suffix, open)(path, "rb") as file:
            yield file


def jsonl(path: Path) -> Rows:
    """One JSON object a line; empty lines are passed over."""
    for number, line in lines(path):
        if not line.strip():
            continue
        try:
            row = jsontext.parse(line)
        except json.JSONDecodeError as error:
            where = f"{path}: line {number}, column {error.colno}"
            raise InputError(f"{where}: not valid JSON ({error.msg}); truncated?") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number}: expected a JSON object, found {shorten(row)}")
        yield f"{path}: line {number}", row


def text(path: Path) -> Rows:
    """Plain text: every line that is not empty becomes {"text": line}."""
    for number, line in lines(path):
        if line.strip():
            yield f"{path}: line {number}", {"text": line}


def tsv(path: Path, columns: Sequence[str] | None = None) -> Rows:
    """Tab-separated without quoting (GLUE): quotes are characters like any other; with a header line or `columns`."""
    rows = ((f"{path}: line {number}", line.split("\t")) for number, line in lines(path) if line)
    header = [] if columns is None else [("", list(columns))]
    hint = "; a line break inside a field? QQP: take QQP-clean.zip, where they are repaired"
    return _with_header(chain(header, rows), hint)


def quoted_tsv(path: Path, columns: Sequence[str], lenient: bool = False) -> Rows:
    """Tab-separated with csv's quoting, CRLF and no header, as XTREME's scripts write XNLI and PAWS-X.

    A row has all `columns`, or all but the last one: XTREME leaves the label out of its test files. Another one is an
    error or, if `lenient`, empty.
    """
    for where, fields in _csv(path, "\t", strict=not lenient):
        fits = len(columns) - len(fields) in (0, 1)
        if not fits and not lenient:
            raise InputError(f"{where}: {len(fields)} fields; expected {', '.join(columns)} (XTREME's TSV)")
        yield where, dict(zip(columns, fields, strict=False)) if fits else {}


def csv_quoted(path: Path) -> Rows:
    """Comma-separated with a header line and double quotes; a field may hold line breaks."""
    return _with_header(_csv(path, ","))


def _with_header(rows: Iterator[tuple[str, list[str]]], hint: str = "") -> Rows:
    _, header = next(rows, ("", []))
    for where, fields in rows:
        if len(fields) != len(header):
            expected = f"{len(header)} fields ({', '.join(header)[:300]})"
            raise InputError(f"{where}: expected {expected}, found {len(fields)}{hint}")
        yield where, dict(zip(header, fields, strict=True))


def _csv(path: Path, delimiter: str, strict: bool = True) -> Iterator[tuple[str, list[str]]]:
    """(file and first line, fields) of each row that is not empty."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader((f"{line}\n" for _, line in lines(path)), delimiter=delimiter, strict=strict)
    first = 1
    try:
        for fields in reader:
            if fields:
                yield f"{path}: line {first}", fields
            first = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}: line {first}: not a complete CSV row ({error})") from None


def squad_json(path: Path) -> Rows:
    """SQuAD's JSON document: one row {"id", "question", "context", "answers", "is_impossible"} per question."""
    for where, paragraph in squad_paragraphs(path, "SQuAD"):
        if "context" not in paragraph:
            raise InputError(f"{where}: field 'context' is missing; expected SQuAD's JSON (data, paragraphs, qas)")
        for number, question in enumerate(paragraph["qas"]):
            yield f"{where}.qas[{number}]", {**question, "context": paragraph["context"]}


def squad_paragraphs(path: Path, name: str = "XQuAD-R") -> Rows:
    """One row {"context", "qas"} per paragraph of SQuAD's JSON document; with "sentence_breaks" in XQuAD-R's."""
    expected = f"expected {name}'s JSON (data, paragraphs, qas)"
    try:
        document = jsontext.parse("\n".join(line for _, line in lines(path)))
        for a, article in enumerate(document["data"]):
            for p, paragraph in enumerate(article["paragraphs"]):
                where = f"{path}: data[{a}].paragraphs[{p}]"
                if not all(isinstance(question, dict) for question in paragraph["qas"]):
                    raise TypeError
                yield where, paragraph
    except json.JSONDecodeError as error:
        where = f"{path}: line {error.lineno}, column {error.colno}"
        raise InputError(f"{where}: not valid JSON ({error.msg}); truncated?") from None
    except KeyError as error:
        raise InputError(f"{path}: field {error} is missing; {expected}") from None
    except TypeError:
        raise InputError(f"{path}: {expected}") from None


def parallel(queries: Path, passages: Path) -> Rows:
    """Two files whose lines translate each other: {"query", "passage", "group"}; a passage's group is its text.

    So in files of several languages with one, English say, equal passages have one group. `InputError` where the files
    have different numbers of lines, before the first row.
    """
    first, second = (sum(1 for _ in lines(path)) for path in (queries, passages))
    if first != second:
        raise InputError(f"{queries}: {first:,} lines, {passages}: {second:,}; expected as many")
    for (number, query), (_, passage) in zip(lines(queries), lines(passages), strict=True):
        yield f"{queries}: line {number}", {"query": query, "passage": passage, "group": passage}


def words_tags(path: Path) -> Rows:
    """CCG in two columns: `words<TAB>tags`, both separated by spaces, one sentence a line."""
    for number, line in lines(path):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != 2:
            raise InputError(f"{path}: line {number}: expected `words<TAB>tags`, found {len(fields)} columns")
        yield f"{path}: line {number}", {"words": _split(fields[0]), "tags": _split(fields[1])}


def _split(text: str) -> list[str]:
    # At spaces only: str.split() would also split at a no-break space inside a word.
    return [item for item in text.split(" ") if item]


_LEAF = re.compile(r"\(<L (.*?)>\)(?=[\s)]|$)")  # a word may hold < and >, but no space


def ccgbank_auto(path: Path) -> Rows:
    """A CCGbank `.auto` file: an `ID=` line and a derivation line per sentence.

    A leaf of a derivation is `(<L CATEGORY POS POS WORD PREDICATE-ARGUMENT>)`; inner nodes start with `<T`.
    """
    name = None
    for number, line in lines(path):
        if line.startswith("ID="):
            name = line.split()[0].removeprefix("ID=")
            continue
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        leaves = [leaf.split() for leaf in _LEAF.findall(line)]
        if not leaves or line.count("<L ") != len(leaves):
            raise InputError(f"{where}: expected a CCGbank derivation with leaves `(<L CAT POS POS WORD CAT>)`")
        for leaf in leaves:
            if len(leaf) != 5:
                found = " ".join(leaf)
                raise InputError(f"{where}: expected 5 fields in a leaf (CAT POS POS WORD CAT), found `{found}`")
        yield where, {"id": name, "words": [leaf[3] for leaf in leaves], "tags": [leaf[0] for leaf in leaves]}
