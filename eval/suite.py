"""Runs the targets of a suite for one or more encoders and writes their scores.

    results = run(["runs/a/encoder", "runs/b/encoder"], "retrieval", data="hub", out=None, options=Options())

`scores.json` is written after every target (atomically), and a finished target is taken from there when the encoder,
the protocol and the data are the same: an interrupted suite continues where it was. All data are read before the
first forward pass, so that a wrong file shows at once.
"""

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from data_prep.errors import InputError
from eval import predict, retrieve, score
from eval.embed import MAX_LENGTH, POOLINGS, default_layer, embed
from eval.read import Loaded, NotThere, read
from eval.subject import Subject, head_fingerprint
from eval.targets import OFFICIAL, Target, resolve_suite
from mtl.export import LoadedHead
from mtl.spans import MAX_ANSWER_LENGTH, N_BEST
from mtl.tasks import NLI

VERSION = 1  # of the protocols below: change it with anything that changes a score
TO_OTHER, TO_ENGLISH = "en->xx", "xx->en"
Progress = Callable[[int], Any]


@dataclass(frozen=True)
class Options:
    """layer None: `default_layer`; examples None: all rows, else the first so many of each language."""

    layer: int | None = None
    pooling: str = "mean"
    centre: bool = False
    examples: int | None = None
    micro_tokens: int = 16384
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass
class _Job:
    """One target for one encoder, ready to run."""

    subject: Subject
    target: Target
    loaded: Loaded
    head: LoadedHead | None
    protocol: dict[str, Any]
    missing: list[str]
    fingerprint: str

    def work(self) -> int:
        per_row = 2 if self.target.kind == "retrieval" else 1
        return per_row * sum(len(rows) for rows in self.loaded.rows.values())


def run(
    encoders: list[str], suite: str, data: str, out: Path | None, options: Options
) -> list[tuple[dict[str, Any], Path]]:
    """(scores, folder whose scores.json holds them) of every encoder; `out` is the folder of a single one.

    Raises `InputError` if an encoder, the data or the options are wrong, or if no target at all can run.
    """
    name, targets = resolve_suite(suite)
    assert options.pooling in POOLINGS
    subjects = [Subject(spec, torch.device(options.device)) for spec in dict.fromkeys(encoders)]
    for subject in subjects:
        depth = subject.depth  # reads its config, so that a wrong encoder shows before any data are fetched
        if options.layer is not None and not 0 <= options.layer <= depth:
            raise InputError(f"--layer {options.layer}: {subject.name} has layers 0 (embeddings) to {depth}")
    folders = [out if out is not None and len(subjects) == 1 else subject.eval_folder for subject in subjects]
    if len(set(folders)) < len(folders):
        raise InputError(f"two encoders would write to {folders[-1]}; evaluate them one by one, each with its --out")

    loaded, absent = _read_all(name, targets, data, options)
    jobs: list[list[_Job]] = []
    results: list[dict[str, Any]] = []
    for subject, folder in zip(subjects, folders, strict=True):
        mine, not_run = _plan(subject, name, targets, loaded, absent, options, data)
        result = _begin(subject, name, folder)
        result["not_run"] = not_run
        jobs.append(mine)
        results.append(result)
    if not any(jobs):
        reasons = {f"{t}: {why}" for result in results for t, why in result["not_run"].items()}
        raise InputError(f"--suite {suite}: nothing to run: {'; '.join(sorted(reasons))}")

    total = sum(job.work() for mine in jobs for job in mine)
    with tqdm(total=total, unit="text", dynamic_ncols=True, smoothing=0.1) as bar:
        for mine, result, folder in zip(jobs, results, folders, strict=True):
            for job in mine:
                bar.set_description(f"{job.subject.name}: {job.target.name}")
                old = result["targets"].get(job.target.name)
                if old is not None and old["fingerprint"] == job.fingerprint:
                    bar.update(job.work())
                    _say(f"{job.subject.name}: {job.target.name}: same encoder, protocol and data, taken from {folder}")
                else:
                    began = time.perf_counter()
                    record = _score(job, options, bar)
                    record["seconds"] = round(time.perf_counter() - began, 2)
                    result["targets"][job.target.name] = record
                _finish(result, name, targets, folder)
    for result, folder in zip(results, folders, strict=True):
        _finish(result, name, targets, folder)  # also where nothing ran: its `not_run` is news
    return list(zip(results, folders, strict=True))


