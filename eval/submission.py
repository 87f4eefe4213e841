"""Writes predictions as a submission folder of the official scorer, and checks that such a folder is complete.

    write(Path("submission"), "xnli", "de", ["neutral", "entailment", ...])
    problems = check(Path("submission"), "xtreme")

One folder per target with one file per language, `test-LANGUAGE.tsv`, `.json` or `.jsonl`: the layout of
google-research/xtreme at 838c13b (README, "Leaderboard Submission"; `evaluate.py`). The scorer compares line by line,
so the order is the test file's. LAReQA has no official format; ours is Mewsli-X's.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.labels import NER, NLI, UPOS
from eval.suites import LANGUAGES, TOP_K

FOLDERS = {"bucc": "bucc2018"}  # where the folder is named differently
LABELS = {"xnli": tuple(sorted(NLI)), "pawsx": ("0", "1"), "xcopa": ("0", "1")}
TAGS = {"panx": NER, "udpos": UPOS}
NO_TAG = "O"  # for a word without prediction: not an entity, and never a correct UPOS tag


def path_of(folder: Path, target: str, language: str) -> Path:
    """Path of the predictions of one target and language."""
    return folder / FOLDERS.get(target, target) / f"test-{language}.{_SUFFIX[target]}"


def write(folder: Path, target: str, language: str, predictions: Any) -> Path:
    """Writes one file of a submission and returns its path. What `predictions` is depends on the target:

    xnli, pawsx, xcopa   labels in the test file's order (`LABELS`; pawsx and xcopa also as ints)
    udpos, panx          one sequence of tags per sentence (`TAGS`), None for a word without prediction
    xquad, mlqa, tydiqa  {question id: answer text}
    bucc                 (id in the language, id in English) of every pair found
    tatoeba              (English sentence, index of the retrieved sentence) in the data's order; written in that of the
                         official test file, whose English side is sorted by code point to hide the alignment
    lareqa, mewslix      {query id: ids of the top 20 candidates, best first}; fewer are allowed, more are cut

    `ValueError`: an unknown target or language, a label or tag outside its list, no predictions (except bucc).
    """
    if target not in _WRITERS:
        raise ValueError(f"unknown target {target!r}; expected one of {', '.join(_WRITERS)}")
    if all(language not in targets.get(target, ()) for targets in LANGUAGES.values()):
        raise ValueError(f"{target} has no language {language!r}")
    if len(predictions) == 0 and target != "bucc":
        raise ValueError(f"{target} {language}: no predictions")
    text = _WRITERS[target](f"{target} {language}", target, predictions)
    path = path_of(folder, target, language)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)
    return path


def replace(folder: Path, target: str, predictions: Mapping[str, Any]) -> None:
    """Replaces a target's predictions, by language, in `folder`/SUITE of every suite that has it."""
    for suite, targets in LANGUAGES.items():
        if target in targets:
            shutil.rmtree(folder / suite / FOLDERS.get(target, target), ignore_errors=True)
            for language, rows in predictions.items():
                if language in targets[target]:
                    write(folder / suite, target, language, rows)


def check(folder: Path, suite: str, labels: Path | None = None) -> list[str]:
    """What is missing or wrong in a submission to `suite` (xtreme, xtreme-r), one line each; empty if complete.

    With the scorer's own folder of gold `labels`, numbers of lines, lengths of
    sentences and question ids are compared too. Targets that it lacks (LAReQA always) are checked without.
    """
    problems = []
    for target, codes in LANGUAGES[suite].items():
        paths = {code: path_of(folder, target, code) for code in codes}
        absent = [code for code, path in paths.items() if not path.is_file()]
        name = FOLDERS.get(target, target)
        if len(absent) == len(codes):
            problems.append(f"{name}: nothing there; expected test-LANGUAGE.{_SUFFIX[target]} for {' '.join(codes)}")
            continue
        if absent:
            problems.append(f"{name}: no file for {' '.join(absent)}")
        for code, path in paths.items():
            if code not in absent:
                gold = None if labels is None else path_of(labels, target, code)
                try:
                    wrong = _wrong(target, path, gold if gold is not None and gold.is_file() else None)
                except (ValueError, AttributeError, TypeError, KeyError) as error:
                    wrong = f"not readable: {error}"
                if wrong:
                    problems.append(f"{name}/{path.name}: {wrong}")
    return problems


# Writers: (name in errors, target, predictions) -> text


def _labels(what: str, target: str, predictions: Sequence[Any]) -> str:
    lines = [str(label) for label in predictions]
    for line in lines:
        if line not in LABELS[target]:
            raise ValueError(f"{what}: label {line!r}, expected one of {', '.join(LABELS[target])}")
    if target == "xcopa":
        lines = [json.dumps({"label": int(line)}) for line in lines]
    return "\n".join(lines) + "\n"


