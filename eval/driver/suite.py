"""The driver: runs and scores the targets of a suite for one or more encoders, skipping finished ones.

    results = run(["runs/a/encoder", "runs/b/encoder"], "xtreme", data=["hub"], out=None, options=Options())

Per target: target training where it has one (`deepspeed`, `target_training.py`), vectors and predictions
(`artifacts.py`; in this process, or in several by `accelerate launch`), metrics (`score_target.py`). All test data are
read and all training data prepared first, so that errors in files appear early. `scores.json` is written after every
target; a finished one is reused when encoder, training, protocol and data are the same.
"""

import contextlib
import dataclasses
import pickle
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from common import files
from common.code_version import code_version
from common.command_line import progress
from common.errors import InputError
from data_prep.sources.folders import check_folders
from eval import submission
from eval.driver import results
from eval.driver.plan import TargetRun, check_head, plan, read_all
from eval.inference import artifacts
from eval.inference.artifacts import Job, Options
from eval.inference.encoder import EvaluatedEncoder, head_fingerprint
from eval.metrics import aggregate, items, score, score_target
from eval.metrics.score_target import TargetScores, score_predictions
from eval.rows import Loaded
from eval.suites import MAX_LENGTH, PROTOCOLS, Target, by_protocol, parse_data, resolve_suite, shared_places
from mtl.model.families import family_of

# What the protocol says of a dual encoder's pooling.
_VECTORS = {"pooler": "encoder's pooler on <s>", "cls": "the first token", "mean": "mean over all tokens"}


def run(
    encoders: list[str], suite: str, data: Sequence[str], out: Path | None, options: Options
) -> list[tuple[dict[str, Any], Path]]:
    """(scores, folder of their scores.json) of every encoder; `out` is that folder for a single encoder.

    Scores of dev data are in dev/ of the folder that has, or would have, those of the tests; those of another protocol
    are in a folder of its name.

    `data`: "hub" or folders, as `eval/suites.py` parses them; a target's test data come from the first that has them.
    Raises `InputError` for an invalid encoder, data or options, and if no target can run.
    """
    name, targets = resolve_suite(suite)
    targets = [by_protocol(target, options.protocol) for target in targets]
    if other := options.protocol != PROTOCOLS[0]:
        if options.layer is not None or options.centre or options.pooling != "mean":
            raise InputError(f"--protocol {options.protocol} sets --layer, --pooling and --centre; leave them out")
        options = dataclasses.replace(options, pooling="cls")
    sources = [parse_data(text) for text in data]
    options = dataclasses.replace(
        options, sources=options.sources or shared_places(sources), prepared=options.prepared.resolve()
    )
    if options.perturb or options.lexicons:
        from eval.perturb import queries

        queries.check(targets, options.perturb, options.lexicons)
    if torch.cuda.is_available() and options.processes > torch.cuda.device_count():
        raise InputError(f"--num-gpus {options.processes}: this machine has {torch.cuda.device_count()}")
    evaluated = [EvaluatedEncoder(spec) for spec in dict.fromkeys(encoders)]
    for encoder in evaluated:
        depth = encoder.depth  # reads its config: a wrong encoder is reported before any download
        if options.layer is not None and not 0 <= options.layer <= depth:
            raise InputError(f"--layer {options.layer}: {encoder.name} has layers 0 (embeddings) to {depth}")
    check_folders("--source", options.sources)
    below = Path(options.protocol if other else "", "dev" if options.dev else "")
    places = [encoder.eval_folder if out is None or len(evaluated) > 1 else out for encoder in evaluated]
    folders = [place / below for place in places]
    if len(set(folders)) < len(folders):
        raise InputError(f"two encoders would write to {folders[-1]}; evaluate them one by one, each with its --out")

    loaded, absent = read_all(name, targets, sources, options)
    plans = [plan(e, targets, loaded, absent, options, folder) for e, folder in zip(evaluated, folders, strict=True)]
    _require_some(name, plans)
    with contextlib.ExitStack() as locks:
        for folder in folders:
            locks.enter_context(results.locked(folder))
        scored = []
        for encoder, folder, (runs, not_run) in zip(evaluated, folders, plans, strict=True):
            wanted = {run.target.name: run.fingerprint for run in runs}
            result = results.begin(encoder, name, folder, targets, wanted)
            lacking = _prepare([run for run in runs if not run.finished(result)])
            result["not_run"] = {**not_run, **lacking}
            scored.append(([run for run in runs if run.target.name not in lacking], result, folder))
        _require_some(name, [(runs, result["not_run"]) for runs, result, _ in scored])
        _run_all(targets, scored, options)
    return [(result, folder) for _, result, folder in scored]


