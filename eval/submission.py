"""Writes predictions as a submission folder of the official scorer, and says whether such a folder is complete.

    write(Path("submission"), "xnli", "de", ["neutral", "entailment", ...])
    problems = missing(Path("submission"), "xtreme")

One folder per target with one file per language, `test-LANGUAGE.tsv`, `.json` or `.jsonl`: the layout of
google-research/xtreme at 838c13b (README, "Leaderboard Submission"; `evaluate.py`). The scorer compares line by line,
so the order is the test file's. LAReQA has no official format; ours is Mewsli-X's.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common import files
from eval.suites import LANGUAGES, TARGETS, TOP_K

FOLDERS = {"bucc": "bucc2018"}  # where the folder is named differently
NO_TAG = "O"  # for a word without prediction: not an entity, and never a correct UPOS tag


def path_of(folder: Path, target: str, language: str) -> Path:
    """Path of the predictions of one target and language."""
    return folder / FOLDERS.get(target, target) / f"test-{language}.{_FORMATS[TARGETS[target].kind][1]}"


def write(folder: Path, target: str, language: str, predictions: Any) -> Path:
    """Writes one file of a submission and returns its path. What `predictions` is depends on the target:

    xnli, pawsx, xcopa   labels in the test file's order (pawsx, xcopa: 0 or 1)
    udpos, panx          one sequence of tags per sentence, None for a word without prediction
    xquad, mlqa, tydiqa  {question id: answer text}
    bucc                 (id in the language, id in English) of every pair found
    tatoeba              (English sentence, index of the retrieved sentence) in the data's order; written in that of the
                         official test file, whose English side is sorted by code point to hide the alignment
    lareqa, mewslix      {query id: ids of the top 20 candidates, best first}; fewer are allowed, more are cut
    """
    path = path_of(folder, target, language)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, _FORMATS[TARGETS[target].kind][0](predictions))
    return path


def replace(folder: Path, target: str, predictions: Mapping[str, Any]) -> None:
    """Replaces a target's predictions, by language, in `folder`/SUITE of every suite that has it."""
    for suite, targets in LANGUAGES.items():
        if target in targets:
            shutil.rmtree(folder / suite / FOLDERS.get(target, target), ignore_errors=True)
            for language, rows in predictions.items():
                if language in targets[target]:
                    write(folder / suite, target, language, rows)


def missing(folder: Path, suite: str) -> list[str]:
    """What a submission to `suite` (xtreme, xtreme-r) lacks, one line a target; empty if it is complete."""
    problems = []
    for target, codes in LANGUAGES[suite].items():
        absent = [code for code in codes if not path_of(folder, target, code).is_file()]
        name = FOLDERS.get(target, target)
        if len(absent) == len(codes):
            expected = path_of(folder, target, "LANGUAGE").name
            problems.append(f"{name}: nothing there; expected {expected} for {' '.join(codes)}")
        elif absent:
            problems.append(f"{name}: no file for {' '.join(absent)}")
    return problems


# Writers: predictions -> text


def _labels(predictions: Sequence[Any]) -> str:
    return "".join(f"{label}\n" for label in predictions)


def _choices(predictions: Sequence[int]) -> str:
    return "".join(json.dumps({"label": int(label)}) + "\n" for label in predictions)


def _tags(predictions: Sequence[Sequence[str | None]]) -> str:
    return "\n".join("".join(f"{tag or NO_TAG}\n" for tag in sentence) for sentence in predictions)


def _answers(predictions: Mapping[str, str]) -> str:
    return json.dumps(dict(predictions), indent=1) + "\n"


def _pairs(predictions: Sequence[tuple[str, str]]) -> str:
    return "".join(f"{source}\t{target_id}\n" for source, target_id in predictions)


def _indices(predictions: Sequence[tuple[str, int]]) -> str:
    ordered = sorted(predictions, key=lambda row: row[0].strip())  # stable, like the official preprocessing
    return "".join(f"{int(index)}\n" for _, index in ordered)


def _ranked(predictions: Mapping[str, Sequence[str]]) -> str:
    return json.dumps({query: list(found)[:TOP_K] for query, found in predictions.items()}) + "\n"


# By the kind of the target: predictions -> text, and the suffix of the file.
_FORMATS: dict[str, tuple[Callable[[Any], str], str]] = {
    "classify": (_labels, "tsv"),
    "choice": (_choices, "jsonl"),
    "tag": (_tags, "tsv"),
    "span": (_answers, "json"),
    "mining": (_pairs, "tsv"),
    "translation": (_indices, "tsv"),
    "answers": (_ranked, "json"),
    "entities": (_ranked, "json"),
}