def _tags(what: str, target: str, predictions: Sequence[Sequence[str | None]]) -> str:
    sentences = []
    for number, sentence in enumerate(predictions):
        if not sentence:
            raise ValueError(f"{what}: sentence {number} has no words; a blank line separates sentences")
        tags = [NO_TAG if tag is None else tag for tag in sentence]
        for given, tag in zip(sentence, tags, strict=True):
            if given is not None and tag not in TAGS[target]:
                raise ValueError(f"{what}: tag {tag!r} in sentence {number}, expected one of {', '.join(TAGS[target])}")
        sentences.append("".join(f"{tag}\n" for tag in tags))
    return "\n".join(sentences)


def _answers(what: str, target: str, predictions: Mapping[str, str]) -> str:
    return json.dumps(dict(predictions), indent=1) + "\n"


def _pairs(what: str, target: str, predictions: Sequence[tuple[str, str]]) -> str:
    for pair in predictions:
        if len(pair) != 2 or any(not one or one.split() != [one] for one in pair):
            raise ValueError(f"{what}: {pair!r}, expected two ids")
    return "".join(f"{source}\t{target_id}\n" for source, target_id in predictions)


def _indices(what: str, target: str, predictions: Sequence[tuple[str, int]]) -> str:
    ordered = sorted(predictions, key=lambda row: row[0].strip())  # stable, like the official preprocessing
    return "".join(f"{int(index)}\n" for _, index in ordered)


def _ranked(what: str, target: str, predictions: Mapping[str, Sequence[str]]) -> str:
    return json.dumps({query: list(found)[:TOP_K] for query, found in predictions.items()}) + "\n"


# Reading back, for `check`


def _wrong(target: str, path: Path, gold: Path | None) -> str | None:
    """What is wrong with one file, or None."""
    text = path.read_text(encoding="utf-8")
    if not text.strip():
        return None if target == "bucc" else "empty"
    if _SUFFIX[target] == "json":
        return _wrong_json(target, text, gold)
    lines = text.splitlines()
    if target in TAGS:
        shape = [len(sentence) for sentence in _sentences(lines)]
        unknown = {line.strip() for line in lines} - {*TAGS[target], NO_TAG, ""}
        expected = None if gold is None else [len(s) for s in _sentences(gold.read_text("utf-8").splitlines())]
        if unknown:
            return f"unknown tags {', '.join(sorted(unknown))}"
        if expected is not None and shape != expected:
            return f"{len(shape)} sentences, {sum(shape)} words; the labels have {len(expected)} and {sum(expected)}"
        return None
    if target == "bucc":  # any number of pairs is valid
        odd = [line for line in lines if len(line.split("\t")) != 2]
        return f"line {odd[0]!r} is not two ids" if odd else None
    values = [str(json.loads(line)["label"]) for line in lines] if target == "xcopa" else [s.strip() for s in lines]
    unknown = {v for v in values if not v.isdecimal()} if target == "tatoeba" else set(values) - set(LABELS[target])
    if unknown:
        return f"unknown labels {', '.join(sorted(unknown))}"
    if gold is not None and len(values) != (count := len(gold.read_text("utf-8").splitlines())):
        return f"{len(values)} lines, the labels have {count}"
    return None


def _wrong_json(target: str, text: str, gold: Path | None) -> str | None:
    found = json.loads(text)
    kind = list if target in ("lareqa", "mewslix") else str
    odd = [key for key, value in found.items() if not isinstance(value, kind)]
    if odd:
        return f"{odd[0]}: expected {'a list of ids' if kind is list else 'a text'}"
    if gold is None:
        return None
    wanted = json.loads(gold.read_text("utf-8"))
    if kind is str:
        wanted = [qa["id"] for article in wanted["data"] for one in article["paragraphs"] for qa in one["qas"]]
    absent = [key for key in wanted if key not in found]
    return f"{len(absent)} of {len(wanted)} ids without prediction, the first is {absent[0]}" if absent else None


def _sentences(lines: Sequence[str]) -> list[list[str]]:
    sentences: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            sentences[-1].append(line)
        elif sentences[-1]:
            sentences.append([])
    return sentences if sentences[-1] else sentences[:-1]


_WRITERS: dict[str, Callable[[str, str, Any], str]] = {
    "xnli": _labels,
    "pawsx": _labels,
    "xcopa": _labels,
    "udpos": _tags,
    "panx": _tags,
    "xquad": _answers,
    "mlqa": _answers,
    "tydiqa": _answers,
    "bucc": _pairs,
    "tatoeba": _indices,
    "lareqa": _ranked,
    "mewslix": _ranked,
}
_SUFFIX = {
    target: "json" if writer in (_answers, _ranked) else "jsonl" if target == "xcopa" else "tsv"
    for target, writer in _WRITERS.items()
}
