"""The driver: runs and scores the targets of a suite for one or more encoders, skipping finished ones.

    results = run(["runs/a/encoder", "runs/b/encoder"], "xtreme", data=["hub"], out=None, options=Options())

Per target: target training where it has one (`deepspeed`, `target_training.py`), vectors and predictions
(`artifacts.py`; in this process, or in several by `accelerate launch`), metrics (`score_target.py`). All test data are
read and all training data prepared first, so that errors in files appear early. `scores.json` is written after every
target; a finished one is reused when encoder, training, protocol and data are the same.
"""

import contextlib
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from common.errors import InputError
from data_prep.sources.folders import check_folders
from eval import submission
from eval.driver import results, subprocesses, worker
from eval.driver.target_training import Settings, Stage, chain
from eval.inference import artifacts
from eval.inference.artifacts import Job
from eval.inference.embed import MAX_LENGTH, POOLINGS, default_layer
from eval.inference.encoder import Subject, head_fingerprint
from eval.metrics import aggregate, score, score_target
from eval.read import read
from eval.rows import Loaded, NotThere, joined
from eval.sources import Source, groups, parse, shared_places
from eval.suites import Target, resolve_suite
from mtl.model.saved_heads import LoadedHead

VERSION = 3  # of the protocols: increase it with any change to a score or a submission
QUERY_LENGTHS = {"answers": 96, "entities": 64}  # tokens, as XTREME-R's scripts; passages: the head's max_length


@dataclass(frozen=True)
class Options:
    """Options of an evaluation.

    layer None: `default_layer`; examples None: all rows, else the first ones of each language; direct: predict with
    the intermediate heads, without target training; overrides: `--set` of every target run; prepared: folder of
    prepared training data; sources: of training data, (): those of the test data.
    """

    layer: int | None = None
    pooling: str = "mean"
    centre: bool = False
    examples: int | None = None
    micro_tokens: int = 16384
    direct: bool = False
    overrides: tuple[str, ...] = ()
    prepared: Path = Path("data")
    sources: tuple[str, ...] = ()
    processes: int = max(1, torch.cuda.device_count())
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass
class _Todo:
    """One target for one encoder, ready to run. `stages`: its training; `head`: name of the task that predicts."""

    subject: Subject
    target: Target
    loaded: Loaded
    stages: list[Stage]
    head: str | None
    names: dict[str, str]
    protocol: dict[str, Any]
    setup: str  # a digest of encoder, training and protocol
    fingerprint: str  # of the data as well, or of an earlier record that holds these

    def texts(self) -> int:
        return sum(piece.size for piece in artifacts.pieces(self.loaded, self.head is not None))


def run(
    encoders: list[str], suite: str, data: Sequence[str], out: Path | None, options: Options
) -> list[tuple[dict[str, Any], Path]]:
    """(scores, folder of their scores.json) of every encoder; `out` is that folder for a single encoder.

    `data`: "hub" or folders, as `eval/sources.py` reads them; a target's test data come from the first that has them.
    Raises `InputError` for an invalid encoder, data or options, and if no target can run.
    """
    name, targets = resolve_suite(suite)
    sources = [parse(text) for text in data]
    options = replace(options, sources=options.sources or tuple(shared_places(sources)))
    assert options.pooling in POOLINGS
    if subprocesses.GPU and options.processes > torch.cuda.device_count():
        raise InputError(f"--num-gpus {options.processes}: this machine has {torch.cuda.device_count()}")
    subjects = [Subject(spec, torch.device(options.device)) for spec in dict.fromkeys(encoders)]
    for subject in subjects:
        depth = subject.depth  # reads its config: a wrong encoder is reported before any download
        if options.layer is not None and not 0 <= options.layer <= depth:
            raise InputError(f"--layer {options.layer}: {subject.name} has layers 0 (embeddings) to {depth}")
    check_folders("--source", options.sources)
    folders = [out if out is not None and len(subjects) == 1 else subject.eval_folder for subject in subjects]
    if len(set(folders)) < len(folders):
        raise InputError(f"two encoders would write to {folders[-1]}; evaluate them one by one, each with its --out")

    loaded, absent = _read_all(name, targets, sources, options)
    plans = [_plan(s, targets, loaded, absent, options, f) for s, f in zip(subjects, folders, strict=True)]
    _some_left(name, plans)
    with contextlib.ExitStack() as locks:
        for folder in folders:
            locks.enter_context(results.locked(folder))
        return _run_all(name, targets, subjects, folders, plans, options)


