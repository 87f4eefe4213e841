"""LAReQA and Mewsli-X, the targets in which a query's right answers are ranked within a pool of candidates.

LAReQA (Roy et al. 2020) is XQuAD with sentence boundaries, `xquad-r/{xx}.json`; MLQA-R, `mlqa-r/{xx}.json`, is read in
the same way. A candidate is a sentence with its paragraph; right is, in every language, the sentence in which the
parallel question's answer begins. The pool is that of all languages read, so with fewer languages than all the task is
an easier one, and a note says so.

Mewsli-X: mentions in WikiNews sentences, and one pool of entity descriptions in 50 languages.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from common import fields
from common.errors import InputError
from common.fields import shorten
from data_prep.datasets.lareqa import passage_text
from data_prep.datasets.mewslix import CANDIDATES, entity_text, mention_text
from data_prep.datasets.schema import Dataset
from data_prep.formats import readers
from data_prep.sources.folders import Folder
from data_prep.sources.locate import Copy, locate
from eval.rows import Candidate, Loaded, NoData, Query, Rows


def read_lareqa(testset: Dataset, folder: Folder, languages: Sequence[str]) -> Loaded:
    """Queries of each language; ids are QUESTION_xx and, of candidates, xx_PARAGRAPH_SENTENCE, all from 1, 1 and 0."""
    loaded = Loaded("validation", {}, {})
    questions: dict[str, list[tuple[str, str]]] = {}
    right: dict[str, list[str]] = {}
    for code, copy in _copies(testset, "validation", languages, folder):
        loaded.files[code] = folder.sums(copy.parts[0].files)
        questions[code] = []
        outside = 0
        for number, (where, paragraph) in enumerate(copy.parts[0].rows(), 1):
            context = fields.text(paragraph, "context", where)
            breaks = _breaks(paragraph, len(context), where)
            named = [(f"{code}_{number}_{i}", context[start:end]) for i, (start, end) in enumerate(breaks)]
            loaded.pool += [Candidate(name, passage_text(sentence, context), code) for name, sentence in named]
            for question in paragraph["qas"]:
                answers = fields.answers(question, "answer_start", where)
                if len(answers) != 1 or not answers[0][0]:
                    raise InputError(f"{where}: expected one answer a question, found {len(answers)} (withheld?)")
                inside = [i for i, (start, end) in enumerate(breaks) if start <= answers[0][1] < end]
                if not inside:
                    outside += 1
                    continue
                name = fields.text(question, "id", where)
                questions[code].append((name, fields.text(question, "question", where)))
                # A sentence that occurs twice in its paragraph is right in both places.
                same = [n for n, sentence in named if sentence == named[inside[0]][1]]
                right.setdefault(name, []).extend(same)
        if not questions[code]:
            raise InputError(f"{copy.where}: no question whose answer begins in a sentence; is it XQuAD-R's file?")
        if outside:
            loaded.notes.append(f"{copy.where}: {outside} questions left out: their answer begins in no sentence")
    if not questions:
        raise _absent(testset, folder)
    if missing := [code for code in testset.languages if code not in questions]:
        loaded.notes.append(f"the pool lacks {' '.join(missing)}: easier than the official one ({testset.rows})")
    for code, asked in questions.items():
        loaded.rows[code] = [Query(f"{name}_{code}", text, tuple(right[name])) for name, text in asked]
    return loaded


def read_paragraphs(testset: Dataset, folder: Folder, languages: Sequence[str]) -> Loaded:
    """LAReQA as nlu-evals has it: candidates are paragraphs, and right is the one that the question was asked about.

    Its translations count as wrong. No question is left out.
    """
    loaded = Loaded("validation", {}, {})
    names: dict[str, str] = {}  # paragraph -> id of the first with this text
    for code, copy in _copies(testset, "validation", languages, folder):
        loaded.files[code], loaded.rows[code] = folder.sums(copy.parts[0].files), []
        for number, (where, paragraph) in enumerate(copy.parts[0].rows(), 1):
            context = fields.text(paragraph, "context", where)
            if context not in names:
                names[context] = f"{code}_{number}"
                loaded.pool.append(Candidate(names[context], context, code))
            for question in paragraph["qas"]:
                name, text = (fields.text(question, key, where) for key in ("id", "question"))
                loaded.rows[code].append(Query(f"{name}_{code}", text, (names[context],)))
    if not loaded.rows:
        raise _absent(testset, folder)
    return loaded


def _copies(testset: Dataset, split: str, languages: Sequence[str], folder: Folder) -> Iterator[tuple[str, Copy]]:
    """The first copy of each language that has one."""
    for code in languages or testset.languages:
        for copy in islice(locate(testset, split, code, folder), 1):
            yield code, copy


def _absent(testset: Dataset, folder: Folder) -> NoData:
    return NoData(f"no data at --data {folder.path}; expected {testset.layout} ({testset.obtain})")


def _breaks(paragraph: dict[str, Any], length: int, where: str) -> list[tuple[int, int]]:
    if "sentence_breaks" not in paragraph:
        raise InputError(
            f"{where}: field `sentence_breaks` is missing: XQuAD itself, or the Hub's copy, which has none;"
            " use the files of github.com/google-research-datasets/lareqa"
        )
    found = paragraph["sentence_breaks"]
    with suppress(TypeError, ValueError, OverflowError):
        breaks = [(int(start), int(end)) for start, end in found]
        if all(0 <= start < end <= length for start, end in breaks):
            return breaks
    raise fields.wrong(where, "sentence_breaks", "pairs, none of them outside the paragraph", found)


def read_mewslix(testset: Dataset, folder: Folder, languages: Sequence[str]) -> Loaded:
    """Mentions of each language and the pool of entities; the split that has most languages with their labels."""
    usable: dict[str, dict[str, tuple[list[Query], dict[str, str]]]] = {}
    notes: list[str] = []
    read: dict[str, Rows] = {}  # a file may hold all languages
    for split in testset.splits:
        usable[split] = {}
        for code, copy in _copies(testset, split, languages, folder):
            if copy.where not in read:
                read[copy.where] = list(copy.parts[0].rows())
            queries = list(_mentions(read[copy.where], code))
            if queries and not any(query.gold[0] for query in queries):
                notes.append(f"{copy.where}: labels withheld, not used")
            elif queries:
                usable[split][code] = queries, folder.sums(copy.parts[0].files)
    split = max(usable, key=lambda s: len(usable[s]))
    if not usable[split]:
        raise NoData(f"{notes[0]} (this copy has no labels)") if notes else _absent(testset, folder)
    found = next((paths for name in CANDIDATES if (paths := folder.find((name,), "", testset.name))), None)
    if found is None:
        raise NoData(
            f"no candidates at --data {folder.path}: expected {' or '.join(CANDIDATES)} beside the mentions"
            f" ({testset.obtain})"
        )
    pool = list(_entities(found[0]))
    known = {candidate.id for candidate in pool}
    loaded = Loaded(split, {}, {}, notes, pool, dev=() if split == "test" else tuple(usable[split]))
    if len(known) < len(pool):
        raise InputError(f"{found[0]}: an entity occurs twice; expected each entity_id once")
    sums = folder.sums(found)
    for code, (queries, own) in usable[split].items():
        for query in queries:
            if query.gold[0] not in known:
                raise InputError(f"{found[0]}: entity {query.gold[0]!r} of mention {query.id!r} is not in it")
        loaded.rows[code], loaded.files[code] = queries, {**own, **sums}
    return loaded


def _mentions(rows: Rows, code: str) -> Iterator[Query]:
    for where, row in rows:
        if "context" not in row:  # the Hub's copy: one mention a row, its text already made
            name = str(row.get("example_id") or where.rpartition(": ")[2])
            yield Query(name, fields.text(row, "mention", where), (fields.text(row, "entity_id", where),))
            continue
        context, mentions = row["context"], row.get("mentions")
        is_list = isinstance(mentions, list) and all(isinstance(mention, dict) for mention in mentions)
        if mentions is None or not is_list or not isinstance(context, dict):
            raise InputError(f"{where}: expected Mewsli-X's {{context, mentions: [...]}}, found {shorten(row)}")
        if context.get("language") != code:
            continue
        for mention in mentions:
            text = mention_text(context, mention, where)
            yield Query(fields.text(mention, "example_id", where), text, (fields.text(mention, "entity_id", where),))


def _entities(path: Path) -> Iterator[Candidate]:
    for where, row in readers.jsonl(path):
        text = entity_text(row, where)
        yield Candidate(fields.text(row, "entity_id", where), text, str(row.get("description_language") or ""))
