"""Readers of the targets' test data: from the Hub, from a folder in the Hub's layout, or from the makers' files.

`read(target, languages, data)` gives a `Loaded` (`eval/rows.py`): rows by language code, with the split and a sha256 of
everything read. What is understood stands in `data_prep/datasets/test_sets.py`. A copy whose labels were withheld is
refused, never scored.

Rows that the makers left empty are kept, because the official scores count them; only rows without a gold label and
sentences whose words a licence withholds are left out, and a note says how many.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.fields import EmptyText, shorten
from data_prep.convert import Dropped
from data_prep.datasets.test_sets import TEST_SETS, TestSet, shown
from data_prep.sources.folders import Folder
from data_prep.sources.sources_lock import Lock
from eval.places import Copy, Finder, Local, Online
from eval.retrieval import bitext, retrieval_sets
from eval.rows import Candidate, Corpora, Data, Loaded, NotThere, Query, Translation, joined
from eval.suites import Target
from tasks.base import Example
from tasks.registry import TASK_TYPES
from tasks.span.data import Span
from tasks.tag.data import Tag

__all__ = ["Candidate", "Corpora", "Loaded", "NotThere", "Query", "Translation", "read"]


def read(target: Target, languages: Sequence[str], data: Data, lock: Lock | None = None) -> Loaded:
    """Test data of `target` in those of `languages` that `data` ("hub" or a folder) holds; () means all it holds.

    `data` may also name several places with the languages to read from each; `languages` is not looked at then.
    What is downloaded is recorded in `lock` (default: that of the folder `data`, as for training data).
    One split for all languages: of those that carry labels, the one with most languages (equal: the target's first).
    `Loaded.dev` says where that is not the test.
    Raises `NotThere` if there is nothing or the labels are withheld, `InputError` if a file or a row is wrong.
    """
    if not isinstance(data, str):
        parts = {place: read(target, codes, place, lock) for place, codes in data.items()}
        return joined([replace(part, data=place) for place, part in parts.items()])
    testset = TEST_SETS[target.data or target.name]
    if data != "hub":
        place = Local(testset, Folder.open(Path(data), "--data"))
    else:
        if not languages:
            raise NotThere("not on the Hub: give --data DIR, the folder that `python -m examples.toyworld` wrote")
        online = Online(testset, lock or Lock(Path("data")))
        if testset.hub:
            loaded = _read(testset, languages, online.finders(), testset.splits[:1], data)
            loaded.notes += online.notes
            return loaded
        place = Local(testset, online.folder())
    if testset.kind == "mining":
        return bitext.read_bucc(place, languages)
    if testset.kind == "answers":
        return retrieval_sets.read_lareqa(place, languages)
    if testset.kind == "entities":
        return retrieval_sets.read_mewslix(place, languages)
    finders = place.finders()
    if testset.kind == "translation":
        finders = [partial(bitext.tatoeba, place), *finders]
    codes = languages or (bitext.tatoeba_codes(place) if testset.kind == "translation" else place.codes())
    return _read(testset, codes, finders, testset.splits, data)


@dataclass
class _Found:
    """What one finder found: usable copies by split and language, and those without labels."""

    usable: dict[str, dict[str, Copy]]
    withheld: list[Copy]

    def rows(self, splits: Sequence[str]) -> int:
        return sum(len(copy.rows) for split in splits for copy in self.usable[split].values())

    def split(self) -> str:
        return max(self.usable, key=lambda split: len(self.usable[split]))


def _read(testset: TestSet, codes: Sequence[str], finders: list[Finder], splits: Sequence[str], data: str) -> Loaded:
    """Rows of one kind of copy, never of two: the one with most labelled rows of the test, then of all splits."""
    found = [_look(testset.kind, codes, finder, splits) for finder in finders]
    withheld = [copy for some in found for copy in some.withheld]
    # The Hub calls Tatoeba's only split test or validation.
    tests = splits if testset.kind == "translation" else testset.splits[:1]
    best = max(found, key=lambda some: (some.rows(tests), some.rows(splits)))
    if not best.rows(splits) and not any(best.usable.values()):
        if withheld:
            with_labels = testset.hub[0].id if testset.hub else testset.obtain
            raise NotThere(f"{withheld[0].where}: this copy has no labels (withheld); the Hub's {with_labels} has them")
        raise NotThere(f"no data at --data {data}; expected {layouts(testset)}")
    split = best.split()
    loaded = Loaded(split, {}, {code: copy.files for code, copy in best.usable[split].items()})
    loaded.dev = () if split in tests else tuple(best.usable[split])
    for code, copy in best.usable[split].items():
        loaded.rows[code] = _examples(testset, copy, loaded.notes)
    loaded.notes += [f"{copy.where}: labels withheld, not used" for copy in withheld]
    differing = [copy for copy in best.usable[split].values() if copy.differs]
    if differing:
        loaded.unsubmitted = f"rows of {differing[0].where} are not those of XTREME's test: {differing[0].differs}"
    return loaded


def _look(kind: str, codes: Sequence[str], finder: Finder, splits: Sequence[str]) -> _Found:
    found = _Found({split: {} for split in splits}, [])
    for split in splits:
        for code in codes:
            copy = finder(code, split)
            if copy is not None and _labelled(kind, copy):
                found.usable[split][code] = copy
            elif copy is not None:
                found.withheld.append(copy)
    return found


def layouts(testset: TestSet) -> str:
    """What is looked for in a folder, in words."""
    on_hub = [f"{source.id}/{shown(source.config)}/{testset.splits[0]}-*.parquet" for source in testset.hub[:1]]
    return " or ".join([*on_hub, testset.files])


def _labelled(kind: str, copy: Copy) -> bool:
    """Whether any row has a label; an empty copy counts as labelled, and is an error later."""
    if kind == "translation" or not copy.rows:
        return True
    values = [row.get(copy.label) for _, row in copy.rows]
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


def _examples(testset: TestSet, copy: Copy, notes: list[str]) -> list[Any]:
    if not copy.rows:
        raise InputError(f"{copy.where}: no rows")
    counted: Counter[str] = Counter()
    examples: list[Any] = []
    for where, row in copy.rows:
        if copy.convert is None:
            examples.append(_translation(row, where))
            continue
        try:
            example = copy.convert(row, where, testset.labels or ())
        except Dropped as reason:
            counted[f"left out: {reason}"] += 1
            continue
        try:
            TASK_TYPES[testset.kind].validate(example, where, testset.labels if testset.kind == "classify" else None)
        except EmptyText:
            if isinstance(example, Tag) and not example.words:
                counted["left out: no words"] += 1  # nothing to score, and no line in a submission
                continue
            counted["an empty text, kept"] += 1
        _check(example, where, testset)
        if isinstance(example, Span) and _starts(row)[:1] != [example.answers[0][1]]:
            counted["answer moved: this copy has lost the spaces before the context"] += 1
        examples.append(example)
    notes += [f"{copy.where}: {count} rows: {what}" for what, count in counted.items()]
    return examples


def _check(example: Example, where: str, testset: TestSet) -> None:
    if isinstance(example, Span) and not example.answers:
        raise InputError(f"{where}: no answer; expected at least one ({testset.name} has no unanswerable questions)")
    if isinstance(example, Tag):
        unknown = set(example.tags) - set(testset.labels or ())
        if unknown:
            raise InputError(
                f"{where}: tag {shorten(min(unknown))} is not one of {shorten(', '.join(testset.labels or ()))}"
            )


def _translation(row: dict[str, Any], where: str) -> Translation:
    """Columns of LASER's files and mteb's copy, or of google/xtreme, which has kept each sentence's line end."""
    other, english = (row.get(a, row.get(b)) for a, b in _SIDES)
    if not (isinstance(other, str) and isinstance(english, str) and other.strip() and english.strip()):
        raise InputError(f"{where}: an empty sentence; expected a sentence in both languages")
    return Translation(english.rstrip("\r\n"), other.rstrip("\r\n"))


_SIDES = (("sentence1", "source_sentence"), ("sentence2", "target_sentence"))


def _starts(row: dict[str, Any]) -> list[int]:
    """Where the row says that its answers begin."""
    answers = row["answers"]
    return list(answers["answer_start"]) if isinstance(answers, dict) else [a["answer_start"] for a in answers]
