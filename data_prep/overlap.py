"""Training rows that a test set has as well: by id, or by a text that tells an example from others.

    known = HeldOutRows.read(["xquad", "tydiqa"], places, lock)
    known.overlap(TASK_TYPES["span"], example)       # "in the test of xquad (context)", or ""

SQuAD's rows are XQuAD's questions, for example: what was trained on them says nothing about transfer to XQuAD.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from common.errors import InputError
from data_prep.datasets import TEST_SETS
from data_prep.datasets.schema import Dataset, Dropped, with_label
from data_prep.sources.folders import Folder
from data_prep.sources.locate import locate
from data_prep.sources.sources_lock import SourcesLock
from tasks.base import Example, TaskType
from tasks.registry import TASK_TYPES

_REASON = "in the test of "
ID_LENGTH = 12  # shorter ids, "0" or "12", are numbers of rows and name nothing


@dataclass(frozen=True)
class HeldOutRows:
    """What is known of the rows of test sets: the target of each (what, digest of id or text)."""

    targets: tuple[str, ...]
    found: dict[tuple[str, bytes], str]

    @classmethod
    def read(cls, targets: Sequence[str], places: Sequence[Folder | None], lock: SourcesLock) -> "HeldOutRows":
        """The tests of `targets`, in a folder dev too, in all their languages, from all of `places` (None: the Hub).

        Raises `InputError` for a target without rows of a task type, or whose test is nowhere.
        """
        found: dict[tuple[str, bytes], str] = {}
        for name in targets:
            testset = TEST_SETS.get(name)
            if testset is None or testset.kind not in TASK_TYPES:
                known = ", ".join(name for name, one in TEST_SETS.items() if one.kind in TASK_TYPES)
                raise InputError(f"--against {name}: expected some of {known} (LAReQA's questions are XQuAD's)")
            before = len(found)
            for example in (one for place in places for one in _examples(testset, place or lock)):
                found.update(dict.fromkeys(_digests(TASK_TYPES[testset.kind], example), name))
            if len(found) == before:
                raise InputError(f"--against {name}: no test data in any --source; expected {testset.layout}")
        return cls(tuple(targets), found)

    def overlap(self, task_type: TaskType[Any], example: Example) -> str:
        """Why a training example is left out, "" if no test has it."""
        for key in _digests(task_type, example):
            if key in self.found:
                return f"{_REASON}{self.found[key]} ({key[0]})"
        return ""

    @property
    def digest(self) -> str:
        """Changes with the targets and with any of their rows."""
        return hashlib.sha256(repr((self.targets, sorted(self.found))).encode()).hexdigest()


def checked(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a prepared folder's manifest says of test sets.

    kind: its task type; against: the targets whose rows its training rows were checked against; left_out: by target,
    how many training rows were left out.
    """
    left_out: Counter[str] = Counter()
    for reason, count in manifest["splits"]["train"]["dropped"].items():
        if reason.startswith(_REASON):
            left_out[reason.removeprefix(_REASON).partition(" ")[0]] += count
    return {"kind": manifest["kind"], "against": manifest.get("against", []), "left_out": dict(left_out)}


def _examples(testset: Dataset, place: Folder | SourcesLock) -> Iterator[Example]:
    # As in evaluation: from the Hub the test alone, of which some languages have no other split.
    splits = testset.splits if isinstance(place, Folder) else testset.splits[:1]
    for code in testset.languages:
        for copy in (copy for split in splits for copy in locate(testset, split, code, place)):
            for where, row in (item for part in copy.parts for item in part.rows()):
                with suppress(Dropped):
                    yield copy.source.convert(with_label(testset, copy.source.label, row), where, testset.labels or ())


def _digests(task_type: TaskType[Any], example: Example) -> Iterator[tuple[str, bytes]]:
    texts = task_type.identity(example)
    for name, text in (("id", example.id), *texts.items()) if len(example.id) >= ID_LENGTH else texts.items():
        # A triplet of NLI is two pairs of sentences of a test: the second is a `text (negative)`.
        words = " ".join(text.casefold().split()).encode("utf-8", "replace")
        yield name.split()[0], hashlib.sha256(words).digest()[:16]
