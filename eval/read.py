"""Readers of the targets' test data: from the Hub, from a folder in the Hub's layout, or from upstream files.

`read(target, languages, data)` gives a `Loaded` (`eval/rows.py`): rows by language code, with the split and a sha256 of
everything read. What is understood stands in `data_prep/datasets/`. Of a copy whose labels were withheld only the test
is read, for the submission; it is never scored.

Rows that are empty upstream are kept, because the official scores count them; only rows without a gold label and
sentences whose words a licence withholds are left out, and a note says how many.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from common import fields
from common.errors import InputError
from common.fields import EmptyText
from common.files import file_sha256
from data_prep.datasets import TEST_SETS
from data_prep.datasets.schema import Dataset, Dropped, Files, Hub, shown, with_label
from data_prep.sources.folders import Folder
from data_prep.sources.locate import Copy, downloaded, languages_in, locate
from data_prep.sources.sources_lock import SourcesLock
from eval.rows import Loaded, NoData, Rows, Translation
from eval.suites import Target
from tasks.registry import TASK_TYPES
from tasks.span.data import Span
from tasks.tag.data import Tag


def read(target: Target, languages: Sequence[str], data: str, dev: bool = False) -> Loaded:
    """Test data of `target` in those of `languages` that `data` ("hub" or a folder) holds; () means all it holds.

    What is downloaded is recorded in the lock file of the folder `data`, as for training data.
    One split for all languages: of those that carry labels, the one with most languages (equal: the target's first).
    `Loaded.dev` says where that is not the test. `dev`: never the test.
    Tests without labels are in `Loaded.unlabelled`, those of the same form of copy.
    Raises `NoData` if there is nothing, `InputError` if a file or a row is wrong.
    """
    if dev and not target.dev:
        raise NoData(f"{target.name} has no dev data in its languages")
    testset = TEST_SETS[target.data or target.name]
    splits = testset.splits[dev:]
    if data == "hub" and not languages:
        raise NoData("not on the Hub: give --data DIR, the folder that `python -m examples.toyworld` wrote")
    place = _open(testset, data)
    if isinstance(place, SourcesLock):
        return _read(testset, languages, place, splits[:1], data)
    if testset.kind == "mining":
        from eval.retrieval import bitext

        return bitext.read_bucc(testset, place, languages)
    if testset.kind in ("answers", "entities"):
        from eval.retrieval.retrieval_sets import read_lareqa, read_mewslix, read_paragraphs

        reader = read_mewslix if testset.kind == "entities" else read_paragraphs if target.protocol else read_lareqa
        return reader(testset, place, languages)
    return _read(testset, languages or languages_in(testset, place), place, splits, data)


def _open(testset: Dataset, data: str) -> Folder | SourcesLock:
    """The folder to read, downloaded if the Hub has only files of the target, or the lock file for the Hub."""
    if data != "hub":
        return Folder.open(Path(data), "--data")
    lock = SourcesLock(Path("data"))
    if testset.hub:
        return lock
    try:
        return downloaded(testset, lock, "--data")
    except InputError as error:
        raise NoData(f"{error}; or give --data DIR with {testset.layout}") from None


def _rows(copy: Copy, code: str, folder: Folder | None, whole: dict[tuple[Path, ...], Rows]) -> tuple[Rows, bool]:
    """The rows of a copy as they are in its files, and whether they hide which sentences translate each other.

    `whole` keeps files that hold several languages.
    """
    rows: Rows = []
    for part in copy.parts:
        if part.select is None:
            rows += part.read()
            continue
        if part.files not in whole:
            whole[part.files] = list(part.read())
        rows += [row for row in whole[part.files] if part.select(row[1])]
    if isinstance(copy.source, Files) and copy.source.beside and folder is not None:
        from eval.retrieval import bitext

        return bitext.aligned(folder, code, copy, rows)
    return rows, False


def _sums(copy: Copy, folder: Folder | None) -> dict[str, str]:
    """sha256 of each file of a copy by its path below the folder or in the repository."""
    if folder is not None:
        return folder.sums([file for part in copy.parts for file in part.files])
    return {part.name: file_sha256(file) for part in copy.parts for file in part.files}


# split -> language -> a copy with its rows
Usable = dict[str, dict[str, tuple[Copy, Rows]]]


def _read(
    testset: Dataset, codes: Sequence[str], place: Folder | SourcesLock, splits: Sequence[str], data: str
) -> Loaded:
    """Rows of one form of copy, never of two: the one with most labelled rows of the test, then of all splits."""
    folder = place if isinstance(place, Folder) else None
    whole: dict[tuple[Path, ...], Rows] = {}
    notes: list[str] = []
    found: dict[object, Usable] = {}
    withheld: dict[object, Usable] = {}
    # The Hub calls Tatoeba's only split test or validation.
    tests = splits if testset.kind == "translation" else testset.splits[:1]
    for split, code in product(splits, codes):
        for copy in _located(testset, split, code, place, notes):
            rows, hidden = _rows(copy, code, folder, whole)
            if not rows and copy.source.select is not None:  # of other languages only
                continue
            # The repositories of a target are one form: each has languages of its own.
            form = getattr(copy.source, "path", "hub")
            for known in (found, withheld):
                known.setdefault(form, {split: {} for split in (*tests, *splits)})
            labelled = not hidden and _labelled(testset.kind, copy.source.label, rows)
            (found if labelled else withheld)[form][split][code] = copy, rows

    def worth(form: object) -> tuple[int, ...]:
        rows = {split: sum(len(rows) for _, rows in copies.values()) for split, copies in found[form].items()}
        return *(sum(rows[split] for split in some) for some in (tests, splits)), len(withheld[form][tests[0]])

    form = max(found, key=worth, default=None)
    if form is None:
        raise NoData(f"no data at --data {data}; expected {layouts(testset)}")
    split = max(splits, key=lambda split: len(found[form][split]))
    chosen, unlabelled = found[form][split], withheld[form][tests[0]]
    loaded = Loaded(split, {}, {})
    loaded.dev = () if split in tests else tuple(chosen)
    for code, (copy, rows) in chosen.items():
        loaded.files[code] = _sums(copy, folder)
        loaded.rows[code] = _examples(testset, copy, rows, loaded.notes)
    for code, (copy, rows) in unlabelled.items():
        loaded.files[code] = {**loaded.files.get(code, {}), **_sums(copy, folder)}
        some = [(where, with_label(testset, copy.source.label, row)) for where, row in rows]
        loaded.unlabelled[code] = _examples(testset, copy, some, loaded.notes, labelled=False)
    source = testset.hub[0].id if testset.hub else testset.obtain
    for copy, rows in (pair for usable in withheld.values() for copies in usable.values() for pair in copies.values()):
        use = "predicted for the submission, not scored" if (copy, rows) in unlabelled.values() else "not used"
        loaded.notes.append(f"{copy.where}: labels withheld ({source} has them): {use}")
    if not loaded.files:
        raise NoData(loaded.notes[0])
    loaded.notes += notes
    for copy, _ in [*chosen.values(), *unlabelled.values()]:
        if isinstance(copy.source, Hub) and copy.source.differs:
            loaded.unsubmitted = f"rows of {copy.where} are not those of XTREME's test: {copy.source.differs}"
            break
    return loaded


def _located(testset: Dataset, split: str, code: str, place: Folder | SourcesLock, notes: list[str]) -> list[Copy]:
    """The copies of a split in a language; of the Hub, an error says what else to do, or becomes a note."""
    try:
        return list(locate(testset, split, code, place))
    except InputError as error:
        if isinstance(place, Folder):
            raise
        source = next(hub for hub in testset.hub if not hub.languages or code in hub.languages)
        problem = str(error).partition("; check the connection")[0]
        message = f"{problem}; check the connection, or give --data DIR with {layouts(testset)}"
        if not source.unconfirmed and "no such split" not in problem:
            raise InputError(message) from None
        notes.append(message)
        return []


def layouts(testset: Dataset) -> str:
    """What is looked for in a folder, in words."""
    on_hub = [f"{source.id}/{shown(source.config)}/{testset.splits[0]}-*.parquet" for source in testset.hub[:1]]
    return " or ".join([*on_hub, testset.layout])


def _labelled(kind: str, label: str, rows: Rows) -> bool:
    """Whether any row has a label; an empty copy counts as labelled, and is an error later."""
    if kind == "translation" or not rows:
        return True
    values = [row.get(label) for _, row in rows]
    if kind == "span":
        return any(any(_answer_texts(value)) for value in values)
    if kind == "tag":
        return any(value and any(tag not in (None, -1) for tag in value) for value in values)
    if kind == "choice" and len(values) >= 50 and all(str(v or 0).strip("0") == "" for v in values):
        return False  # XTREME writes 0 for every row of XCOPA's tests; half of the true labels are 1
    return any(value not in (None, -1, "", "-1") for value in values)


def _answer_texts(answers: Any) -> list[str]:
    """The texts of a row's answers; whatever else stands there counts as one, and is an error when it is converted."""
    texts = answers.get("text") if isinstance(answers, dict) else answers
    if texts is None:
        return []
    if not isinstance(texts, list):
        return [repr(texts)]
    return [str(text.get("text", "") if isinstance(text, dict) else text) for text in texts]


def _examples(testset: Dataset, copy: Copy, rows: Rows, notes: list[str], labelled: bool = True) -> list[Any]:
    if not rows:
        raise InputError(f"{copy.where}: no rows")
    counted: Counter[str] = Counter()
    examples: list[Any] = []
    for where, row in rows:
        if testset.kind == "translation":
            examples.append(_translation(row, where))
            continue
        try:
            example = copy.source.convert(row, where, testset.labels or ())
        except Dropped as reason:
            counted[f"left out: {reason}"] += 1
            continue
        try:
            TASK_TYPES[testset.kind].validate(example, where, testset.labels)
        except EmptyText:
            if isinstance(example, Tag) and not example.words:
                counted["left out: no words"] += 1  # nothing to score, and no line in a submission
                continue
            counted["an empty text, kept"] += 1
        if labelled and isinstance(example, Span):
            if not example.answers:
                raise InputError(f"{where}: no answer; expected one: no question of {testset.name} is unanswerable")
            moved = fields.answers(row, "answer_start", where)[0][1] != example.answers[0][1]
            counted["answer moved: this copy has lost the spaces before the context"] += moved
        examples.append(example)
    notes += [f"{copy.where}: {count} rows: {what}" for what, count in counted.items() if count]
    return examples


def _translation(row: dict[str, Any], where: str) -> Translation:
    """Columns of LASER's files and mteb's copy, or of google/xtreme, which has kept each sentence's line end."""
    names = (("sentence1", "source_sentence"), ("sentence2", "target_sentence"))
    other, english = (row.get(a, row.get(b)) for a, b in names)
    if not (isinstance(other, str) and isinstance(english, str) and other.strip() and english.strip()):
        raise InputError(f"{where}: an empty sentence; expected a sentence in both languages")
    return Translation(english.rstrip("\r\n"), other.rstrip("\r\n"))
