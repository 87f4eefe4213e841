"""A user's own file, in the forms that people have. Its first lines say which one it is; its name alone does not.

Tables (Parquet, CSV, TSV with a header), JSON lines, a JSON list, SQuAD's JSON, for `tag` also CoNLL columns, a word a
line and `words<TAB>tags`, for `mlm` also plain text, for `pair` parallel text in two files; each of them also packed
(.gz, .xz, .zst). A file that can be read in two ways is refused.
"""

import itertools
import json
import os
import re
from pathlib import Path

from common import jsontext
from common.errors import InputError
from common.fields import shorten
from data_prep.formats import readers, tagged
from data_prep.formats.readers import Rows

_PACKED = (".gz", ".xz", ".zst")
_LOOK = 500  # lines that are looked at
_MARKUP = (".xml", ".html", ".htm")


def files_of(path: Path, kind: str) -> tuple[Path, ...]:
    """The file that is read, or the two of parallel text: of a `pair` task `x.{de,en}` is x.de and x.en."""
    named = re.fullmatch(r"(.*)\{([^{},]+),([^{},]+)\}(.*)", str(path)) if kind == "pair" else None
    if named is None or os.path.exists(path):
        return (path,)
    before, one, other, after = named.groups()
    return Path(f"{before}{one}{after}"), Path(f"{before}{other}{after}")


def own(path: Path, kind: str) -> Rows:
    """The rows of a file for a task of type `kind`; `InputError` if it has none of the forms, or could have two."""
    files = files_of(path, kind)
    if len(files) == 2:
        return readers.parallel(*files)
    suffix = next((s.lower() for s in reversed(path.suffixes) if s.lower() not in _PACKED), "")
    if suffix == ".parquet":
        return readers.parquet(path)
    lines = [line for _, line in itertools.islice(readers.lines(path), _LOOK)]
    first = next((line.strip() for line in lines if line.strip()), "")
    if not first:
        raise InputError(f"{path}: empty; expected {_forms(kind)}")
    if suffix.startswith((".json", ".ndjson")) or _is_json(first) or (first[0] in "{[" and kind not in ("mlm", "tag")):
        return _json(path, first)
    if suffix == ".csv":
        return readers.csv_quoted(path)
    if kind == "tag":
        return _tagged(path, lines)
    if suffix in (".tsv", ".tab"):
        return _unquoted(path)
    if kind == "mlm" and suffix not in _MARKUP:
        return readers.text(path)
    raise InputError(f"{path}: line 1: expected {_forms(kind)}, found {shorten(first)}")


def _forms(kind: str) -> str:
    more = {"tag": ", CoNLL columns, a word a line, or words<TAB>tags", "mlm": ", or plain text (.txt)"}
    more["pair"] = ", or two files of parallel text named as x.{de,en}"
    squad = ", SQuAD's JSON" if kind == "span" else ""
    return f"JSON lines, a JSON list{squad}, Parquet, .csv or .tsv with a header{more.get(kind, '')}"


def _is_json(line: str) -> bool:
    try:
        return isinstance(jsontext.parse(line), dict | list)
    except json.JSONDecodeError:
        return False


def _json(path: Path, first: str) -> Rows:
    """JSON lines, or one document: a list of objects, or SQuAD's {"data": [{"paragraphs": ...}]}."""
    one_line = jsontext.parse(first) if _is_json(first) else None
    if isinstance(one_line, dict) and not isinstance(one_line.get("data"), list):
        yield from readers.jsonl(path)
        return
    try:
        document = jsontext.parse("\n".join(line for _, line in readers.lines(path)))
    except json.JSONDecodeError as error:
        if first[0] == "{" and one_line is None and not first.endswith("}") and error.lineno > 1:
            raise InputError(
                f"{path}: line {error.lineno}, column {error.colno}: not valid JSON ({error.msg})"
            ) from None
        document = None
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        yield from readers.squad_json(path)
    elif isinstance(document, list):
        for number, row in enumerate(document):
            if not isinstance(row, dict):
                raise InputError(f"{path}: row {number}: expected a JSON object, found {shorten(row)}")
            yield f"{path}: row {number}", row
    else:
        yield from readers.jsonl(path)  # names the line


def _unquoted(path: Path) -> Rows:
    """Tab-separated with a header. A field in double quotes could be csv's quoting or a quotation: refused."""
    for where, row in readers.tsv(path):
        for name, value in row.items():
            if len(value) > 1 and value[0] == value[-1] == '"':
                raise InputError(
                    f"{where}: field `{name}`: {shorten(value)}: are the quotes part of the text, or csv's quoting? "
                    "save as .csv (quoted) or as JSON lines"
                )
        yield where, row


def _tagged(path: Path, lines: list[str]) -> Rows:
    """Text of the `tag` type; which form it has is told apart by tabs, numbers of words, and empty lines."""
    kept = [line for line in lines if not line.startswith(("#", "-DOCSTART-"))]
    rows = [line.split("\t") for line in kept if line.strip()]
    inner = "\n".join(kept).strip().split("\n")
    blank = any(not line.strip() for line in inner)
    counts = {len(fields) for fields in rows}
    single = all(len(fields[0].split()) <= 1 for fields in rows)
    if counts == {10} and all(re.fullmatch(r"\d+([-.]\d+)?", fields[0]) for fields in rows):
        yield from tagged.conllu(path)
    elif counts == {2} and not single:
        yield from readers.words_tags(path)
    elif counts == {2} and not blank and len(rows) > 1:
        raise InputError(
            f"{path}: every line is one word and one tag, without empty lines between sentences: is a line a word or a "
            "sentence? put an empty line after each sentence, or save as JSON lines with `words` and `tags`"
        )
    elif (single and 1 not in counts) or (counts == {1} and blank):
        yield from _conll(path)
    else:
        raise InputError(f"{path}: line 1: expected {_forms('tag')}, found {shorten(kept[0] if kept else '')}")


def _conll(path: Path) -> Rows:
    """CoNLL columns: the word first, its tag last, an empty line after each sentence; separated by tabs or spaces."""
    width = 0
    for block in tagged.blocks(path, ("-DOCSTART-",)):
        rows = [(number, line.split("\t") if "\t" in line else line.split()) for number, line in block]
        for number, fields in rows:
            width = width or len(fields)
            if len(fields) != width or width < 2:
                expected = f"{width} columns, the word first and its tag last" if width > 1 else _forms("tag")
                raise InputError(f"{path}: line {number}: expected {expected}, found {shorten(' '.join(fields))}")
        tokens = {"words": [fields[0] for _, fields in rows], "tags": [fields[-1] for _, fields in rows]}
        yield f"{path}: line {block[0][0]}", tokens