def _require_some(suite: str, plans: Sequence[tuple[list[TargetRun], dict[str, str]]]) -> None:
    """`InputError` with all reasons if no target can run."""
    if not any(runs for runs, _ in plans):
        reasons = {f"{target}: {why}" for _, not_run in plans for target, why in not_run.items()}
        raise InputError(f"--suite {suite}: nothing to run: {'; '.join(sorted(reasons))}")


def _prepare(runs: Sequence[TargetRun]) -> dict[str, str]:
    """Prepares the training data of every target run; returns {target: reason} where data are missing."""
    problems: dict[Path, str | None] = {}
    reasons = {}
    for run in runs:
        for stage in run.stages:
            if stage.folder not in problems:
                problems[stage.folder] = None
                if not stage.done:
                    tqdm.write(f"{run.encoder.name}: preparing the training data of {stage.name}", file=sys.stderr)
                    try:
                        stage.prepare()
                    except InputError as error:
                        problems[stage.folder] = str(error)
            if problem := problems[stage.folder]:
                reasons[run.target.name] = f"no training data: {problem}"
    return reasons


def _run_all(
    targets: Sequence[Target], scored: Sequence[tuple[list[TargetRun], dict[str, Any], Path]], options: Options
) -> None:
    """Runs what is not finished under one progress bar; scores.json is written after every target."""
    cost = {
        stage.folder: stage.work()
        for runs, result, _ in scored
        for run in runs
        for stage in run.stages
        if not run.finished(result) and not stage.done
    }
    total = sum(cost.values()) + sum(run.size for runs, _, _ in scored for run in runs)
    with progress(total=total, unit="example", unit_scale=True, smoothing=0.05) as bar:
        for runs, result, folder in scored:
            results.write(result, targets, folder)
            for run in runs:
                title = f"{run.encoder.name}: {run.target.name}"
                bar.set_description(title)
                if run.finished(result):
                    bar.update(run.size)
                    same = "same encoder, training, protocol and data"
                    tqdm.write(f"{title}: {same}, taken from {folder}", file=sys.stderr)
                    continue
                _run_one(run, result, folder, options, cost, bar)
                results.write(result, targets, folder)


def _run_one(
    run: TargetRun, result: dict[str, Any], folder: Path, options: Options, cost: Mapping[Path, int], bar: "tqdm[Any]"
) -> None:
    start = time.perf_counter()
    for stage in run.stages:
        if not stage.done:
            run.encoder.unload()  # free memory for training
            stage.train(cost[stage.folder], bar.update)
    encoder, names, protocol, weights, pooling = run.encoder, run.names, run.protocol, "", options.pooling
    if run.stages:
        encoder = EvaluatedEncoder(str(run.stages[-1].folder / "encoder"))
        head = encoder.heads[str(run.head)]
        names = {label: label for label in head.labels or ()}
        check_head(encoder, head, run.target, names)
        protocol = {**protocol, "training": [stage.record() for stage in run.stages]}
        if run.loaded.pool:
            from eval.retrieval.score_vectors import described

            trained = run.stages[-1].pooling or ("pooler" if family_of(encoder.config).has_pooler else "first")
            pooling = "cls" if trained == "first" else trained
            lengths = {"query_length": run.target.query_length, "passage_length": head.max_length}
            protocol |= {**described(run.target), "pooling": f"{_VECTORS[pooling]}, length 1", **lengths}
        else:
            protocol |= score_target.protocol(run.target, head.max_length)
        weights = f"{encoder.fingerprint} {head_fingerprint(head)}"
    # Artifacts of an interrupted attempt are valid for these weights, this request and these lexicons only.
    request = [run.fingerprint, weights, run.perturb]
    work_folder = folder / "work" / f"{run.target.name}-{files.json_sha256(request)[:12]}"
    for old in work_folder.parent.glob(f"{run.target.name}-*"):
        if old.is_dir() and old != work_folder:
            shutil.rmtree(old)
    if run.perturb and not run.loaded.perturbed:
        from eval.perturb import queries

        before = run.size
        queries.perturb(run.target, run.loaded, options.perturb, options.lexicons)
        bar.total += run.size - before
    dual = bool(run.loaded.pool and run.stages)  # scored by the vectors that target training has made
    job = Job(
        target=run.target.name,
        encoder=str(encoder.folder),
        head=run.head,
        layer=None if dual else run.protocol.get("layer"),
        pooling=pooling,
        query_length=run.target.query_length,
        passage_length=encoder.heads[str(run.head)].max_length if dual else MAX_LENGTH,
        folder=work_folder,
        options=options,
        centre=bool(protocol.get("centred")),  # never what target training has made
    )
    if options.processes == 1:
        artifacts.Process(job, encoder, progress=bar.update).compute(run.loaded)
    else:
        _compute(job, run.loaded, bar)
    scores = score_job(run.target, job, run.loaded, names)
    if scores.details:
        record = _record(run, scores, protocol, job, result["suite"])
        if run.loaded.perturbed:
            from eval.perturb import queries

            record["perturbed"] = dict(result["targets"].get(run.target.name, {}).get("perturbed", {}))
            found, outcomes = queries.measure(run.target, job, run.loaded, scores.items)
            for noise, one in outcomes.items():
                items.write(folder, f"{run.target.name}~{noise}", one, run.fingerprint)
                record["perturbed"][noise] = {"setup": run.perturb[noise], "metrics": found[noise]}
        record["seconds"] = round(time.perf_counter() - start, 2)
        result["targets"][run.target.name] = record
    else:
        result["unscored"][run.target.name] = run.fingerprint
    submission.replace(folder / "submission", run.target.name, {} if run.protocol["n"] != "all" else scores.submission)
    items.write(folder, run.target.name, scores.items, run.fingerprint)
    shutil.rmtree(work_folder)