def _run_all(
    suite: str,
    targets: list[Target],
    subjects: list[Subject],
    folders: list[Path],
    plans: list[tuple[list["_Todo"], dict[str, str]]],
    options: Options,
) -> list[tuple[dict[str, Any], Path]]:
    found: list[tuple[list[_Todo], dict[str, Any], Path]] = []
    for subject, folder, (mine, not_run) in zip(subjects, folders, plans, strict=True):
        wanted = {one.target.name: one.fingerprint for one in mine}
        result, remark = results.begin(subject, suite, folder, targets, wanted)
        if remark:
            _say(remark)
            shutil.rmtree(folder / "submission", ignore_errors=True)  # of other weights
        result["not_run"] = {**not_run, **_prepare([one for one in mine if not _finished(one, result)])}
        found.append(([one for one in mine if one.target.name not in result["not_run"]], result, folder))
    _some_left(suite, [(mine, result["not_run"]) for mine, result, _ in found])

    cost = {
        stage.folder: stage.work()
        for mine, result, _ in found
        for one in mine
        for stage in one.stages
        if not _finished(one, result) and not stage.done
    }
    total = sum(cost.values()) + sum(one.texts() for mine, _, _ in found for one in mine)
    # Redraw a terminal twice a second; write to a log file every 15 s.
    pace = 0.5 if sys.stderr.isatty() else 15.0
    with tqdm(
        total=total, unit="example", unit_scale=True, dynamic_ncols=True, smoothing=0.05, mininterval=pace
    ) as bar:
        for mine, result, folder in found:
            results.write(result, targets, folder)
            for one in mine:
                bar.set_description(f"{one.subject.name}: {one.target.name}")
                if _finished(one, result):
                    bar.update(one.texts())
                    what = "same encoder, training, protocol and data"
                    _say(f"{one.subject.name}: {one.target.name}: {what}, taken from {folder}")
                    continue
                _run_one(one, result, folder, options, cost, bar)
                results.write(result, targets, folder)
    return [(result, folder) for _, result, folder in found]


def _some_left(suite: str, plans: Sequence[tuple[list["_Todo"], dict[str, str]]]) -> None:
    """`InputError` with all reasons if no target can run."""
    if not any(mine for mine, _ in plans):
        reasons = {f"{target}: {why}" for _, not_run in plans for target, why in not_run.items()}
        raise InputError(f"--suite {suite}: nothing to run: {'; '.join(sorted(reasons))}")


def _read_all(
    suite: str, targets: list[Target], data: Sequence[Source], options: Options
) -> tuple[dict[str, Loaded], dict[str, str]]:
    """(data of the targets that can be read, reasons for the others)."""
    loaded: dict[str, Loaded] = {}
    absent: dict[str, str] = {}
    for target in targets:
        if options.direct and target.training and not target.direct:
            absent[target.name] = "--direct: no intermediate task predicts it; it needs target training"
            continue
        reasons: list[str] = []
        parts = [
            some
            for codes, places in groups(data, target, target.of_suite(suite))
            if (some := _first_test(target, codes, places, options.examples, reasons)) is not None
        ]
        if parts:
            loaded[target.name] = joined(parts)
        else:
            absent[target.name] = "; ".join(reasons)
    return loaded, absent


def _first_test(
    target: Target, codes: Sequence[str], places: Sequence[str], examples: int | None, reasons: list[str]
) -> Loaded | None:
    """The first of `places` with a labelled test set, else the first with dev, else None; appends to `reasons`."""
    fallback: Loaded | None = None
    for place in places:
        try:
            some = read(target, codes, place)
        except NotThere as error:
            reasons.append(str(error))
            continue
        artifacts.limit(some, examples)
        some.data = place
        if place != places[0]:
            some.supplied.append(f"test data of {place}, as {places[0]} lacks them")
        if some.unsubmitted:
            some.supplied.append(f"no submission: {some.unsubmitted}")
        if not some.dev:
            return some
        fallback = fallback or some
    if fallback is not None:
        fallback.supplied.append(
            f"dev, not test, in {len(fallback.dev)} languages, as {fallback.data} has no labelled tests of them: in no"
            " average and no submission"
        )
    return fallback


