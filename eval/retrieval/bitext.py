"""Tatoeba and BUCC 2018, the targets made of sentences in two languages.

Tatoeba: LASER's files, `tatoeba.{iso3}-eng.{iso3}` and `.eng`, line i belongs to line i. XTREME's copy,
`tatoeba/{xx}-en.{xx}` and `.en`, has its English side sorted, which hides the alignment; it is refused, unless the
labels lie beside it (`tatoeba/test-{xx}.tsv`: for each English sentence the number, from 0, of the other one). Then the
English side goes back into LASER's order; the other one stays as it is, since a submission counts its lines.

BUCC: corpora with their distractors in LIMSI's format, `id<TAB>sentence`, and the gold, `id<TAB>id`. The shared task's
test gold was never published: as in XTREME, "test" is the official training set and "validation" the official sample.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.languages import ISO3
from data_prep.formats import readers
from eval.places import Copy, Local
from eval.rows import Corpora, Loaded, NotThere

_CODES = {long: short for short, long in ISO3.items()}
SORTED_FROM = 50  # so many lines in alphabetical order are no accident


def tatoeba(place: Local, code: str, split: str) -> Copy | None:
    """One language from LASER's or XTREME's files, as rows {"sentence1": other, "sentence2": English}."""
    if split != "test":
        return None
    iso3 = ISO3.get(code, code)
    for end, within, english_suffix in (
        (f"tatoeba.{iso3}-eng.{iso3}", "", ".eng"),
        (f"{code}-en.{code}", "tatoeba", ".en"),
    ):
        found = place.paths(end, within)
        if found:
            return _tatoeba(place, code, found[0], found[0].with_suffix(english_suffix))
    return None


def tatoeba_codes(place: Local) -> list[str]:
    """All languages of which there are files or folders in the Hub's layout, sorted."""
    codes = {_CODES.get(path.suffix[1:], path.suffix[1:]) for path in place.folder.matching("tatoeba.*-eng.*")}
    codes |= {path.suffix[1:] for path in place.folder.matching("*-en.*", "tatoeba") if "." in path.name}
    return sorted((codes - {"en"}) | set(place.codes()))


def _tatoeba(place: Local, code: str, other: Path, english: Path) -> Copy:
    if not english.is_file():
        raise InputError(f"{english}: missing; it belongs to {other.name}, line by line")
    left, right = ([text for _, text in readers.lines(path)] for path in (english, other))
    if len(left) != len(right):
        raise InputError(f"{other}: {len(right)} lines, but {english.name} has {len(left)}; line i belongs to line i")
    paths = [english, other]
    if len(left) >= SORTED_FROM and left == sorted(left):
        gold = place.paths(f"test-{code}.tsv", "tatoeba")
        if not gold:
            raise InputError(f"{english}: sorted, as in XTREME's copy, which hides the alignment; use LASER's files")
        left = _unsorted(left, gold[0])
        paths.append(gold[0])
    rows = [
        (f"{other}: line {number}", {"sentence1": theirs, "sentence2": ours})
        for number, (ours, theirs) in enumerate(zip(left, right, strict=True), 1)
    ]
    return Copy(str(other), place.files(paths), rows, "", None)


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


# Split -> how LIMSI and how XTREME call it.
_BUCC = {"test": ("training", "test"), "validation": ("sample", "dev")}


def read_bucc(place: Local, languages: Sequence[str]) -> Loaded:
    """One or two `Corpora` a language, the sample before the training set, whichever carry their gold.

    `split` is "test" if at least as many languages have it as have the sample.
    """
    notes: list[str] = []
    rows: dict[str, list[Any]] = {}
    files: dict[str, dict[str, str]] = {}
    for code in languages or place.testset.languages:
        for split in ("validation", "test"):
            found = _limsi(place, code, split, notes)
            if found is not None:
                corpora, sums = found
                rows.setdefault(code, []).append(corpora)
                files[code] = {**files.get(code, {}), **sums}
    if not rows:
        if notes:
            raise NotThere(f"{notes[0]}: nothing to score")
        for code in languages or place.testset.languages:
            for base in place.bases:
                if (base / "google/xtreme" / f"bucc18.{code}").is_dir():
                    raise NotThere(
                        f"{base / 'google/xtreme' / f'bucc18.{code}'}: the Hub's copy has the gold pairs only, without"
                        " the other sentences among which they are to be found; BUCC needs the corpora of"
                        f" {place.testset.obtain}"
                    )
        raise NotThere(f"no data at --data {place.folder.path}; expected {place.testset.files}")
    has = {split: sum(any(c.split == split for c in found) for found in rows.values()) for split in _BUCC}
    split = "test" if has["test"] >= has["validation"] else "validation"
    if split == "test":
        notes.append("test is BUCC's training set and the threshold's dev its sample, as in XTREME")
    return Loaded(split, rows, files, notes, dev=tuple(c for c, found in rows.items() if found[-1].split != "test"))


def _limsi(place: Local, code: str, split: str, notes: list[str]) -> tuple[Corpora, dict[str, str]] | None:
    for name in _BUCC[split]:
        found = place.paths(f"{code}-en.{name}.{code}")
        if not found:
            continue
        other = found[0]
        english, gold = other.with_suffix(".en"), other.with_suffix(".gold")
        if not english.is_file():
            raise InputError(f"{english}: missing; BUCC's {other.name} goes with it")
        if not gold.is_file():
            notes.append(f"{other}: no {gold.name} beside it (labels withheld), not used")
            return None
        theirs, ours, pairs = (_table(path) for path in (other, english, gold))
        for path, table in ((other, theirs), (english, ours)):
            if len({name for name, _ in table}) < len(table):
                raise InputError(f"{path}: an id stands there twice; expected `id<TAB>sentence`, each id once")
        for column, table in ((0, theirs), (1, ours)):
            unknown = {pair[column] for pair in pairs} - {name for name, _ in table}
            if unknown:
                raise InputError(
                    f"{gold}: {min(unknown)!r} is not the id of a sentence; other files than the corpora's?"
                )
        corpora = Corpora(
            split,
            tuple(name for name, _ in theirs),
            tuple(text for _, text in theirs),
            tuple(name for name, _ in ours),
            tuple(text for _, text in ours),
            tuple(pairs),
        )
        return corpora, place.files([other, english, gold])
    return None


def _table(path: Path) -> list[tuple[str, str]]:
    """Two columns; the second one may hold tabs of its own."""
    rows = []
    for number, line in readers.lines(path):
        if not line:
            continue
        first, tab, second = line.partition("\t")
        if not tab or not first or not second.strip():
            raise InputError(f"{path}: line {number}: expected `id<TAB>sentence` (gold: `id<TAB>id`)")
        rows.append((first, second))
    if not rows:
        raise InputError(f"{path}: no rows")
    return rows
