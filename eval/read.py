"""Readers of the targets' test data: from the Hub, from a folder in the Hub's layout, or from upstream files.

`read(target, languages, data)` gives a `Loaded`: aligned sentences (retrieval) or examples (classify, span) by language
code, with the split and a sha256 for everything read. Upstream files that are understood below `--data DIR`: LASER's
`tatoeba.{iso3}-eng.{iso3}`, XTREME's `xnli/**/{test,dev}-{lang}.tsv` and `xquad.{lang}.json`. A copy whose labels were
withheld is refused, never scored.
"""

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_prep import hub, readers
from data_prep.convert import hub_nli, hub_squad, upstream_squad
from data_prep.errors import InputError
from data_prep.examples import Span, validate
from eval.targets import ISO3, Target
from mtl.tasks import NLI

HUB = {"retrieval": "mteb/tatoeba-bitext-mining", "classify": "facebook/xnli", "span": "google/xquad"}
CONFIG = {"retrieval": "{iso3}-eng", "classify": "{code}", "span": "xquad.{code}"}
SPLITS = {"retrieval": ("test",), "classify": ("test", "validation"), "span": ("validation", "test")}
COLUMNS = {
    "retrieval": ("sentence1", "sentence2"),
    "classify": ("premise", "hypothesis", "label"),
    "span": ("id", "question", "context", "answers"),
}
_UPSTREAM = {"retrieval": "tatoeba.xxx-eng.xxx and .eng", "classify": "xnli/dev-xx.tsv", "span": "xquad.xx.json"}
_XNLI_STEM = {"test": "test", "validation": "dev"}
_ISO1 = {long: short for short, long in ISO3.items()}


class NotThere(InputError):
    """Nothing to score: no data of this target, or a copy without labels. A suite names it and goes on."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One translation pair of a retrieval target."""

    english: str
    other: str