def _read_all(
    suite: str, targets: list[Target], data: str, options: Options
) -> tuple[dict[str, Loaded], dict[str, str]]:
    """(data of the targets that can be read, reason of the others)."""
    loaded: dict[str, Loaded] = {}
    absent: dict[str, str] = {}
    for target in targets:
        if target.kind is None:
            absent[target.name] = target.not_built
            continue
        try:
            loaded[target.name] = read(target, target.of_suite(suite), data)
        except NotThere as error:
            absent[target.name] = str(error)
            continue
        if options.examples is not None:
            some = loaded[target.name].rows
            loaded[target.name].rows = {code: rows[: options.examples] for code, rows in some.items()}
    return loaded, absent


def _plan(
    subject: Subject,
    suite: str,
    targets: list[Target],
    loaded: dict[str, Loaded],
    absent: dict[str, str],
    options: Options,
    data: str,
) -> tuple[list[_Job], dict[str, str]]:
    jobs, not_run = [], dict(absent)
    for target in targets:
        if target.name not in loaded:
            continue
        some = loaded[target.name]
        head = subject.head(target.heads)
        if target.heads and head is None:
            not_run[target.name] = f"no head of {' or '.join(target.heads)} beside the encoder (heads/)"
            continue
        protocol = _protocol(subject, target, some, head, options)
        basis = [VERSION, subject.fingerprint, protocol, some.files, head_fingerprint(head) if head else None]
        fingerprint = hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()
        missing = [code for code in target.of_suite(suite) if code not in some.rows]
        jobs.append(_Job(subject, target, some, head, {**protocol, "data": data}, missing, fingerprint))
    return jobs, not_run


def _protocol(
    subject: Subject, target: Target, loaded: Loaded, head: LoadedHead | None, options: Options
) -> dict[str, Any]:
    shared = {
        "split": loaded.split,
        "n": f"first {options.examples}" if options.examples else "all",
        "precision": "float32",
    }
    if target.kind == "retrieval":
        return {
            "layer": default_layer(subject.depth) if options.layer is None else options.layer,
            "depth": subject.depth,
            "pooling": options.pooling,
            "special_tokens": options.pooling != "mean_no_special",
            "centred": options.centre,
            "similarity": "cosine",
            "direction": f"{TO_OTHER} (query: English sentence, index: the other language); {TO_ENGLISH} in details",
            "max_length": MAX_LENGTH,
            "head": None,
            **shared,
        }
    assert head is not None
    protocol = {
        "head": head.task,
        "training_on_target": "none",
        "max_length": head.max_length,
        "special_tokens": True,
        **shared,
    }
    if target.kind == "span":
        protocol |= {
            "n_best": N_BEST,
            "max_answer_length": MAX_ANSWER_LENGTH,
            "null": "never: every question has an answer",
            "normalisation": "SQuAD v1.1 (English articles, ASCII punctuation)",
        }
    return protocol


def _score(job: _Job, options: Options, bar: "tqdm[Any]") -> dict[str, Any]:
    details: dict[str, dict[str, Any]] = {}
    truncated: Counter[str] = Counter()
    for code, rows in job.loaded.rows.items():
        bar.set_postfix_str(code)
        details[code] = _SCORERS[str(job.target.kind)](job, rows, options, truncated, bar.update)
    headline = TO_OTHER if job.target.kind == "retrieval" else job.target.metric
    languages = {code: detail[headline] for code, detail in details.items()}
    return {
        "metric": job.target.metric,
        "score": score.mean(languages),
        "languages": languages,
        "complete": not job.missing,
        "missing_languages": job.missing,
        **_means(details, languages, headline),
        "suites": _by_suite(job.target, languages),
        "details": details,
        "protocol": job.protocol,
        "truncated": dict(truncated),
        "notes": job.loaded.notes,
        "files": {name: digest for files in job.loaded.files.values() for name, digest in files.items()},
        "fingerprint": job.fingerprint,
    }


def _means(details: dict[str, dict[str, Any]], languages: dict[str, float], headline: str) -> dict[str, Any]:
    """Means over the languages of the other figures, of chance, and of the headline without English."""
    columns = {key: {c: d[key] for c, d in details.items()} for key in next(iter(details.values())) if key != "n"}
    means: dict[str, Any] = {
        "scores": {key: score.mean(column) for key, column in columns.items() if key != "chance"},
        "chance": score.mean(columns["chance"]) if "chance" in columns else None,
    }
    foreign = {code: value for code, value in languages.items() if code != "en"}
    if foreign and len(foreign) < len(languages):
        means["score_without_english"] = score.mean(foreign)
    return means