def _compute(job: Job, loaded: Loaded, bar: "tqdm[Any]") -> None:
    """All artifacts of the job in several processes, by `accelerate launch`."""
    from eval.driver import subprocesses

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job"
        path.write_bytes(pickle.dumps((job, loaded)))
        before = bar.n

        def watch() -> None:
            done = sum(int(part.read_text("utf-8") or 0) for part in Path(folder).glob("job.done*"))
            bar.update(max(0, before + done - bar.n))

        subprocesses.accelerate(job.options.processes, [str(path)], job.folder.with_suffix(".log"), watch)


def score_job(target: Target, job: Job, loaded: Loaded, names: Mapping[str, str]) -> TargetScores:
    """Scores the finished artifacts of `job`; nothing is submitted of rows that are not the official test sets'.

    names: head label -> target label.
    """
    if target.retrieval:
        from eval.retrieval.score_vectors import score_vectors

        scores = score_vectors(target, partial(artifacts.vectors, job), loaded, job.centre)
    else:
        scores = score_predictions(target, job, loaded, names)
    submitted = () if loaded.unsubmitted or target.protocol else ({*loaded.rows} - {*loaded.dev}) | {*loaded.unlabelled}
    scores.submission = {code: rows for code, rows in scores.submission.items() if code in submitted}
    return scores


def _record(run: TargetRun, scores: TargetScores, protocol: dict[str, Any], job: Job, suite: str) -> dict[str, Any]:
    own = run.target.kind != "translation" or run.target.protocol
    headline = run.target.metric if own else aggregate.TO_OTHER
    languages = {code: detail[headline] for code, detail in scores.details.items()}
    missing = [code for code in run.target.of_suite(suite) if code not in run.loaded.rows]
    return {
        "metric": run.target.metric,
        "score": score.mean(languages),
        "languages": languages,
        "complete": not missing,
        "missing_languages": missing,
        **aggregate.means(scores.details, languages),
        "suites": {} if run.target.protocol else aggregate.by_suite(run.target, languages),
        "dev": list(run.loaded.dev),
        "details": scores.details,
        **scores.extra,
        "protocol": protocol,
        "truncated": artifacts.truncations(job, run.loaded),
        "supplied": run.loaded.supplied + [sentence for stage in run.stages for sentence in stage.supplied()],
        "notes": run.loaded.notes,
        "files": {name: digest for files in run.loaded.files.values() for name, digest in files.items()},
        "setup": run.setup,
        "commit": code_version(),
        "fingerprint": run.fingerprint,
    }