@dataclass
class Loaded:
    """What was read for one target, by language. `files`: sha256 by name; `notes`: what was passed over, in words."""

    split: str
    rows: dict[str, list[Any]]
    files: dict[str, dict[str, str]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Copy:
    """One split of one language: rows as (where, row) and how to make an example of one."""

    where: str
    files: dict[str, str]
    rows: list[tuple[str, dict[str, Any]]]
    upstream: bool = False

    def labelled(self, kind: str) -> bool:
        if kind == "retrieval" or not self.rows:
            return True
        if kind == "classify":
            return any(row["label"] not in (None, -1, "") for _, row in self.rows)
        return any(any(_answer_texts(row)) for _, row in self.rows)


def read(target: Target, languages: Sequence[str], data: str) -> Loaded:
    """Test data of `target` in those of `languages` that `data` ("hub" or a folder) holds; () means all it holds.

    One split for all languages: of those that carry labels, the one with most languages (equal: the first of `SPLITS`).
    Raises `NotThere` if there is nothing or the labels are withheld, `InputError` if a file or a row is wrong.
    """
    kind = str(target.kind)
    _tree.cache_clear()
    if data == "hub" and not languages:
        raise NotThere("not on the Hub: give --data DIR, the folder that `python -m data_prep.toyworld` wrote")
    root = None if data == "hub" else Path(data)
    if root is not None and not root.is_dir():
        raise InputError(f"--data {data}: no such folder; give a folder or `hub`")
    codes = languages or _languages_in(kind, Path(data))
    found: dict[str, dict[str, _Copy]] = {}
    for split in SPLITS[kind] if root is not None else SPLITS[kind][:1]:  # the Hub's first choice is labelled and whole
        copies = {
            code: _from_hub(kind, code, split) if root is None else _find(kind, code, split, root) for code in codes
        }
        found[split] = {code: copy for code, copy in copies.items() if copy is not None}
    withheld = [copy for copies in found.values() for copy in copies.values() if not copy.labelled(kind)]
    usable = {split: {c: copy for c, copy in copies.items() if copy.labelled(kind)} for split, copies in found.items()}
    split = max(usable, key=lambda s: len(usable[s]))
    if not usable[split]:
        if withheld:
            raise NotThere(f"{withheld[0].where}: this copy has no labels (withheld); the Hub's {HUB[kind]} has them")
        raise NotThere(f"no data at --data {data}; expected {_layouts(kind)}")
    return Loaded(
        split,
        {code: _examples(kind, copy) for code, copy in usable[split].items()},
        {code: copy.files for code, copy in usable[split].items()},
        [f"{copy.where}: labels withheld, not used" for copy in withheld],
    )


# Where the data are


def _layouts(kind: str) -> str:
    return f"{HUB[kind]}/{CONFIG[kind]}/{SPLITS[kind][0]}-*.parquet or {_UPSTREAM[kind]}"


def _find(kind: str, code: str, split: str, root: Path) -> _Copy | None:
    """Tatoeba: LASER's files, which cover more languages, before the Hub's. Others: the Hub's, else upstream's."""
    laser = _laser(root, ISO3.get(code, code)) if kind == "retrieval" else None
    if laser is not None:
        return laser
    folders = [base / HUB[kind] for base in (root, root / "hub")]
    for folder in folders:
        paths = sorted((folder / _config(kind, code)).glob(f"{split}-*.parquet"))
        if paths:
            rows = [row for path in paths for row in readers.parquet(path, COLUMNS[kind])]
            return _Copy(str(paths[0]), _sums(root, paths), rows)
    if kind == "retrieval" or any(folder.is_dir() for folder in folders):
        return None
    if kind == "classify":
        return _xnli_tsv(root, code, _XNLI_STEM[split])
    return _xquad_json(root, code) if split == "validation" else None


def _from_hub(kind: str, code: str, split: str) -> _Copy:
    config = _config(kind, code)
    try:
        table, _ = hub.load_split(HUB[kind], config, split, None)
    except InputError as error:
        problem = str(error).partition("; check the connection")[0]
        raise InputError(f"{problem}; check the connection, or give --data DIR with {_layouts(kind)}") from None
    where = f"{HUB[kind]}, {config}, {split}"
    rows = list(hub.split_rows(table, where, COLUMNS[kind]))
    digest = hashlib.sha256(repr([row for _, row in rows]).encode()).hexdigest()
    return _Copy(where, {f"hub:{HUB[kind]}/{config}/{split}": digest}, rows)


def _config(kind: str, code: str) -> str:
    return CONFIG[kind].format(code=code, iso3=ISO3.get(code, code))


def _languages_in(kind: str, root: Path) -> list[str]:
    """Codes of all languages whose data lie below `root`, sorted."""
    before, after = CONFIG[kind].replace("{iso3}", "{code}").split("{code}")
    codes = {
        folder.name[len(before) : len(folder.name) - len(after)]
        for base in (root, root / "hub")
        for folder in (base / HUB[kind]).glob(f"{before}*{after}")
    }
    for name in _tree(str(root)):
        parts = name.split(".")
        if kind == "retrieval" and len(parts) == 3 and parts[0] == "tatoeba" and parts[1] == f"{parts[2]}-eng":
            codes.add(parts[2])
        elif kind == "span" and len(parts) == 3 and parts[0] == "xquad" and parts[2] == "json":
            codes.add(parts[1])
        elif kind == "classify" and name.startswith(("dev-", "test-")) and name.endswith(".tsv"):
            codes |= {name.removesuffix(".tsv").split("-", 1)[1]} if _named(root, name, below="xnli") else set()
    return sorted(_ISO1.get(code, code) for code in codes)


@lru_cache(maxsize=1)
def _tree(root: str) -> dict[str, list[str]]:
    """Paths of all files below `root` by file name; walked once per `read`."""
    names: dict[str, list[str]] = {}
    for folder, _, files in os.walk(root):
        for name in files:
            if os.path.isfile(os.path.join(folder, name)):  # not a pipe, which would be waited on for ever
                names.setdefault(name, []).append(os.path.join(folder, name))
    return names


def _named(root: Path, name: str, below: str | None = None) -> Path | None:
    """The file called `name` below `root` (and in a folder called `below`); two with other content are an error."""
    paths = [Path(p) for p in sorted(_tree(str(root)).get(name, []))]
    if below is not None:
        paths = [p for p in paths if below in (part.lower() for part in p.relative_to(root.parent).parts[:-1])]
    if len(paths) > 1 and len(set(_sums(root, paths).values())) > 1:
        raise InputError(f"--data {root}: {paths[0]} and {paths[1]} differ; point --data at the folder of one of them")
    return paths[0] if paths else None


def _sums(root: Path, paths: Sequence[Path]) -> dict[str, str]:
    """sha256 of each file by its path below `root`."""
    sums = {}
    for path in paths:
        with path.open("rb") as file:
            sums[str(path.relative_to(root))] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


# Upstream files


def _laser(root: Path, iso3: str) -> _Copy | None:
    other = _named(root, f"tatoeba.{iso3}-eng.{iso3}")
    if other is None:
        return None
    english = other.with_suffix(".eng")
    if not english.is_file():
        raise InputError(f"{english}: missing; it belongs to {other.name}, line by line")
    left, right = ([text for _, text in readers.lines(path)] for path in (english, other))
    if len(left) != len(right):
        raise InputError(f"{other}: {len(right)} lines, but {english.name} has {len(left)}; line i belongs to line i")
    if len(left) >= 50 and left == sorted(left):
        raise InputError(f"{english}: sorted, as in XTREME's copy, which hides the alignment; use LASER's files")
    rows = [
        (f"{other}: line {number}", {"sentence1": theirs, "sentence2": ours})
        for number, (ours, theirs) in enumerate(zip(left, right, strict=True), 1)
    ]
    return _Copy(str(other), _sums(root, [english, other]), rows)


def _xnli_tsv(root: Path, code: str, stem: str) -> _Copy | None:
    """XTREME writes these with csv's quoting and CRLF, without a header; its tests have no label column."""
    path = _named(root, f"{stem}-{code}.tsv", below="xnli")
    if path is None:
        return None
    csv.field_size_limit(2**31 - 1)
    try:
        table = list(csv.reader((f"{text}\n" for _, text in readers.lines(path)), delimiter="\t"))
    except csv.Error as error:
        raise InputError(f"{path}: not tab-separated rows ({error}); expected XTREME's TSV") from None
    rows = []
    for number, fields in enumerate(table, 1):
        where = f"{path}: row {number}"
        if len(fields) not in (2, 3):
            raise InputError(f"{where}: {len(fields)} fields; expected premise, hypothesis, label (XTREME's TSV)")
        label = fields[2] if len(fields) == 3 else ""
        # The raw XNLI files say `contradictory`; XTREME maps it, other copies may not.
        label = "contradiction" if label == "contradictory" else label
        rows.append((where, {"premise": fields[0], "hypothesis": fields[1], "label": label}))
    return _Copy(str(path), _sums(root, [path]), rows)


def _xquad_json(root: Path, code: str) -> _Copy | None:
    path = _named(root, f"xquad.{code}.json")
    return (
        None if path is None else _Copy(str(path), _sums(root, [path]), list(readers.squad_json(path)), upstream=True)
    )


# Examples


def _examples(kind: str, copy: _Copy) -> list[Any]:
    if not copy.rows:
        raise InputError(f"{copy.where}: no rows")
    examples: list[Any] = []
    for where, row in copy.rows:
        if kind == "retrieval":
            pair = Pair(row["sentence2"], row["sentence1"])
            if not all(isinstance(text, str) and text.strip() for text in (pair.english, pair.other)):
                raise InputError(f"{where}: an empty sentence; expected a sentence in both languages")
            examples.append(pair)
            continue
        convert = hub_nli if kind == "classify" else upstream_squad if copy.upstream else hub_squad
        example = convert(row, where, NLI)
        validate(example, where, len(NLI))
        if isinstance(example, Span) and not example.answers:
            raise InputError(f"{where}: no answer; expected at least one (XQuAD has no unanswerable questions)")
        examples.append(example)
    return examples


def _answer_texts(row: dict[str, Any]) -> list[str]:
    answers = row.get("answers") or []
    return list(answers["text"]) if isinstance(answers, dict) else [answer.get("text", "") for answer in answers]
