"""Readers of tagged text with one word a line: XTREME's POS and NER files, PAN-X as released, CoNLL-U.

Each yields one row per sentence, {"words": [str], "tags": [str]}; `tags` is missing where the file has words only, as
XTREME's test files do. A sentence ends at an empty line.

CoNLL-U holds multi-word tokens twice: as a range (`3-4 im`) and as its parts (`3 in`, `4 dem`). XTREME's POS data have
the written form, with the tag of that part which has the fewest ancestors, by basic and enhanced dependencies together
(its `scripts/download_data.sh` calls conllu_to_conll.py with --replace_subtokens_with_fused_forms; lib/conll.py has
both kinds of edges in one graph). `conllu` does the same, so that words and tags are those
that XTREME scores; empty nodes (`8.1`), which are not written in the text, are passed over.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from common.errors import InputError
from common.fields import shorten
from data_prep.formats.readers import Rows, lines


def word_lines(path: Path, prefixed: bool = False) -> Rows:
    """`word<TAB>TAG` or only `word`; with `prefixed`, `xx:word<TAB>TAG` as PAN-X was released.

    The word after `xx:` may hold colons of its own, so it is split at the first one.
    """
    for block in blocks(path):
        words: list[str] = []
        tags: list[str] = []
        for number, line in block:
            fields = line.split("\t")
            word = fields[0]
            if prefixed:
                language, colon, word = fields[0].partition(":")
                if not colon or not language:
                    raise InputError(f"{path}: line {number}: expected `xx:word<TAB>TAG`, found {shorten(line)}")
            if len(fields) > 2 or (len(fields) == 1 and tags) or (len(fields) == 2 and len(tags) < len(words)):
                raise InputError(f"{path}: line {number}: expected `word<TAB>TAG`, found {len(fields)} columns")
            words.append(word)
            tags.extend(fields[1:])
        where = f"{path}: line {block[0][0]}"
        yield where, {"words": words, "tags": tags} if tags else {"words": words}


# Which part gives its tag where several stand equally high (conllu_to_conll.py; tags that are not named come last).
_PRECEDENCE = {
    "es": "VERB AUX PRON ADP DET",
    "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ",
    "it": "VERB AUX ADV PRON ADP DET INTJ",
}
_OTHERS = "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT"


def conllu(path: Path) -> Rows:
    """A treebank file `xx_name-ud-split.conllu`: words as written and their UPOS tags, see above.

    Spaces inside a word and zero-width non-joiners are left out, as XTREME does.
    """
    precedence = {tag: n for n, tag in enumerate(_PRECEDENCE.get(path.name.partition("_")[0], _OTHERS).split())}
    for block in blocks(path):
        forms: dict[int, str] = {}
        tags: dict[int, str] = {}
        parents: dict[int, set[int]] = {}
        ranges: dict[int, tuple[int, str]] = {}
        for number, line in block:
            if line.startswith("#"):
                continue
            fields = line.split("\t")
            if len(fields) != 10:
                raise InputError(f"{path}: line {number}: expected CoNLL-U's 10 columns, found {len(fields)}")
            place, form, tag = fields[0], fields[1], fields[3]
            edges = (fields[6], *(edge.partition(":")[0] for edge in fields[8].split("|")))
            first, dash, last = place.partition("-")
            if _numbers(first, last) and dash:
                ranges[int(first)] = (int(last), form)
            elif _numbers(place):
                forms[int(place)], tags[int(place)] = form, tag
                parents[int(place)] = {int(head) for head in edges if _numbers(head)}
            elif not _numbers(*place.split(".")):
                raise InputError(f"{path}: line {number}: expected a word's number, found {shorten(place)}")
        if not forms:
            continue
        row: dict[str, list[str]] = {"words": [], "tags": []}
        last_written = 0
        for number in sorted(forms):
            if number <= last_written:
                continue
            last_written, form = ranges.get(number, (number, forms[number]))
            parts = [n for n in range(number, last_written + 1) if n in forms]
            best = min(parts, key=lambda n: (_ancestors(n, parents), precedence.get(tags[n], len(precedence)), n))
            row["words"].append(form.replace("\u200c", "").replace(" ", ""))
            row["tags"].append(tags[best])
        yield f"{path}: line {block[0][0]}", row


def _numbers(*texts: str) -> bool:
    return all(text.isdecimal() and len(text) < 7 for text in texts)  # int() refuses thousands of digits


def _ancestors(node: int, parents: dict[int, set[int]]) -> int:
    """How many other words, the root (0) among them, a word depends on, also through others."""
    found, todo = set[int](), [node]
    while todo:
        new = parents.get(todo.pop(), set()) - found
        found |= new
        todo += new
    return len(found - {node})


def blocks(path: Path, ends: tuple[str, ...] = ()) -> Iterator[list[tuple[int, str]]]:
    """Runs of lines, with their numbers, between lines that are empty or begin with one of `ends`."""
    for inside, block in groupby(lines(path), lambda one: bool(one[1].strip()) and not one[1].startswith(ends)):
        if inside:
            yield list(block)
