"""Tatoeba and BUCC 2018, the targets made of sentences in two languages (`data_prep/datasets/{tatoeba,bucc}.py`).

XTREME's copy of Tatoeba has its English side sorted, which hides the alignment, so that it can be submitted but not
scored, unless the labels lie beside it (`tatoeba/test-{xx}.tsv`: for each English sentence the number, from 0, of the
other one). Then the English side goes back into LASER's order; the other one stays as it is, since a submission counts
its lines.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from common.errors import InputError
from data_prep.datasets.bucc import id_sentence
from data_prep.datasets.schema import Dataset
from data_prep.formats import readers
from data_prep.sources.folders import Folder
from data_prep.sources.locate import Copy, locate
from eval.rows import Corpora, Corpus, Loaded, NoData, Rows

SORTED_FROM = 50  # so many lines in alphabetical order are no accident


def aligned(folder: Folder, code: str, copy: Copy, rows: Rows) -> tuple[Rows, bool]:
    """Tatoeba's rows with the translation of each sentence beside it, and whether they hide which it is.

    The file of labels is added to the copy's.
    """
    english = [row["sentence2"] for _, row in rows]
    if len(english) < SORTED_FROM or english != sorted(english):
        return rows, False
    (part,) = copy.parts
    gold = folder.find((f"test-{code}.tsv",), "tatoeba", "tatoeba")
    if not gold:
        return rows, True
    copy.parts[:] = [replace(part, files=(*part.files, *gold))]
    unsorted = zip(rows, _unsorted(english, gold[0]), strict=True)
    return [(where, {**row, "sentence2": text}) for (where, row), text in unsorted], False


def _unsorted(english: list[str], gold: Path) -> list[str]:
    """The English sentences in the order of the other language's, by the labels of XTREME's copy."""
    numbers = []
    for line, text in readers.lines(gold):
        if not text.strip().isdecimal() or len(text) > 18:
            raise InputError(f"{gold}: line {line}: expected the number of a sentence, from 0, found {text[:40]!r}")
        numbers.append(int(text))
    if sorted(numbers) != list(range(len(english))):
        raise InputError(
            f"{gold}: expected each number from 0 to {len(english) - 1} once, a line per English sentence, found"
            f" {len(numbers)} lines with {len(set(numbers))} numbers"
        )
    return [text for _, text in sorted(zip(numbers, english, strict=True))]


def read_bucc(testset: Dataset, folder: Folder, languages: Sequence[str]) -> Loaded:
    """One or two `Corpora` a language, the sample before the training set, whichever carry their gold.

    `split` is "test" if at least as many languages have it as have the sample.
    """
    loaded = Loaded("validation", {}, {})
    rows, files, notes = loaded.rows, loaded.files, loaded.notes
    for code in languages or testset.languages:
        for split in ("validation", "test"):
            for copy in islice(locate(testset, split, code, folder), 1):
                other, english = copy.parts[0].files
                gold = other.with_suffix(".gold")
                if not gold.is_file():
                    mined = split == "test" and code in rows  # with the threshold of dev
                    use = "pairs are mined for the submission, not scored" if mined else "not used"
                    notes.append(f"{other}: no {gold.name} beside it (labels withheld), {use}")
                    if mined:
                        loaded.unlabelled[code] = [_corpora(split, other, english, None)]
                        files[code].update(folder.sums([other, english]))
                    continue
                rows.setdefault(code, []).append(_corpora(split, other, english, gold))
                files[code] = {**files.get(code, {}), **folder.sums([other, english, gold])}
    if not rows:
        reason = f"{notes[0]}: nothing to score" if notes else f"no data at --data {folder.path}"
        raise NoData(f"{reason}; expected {testset.layout} of {testset.obtain}, not the Hub's copy of the gold alone")
    has = {split: sum(any(c.split == split for c in found) for found in rows.values()) for split in testset.splits}
    if has["test"] >= has["validation"]:
        loaded.split = "test"
        notes.append("test is BUCC's training set and the threshold's dev its sample, as in XTREME")
    loaded.dev = tuple(code for code, found in rows.items() if found[-1].split != "test")
    return loaded


def _corpora(split: str, other: Path, english: Path, gold: Path | None) -> Corpora:
    sides = {name: Corpus(*zip(*_table(path), strict=True)) for name, path in (("xx", other), ("en", english))}
    pairs = [] if gold is None else _table(gold)
    for path, side in zip((other, english), sides.values(), strict=True):
        if len(set(side.ids)) < len(side.ids):
            raise InputError(f"{path}: an id occurs twice; expected `id<TAB>sentence`, each id once")
    for column, side in enumerate(sides.values()):
        if unknown := {pair[column] for pair in pairs} - set(side.ids):
            raise InputError(f"{gold}: {min(unknown)!r} is not the id of a sentence; other files than the corpora's?")
    return Corpora(split, sides, tuple(pairs))


def _table(path: Path) -> list[tuple[str, str]]:
    rows = [(row["id"], row["text"]) for _, row in id_sentence(path)]
    if not rows:
        raise InputError(f"{path}: no rows")
    return rows