def _by_suite(target: Target, languages: dict[str, float]) -> dict[str, Any]:
    """The score over each official suite's own language list, named as incomplete where languages are missing."""
    result = {}
    for suite, codes in target.languages.items():
        there = {code: languages[code] for code in codes if code in languages}
        if there:
            missing = [code for code in codes if code not in languages]
            result[suite] = {"score": score.mean(there), "languages": len(there), "missing_languages": missing}
    return result


def _retrieval(
    job: _Job, rows: list[Any], options: Options, truncated: Counter[str], update: Progress
) -> dict[str, Any]:
    vectors = []
    for texts in ([pair.english for pair in rows], [pair.other for pair in rows]):
        side = embed(
            job.subject.encoder, job.subject.tokenizer, texts,
            layer=job.protocol["layer"], pooling=options.pooling, micro_tokens=options.micro_tokens,
            truncated=truncated, progress=update,
        )  # fmt: skip
        vectors.append(retrieve.centre(side) if options.centre else side)
    there, back = retrieve.accuracies(vectors[0], vectors[1], options.device)
    return {
        TO_OTHER: there,
        TO_ENGLISH: back,
        "n": len(rows),
        "chance": 100 / len(rows),
    }


def _classify(
    job: _Job, rows: list[Any], options: Options, truncated: Counter[str], update: Progress
) -> dict[str, Any]:
    assert job.head is not None
    predictions = predict.classify(
        job.subject.encoder, job.subject.tokenizer, job.head, rows, NLI,
        micro_tokens=options.micro_tokens, truncated=truncated, progress=update,
    )  # fmt: skip
    labels = [example.label for example in rows]
    return {"accuracy": score.accuracy(predictions, labels), "n": len(rows), "chance": score.majority(labels)}


def _span(job: _Job, rows: list[Any], options: Options, truncated: Counter[str], update: Progress) -> dict[str, Any]:
    assert job.head is not None
    predictions = predict.answer(
        job.subject.encoder, job.subject.tokenizer, job.head, rows,
        micro_tokens=options.micro_tokens, truncated=truncated, progress=update,
    )  # fmt: skip
    golds = [[text for text, _ in example.answers] for example in rows]
    return {**score.squad(predictions, golds), "n": len(rows)}


_SCORERS = {"retrieval": _retrieval, "classify": _classify, "span": _span}


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


# scores.json


def _begin(subject: Subject, suite: str, folder: Path) -> dict[str, Any]:
    """The scores so far: those of an earlier run of the same weights, else none."""
    fresh: dict[str, Any] = {
        "encoder": subject.spec,
        "name": subject.name,
        "fingerprint": subject.fingerprint,
        "suite": suite,
        "targets": {},
        "average": {},
        "not_run": {},
    }
    path = folder / "scores.json"
    if path.is_file():
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            if old["fingerprint"] == subject.fingerprint:
                fresh["targets"] = old["targets"]
            else:
                _say(f"{path}: of other weights ({old['encoder']}); replaced")
        except (ValueError, KeyError, TypeError):
            _say(f"{path}: not readable as scores; replaced")
    return fresh


def _finish(result: dict[str, Any], suite: str, targets: list[Target], folder: Path) -> None:
    result["average"] = average(result, suite, targets)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "scores.json.tmp"
    temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(folder / "scores.json")


def average(result: dict[str, Any], suite: str, targets: list[Target]) -> dict[str, Any]:
    """The score of an official suite, the unweighted mean over its targets; null for other suites and while a target

    or one of its languages is missing (named). A question-answering target enters as (F1 + EM) / 2, as in XTREME.
    """
    entered: dict[str, float] = {}
    missing: dict[str, str] = {}
    for target in targets:
        record = result["targets"].get(target.name)
        if record is None:
            missing[target.name] = "not run"
        elif not record["complete"]:
            missing[target.name] = f"without {' '.join(record['missing_languages'])}"
        else:
            both = record["scores"]
            entered[target.name] = (both["f1"] + both["em"]) / 2 if "em" in both else record["score"]
    complete = not missing and suite in OFFICIAL
    return {"suite": suite, "score": score.mean(entered) if complete else None, "targets": entered, "missing": missing}