def _plan(
    subject: Subject,
    targets: list[Target],
    loaded: dict[str, Loaded],
    absent: dict[str, str],
    options: Options,
    folder: Path,
) -> tuple[list[_Todo], dict[str, str]]:
    todo, not_run = [], dict(absent)
    settings = Settings(options.overrides, options.prepared.resolve(), options.sources, options.processes)
    for target in targets:
        if target.name not in loaded:
            continue
        some = loaded[target.name]
        stages: list[Stage] = []
        head: str | None = None
        names: dict[str, str] = {}
        basis: list[Any] = [VERSION, subject.fingerprint]
        protocol: dict[str, Any] = {"split": some.split, "precision": "float32"}
        protocol["n"] = f"first {options.examples}" if options.examples else "all"
        if target.training and options.direct:
            head = next((task for task in target.direct if task in subject.heads), None)
            if head is None:
                not_run[target.name] = f"no head of {' or '.join(target.direct)} beside the encoder (heads/)"
                continue
            names = target.direct[head]
            known = subject.heads[head]
            _check(subject, known, target, names)
            basis.append(head_fingerprint(known))
            protocol |= {"head": head, "training_on_target": "none", **score_target.protocol(target, known.max_length)}
        elif target.training:
            stages = chain(target.training, subject, folder / "targets", settings)
            (head,) = stages[-1].tasks()
            basis.append([stage.request() for stage in stages])
            protocol |= {"head": head, "training_on_target": "English"}
        else:
            protocol |= _vectors_protocol(subject, options) | score_target.protocol(target, None)
        setup = _digest([basis, protocol])
        digest = results.wider(folder, target.name, setup, some.files) or _digest([setup, some.files])
        todo.append(_Todo(subject, target, some, stages, head, names, protocol, setup, digest))
    return todo, not_run


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _vectors_protocol(subject: Subject, options: Options) -> dict[str, Any]:
    return {
        "layer": default_layer(subject.depth) if options.layer is None else options.layer,
        "depth": subject.depth,
        "pooling": options.pooling,
        "special_tokens": options.pooling != "mean_no_special",
        "centred": options.centre,
        "similarity": "cosine",
        "max_length": MAX_LENGTH,
        "head": None,
    }


def _finished(one: _Todo, result: dict[str, Any]) -> bool:
    old = result["targets"].get(one.target.name)
    return old is not None and old["fingerprint"] == one.fingerprint


def _check(subject: Subject, head: LoadedHead, target: Target, names: Mapping[str, str]) -> None:
    """`InputError` if the head cannot predict the target; `names`: head label -> target label."""
    where = f"{subject.spec}: its head {head.task}"
    kind = "pair" if target.kind in QUERY_LENGTHS else target.kind
    if head.kind != kind:
        raise InputError(f"{where} is of task type {head.kind}; {target.name} needs {kind}")
    if target.kind == "classify":
        wanted = score_target.labels_of(target)
        if {names.get(label) for label in head.labels or ()} != set(wanted):
            raise InputError(
                f"{where}: its labels are {', '.join(head.labels or ('none',))}; {target.name} has {', '.join(wanted)}"
            )


def _prepare(mine: list[_Todo]) -> dict[str, str]:
    """Prepares the training data of every target run; returns {target: reason} where data are missing."""
    seen: dict[Path, str | None] = {}
    reasons = {}
    for one in mine:
        for stage in one.stages:
            if stage.folder not in seen:
                seen[stage.folder] = None
                if not stage.done:
                    _say(f"{one.subject.name}: preparing the training data of {stage.name}")
                    try:
                        stage.prepare()
                    except InputError as error:
                        seen[stage.folder] = str(error)
            problem = seen[stage.folder]
            if problem is not None:
                reasons[one.target.name] = f"no training data: {problem}"
    return reasons


def _run_one(
    one: _Todo,
    result: dict[str, Any],
    folder: Path,
    options: Options,
    cost: dict[Path, int],
    bar: "tqdm[Any]",
) -> None:
    began = time.perf_counter()
    for stage in one.stages:
        if not stage.done:
            one.subject.unload()  # free memory for training
            stage.train(cost[stage.folder], bar.update)
    subject, names, protocol, weights = one.subject, one.names, one.protocol, ""
    if one.stages:
        subject = Subject(str(one.stages[-1].folder / "encoder"), one.subject.device)
        trained = subject.heads[str(one.head)]
        names = {label: label for label in trained.labels or ()}
        _check(subject, trained, one.target, names)
        protocol = {**protocol, **score_target.protocol(one.target, trained.max_length)}
        if one.loaded.pool:
            lengths = {"query_length": _query_length(one.target), "passage_length": trained.max_length}
            protocol |= {"pooling": "encoder's pooler on <s>, length 1", **lengths}
        protocol["training"] = [stage.record() for stage in one.stages]
        weights = f"{subject.fingerprint} {head_fingerprint(trained)}"
    # Artifacts of an interrupted attempt are valid for these weights and this request only.
    work_folder = folder / "work" / f"{one.target.name}-{_digest([one.fingerprint, weights])[:12]}"
    for old in work_folder.parent.glob(f"{one.target.name}-*"):
        if old.is_dir() and old != work_folder:
            shutil.rmtree(old)
    # The requested languages, not those found, so that other processes read the same data.
    job = _job(one, options, subject, one.target.of_suite(result["suite"]), work_folder)
    _compute(job, one.loaded, subject, options, bar)
    found = score_target.figures(one.target, job, one.loaded, names, options.centre, options.device)
    record = _record(one, found, protocol, job, result["suite"])
    record["seconds"] = round(time.perf_counter() - began, 2)
    submission.replace(folder / "submission", one.target.name, {} if options.examples else found.submission)
    result["targets"][one.target.name] = record
    shutil.rmtree(work_folder)


def _query_length(target: Target) -> int:
    return QUERY_LENGTHS.get(target.kind, MAX_LENGTH)


def _job(one: _Todo, options: Options, subject: Subject, languages: tuple[str, ...], folder: Path) -> Job:
    pooled = bool(one.loaded.pool)
    return Job(
        target=one.target.name,
        encoder=str(subject.folder),
        head=one.head,
        data=one.loaded.data,
        languages=languages,
        examples=options.examples,
        layer=None if pooled else one.protocol.get("layer"),
        pooling="pooler" if pooled else options.pooling,
        query_length=_query_length(one.target),
        passage_length=subject.heads[str(one.head)].max_length if pooled else MAX_LENGTH,
        micro_tokens=options.micro_tokens,
        folder=str(folder),
    )


def _compute(job: Job, loaded: Loaded, subject: Subject, options: Options, bar: "tqdm[Any]") -> None:
    """All artifacts of the job: in this process, or in several by `accelerate launch`."""
    if options.processes == 1:
        artifacts.compute(job, loaded, subject, progress=bar.update)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        path.write_text(worker.as_json(job), encoding="utf-8")
        reported = 0

        def watch() -> None:
            nonlocal reported
            done = max(reported, sum(int(part.read_text("utf-8") or 0) for part in Path(folder).glob("job.json.done*")))
            bar.update(done - reported)
            reported = done

        subprocesses.accelerate(options.processes, [str(path)], Path(job.folder).with_suffix(".log"), watch)


def _record(one: _Todo, found: score_target.Figures, protocol: dict[str, Any], job: Job, suite: str) -> dict[str, Any]:
    headline = aggregate.TO_OTHER if one.target.kind == "translation" else one.target.metric
    languages = {code: detail[headline] for code, detail in found.details.items()}
    missing = [code for code in one.target.of_suite(suite) if code not in one.loaded.rows]
    return {
        "metric": one.target.metric,
        "score": score.mean(languages),
        "languages": languages,
        "complete": not missing,
        "missing_languages": missing,
        **aggregate.means(found.details, languages),
        "suites": aggregate.by_suite(one.target, languages),
        "dev": list(one.loaded.dev),
        "details": found.details,
        **found.extra,
        "protocol": protocol,
        "truncated": artifacts.truncations(job, one.loaded),
        "supplied": one.loaded.supplied + [sentence for stage in one.stages for sentence in stage.supplied()],
        "notes": one.loaded.notes,
        "files": {name: digest for files in one.loaded.files.values() for name, digest in files.items()},
        "setup": one.setup,
        "fingerprint": one.fingerprint,
    }


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
