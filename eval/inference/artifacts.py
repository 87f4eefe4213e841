"""Vectors and predictions of one target with one encoder, each kept and shared between processes.

    job = Job("xnli", "runs/x/encoder", "mnli", ...)
    Process(job, encoder).compute(loaded)                   # what job.folder lacks

An artifact holds the vectors of a list of texts (`NAME.npy`, float32 [texts, H]) or the predictions for a list of
examples (`NAME.json`). Finished ones are reused, so an interrupted target resumes at the language it had reached.
Several processes share every artifact: each writes its part, and rank 0 joins them. Unfinished ones of a killed attempt
are overwritten.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import files
from common.errors import InputError
from eval.inference.encoder import EvaluatedEncoder
from eval.inference.predict import Shard, embed_batches, predict
from eval.rows import Corpora, Loaded
from eval.suites import PROTOCOLS
from mtl.data.packing import at_once
from mtl.run import memory_estimate

TRUNCATED = "truncated"


@dataclass(frozen=True)
class Options:
    """Options of an evaluation; those of `python -m eval`.

    layer None: `default_layer`; examples None: all rows, else the first ones of each language; direct: predict with
    the intermediate heads, without target training; dev: score the targets' dev data, after the target training of the
    evaluation of their tests; overrides: `--set` of every target run; prepared: folder of
    prepared training data; sources: of training data ("hub" or folders, first match wins), none: of the test data;
    against: tests whose rows are left out of the training data, as `data_prep --against`; processes: GPUs, or CPU
    processes; query_prefix, passage_prefix: put before the texts to embed, as for E5;
    a sentence of Tatoeba or BUCC is a query, a candidate of LAReQA or Mewsli-X a passage; perturb: noise of the
    queries, as `--perturb`; lexicons: files by language; protocol: one of `PROTOCOLS`.
    """

    layer: int | None = None
    pooling: str = "mean"
    centre: bool = False
    examples: int | None = None
    micro_tokens: int = 16384
    direct: bool = False
    dev: bool = False
    overrides: list[str] = field(default_factory=list)
    prepared: Path = Path("data")
    sources: list[str] = field(default_factory=list)
    against: str = ""
    query_prefix: str = ""
    passage_prefix: str = ""
    perturb: str = ""
    lexicons: dict[str, str] = field(default_factory=dict)
    protocol: str = PROTOCOLS[0]
    processes: int = max(1, torch.cuda.device_count())


@dataclass(frozen=True)
class Job:
    """One target for one encoder.

    encoder: the encoder's folder (after target training where there is one); head: name of its task, None for vectors;
    query_length, passage_length: maximum tokens of texts to embed; folder: of the artifacts, one for every way of
    computing them; centre: subtract each side's mean vector before retrieval.
    """

    target: str
    encoder: str
    head: str | None
    layer: int | None
    pooling: str
    query_length: int
    passage_length: int
    folder: Path
    options: Options
    centre: bool = False


@dataclass(frozen=True)
class Artifact:
    """What it is computed from: texts to embed with at most `length` tokens each, or examples (`length` None)."""

    name: str
    items: Sequence[Any]
    length: int | None

    def file(self, folder: Path) -> Path:
        """Where the finished artifact lies."""
        return folder / f"{self.name}.{'json' if self.length is None else 'npy'}"


def texts(loaded: Loaded) -> dict[str, Sequence[str]]:
    """What is embedded of a target, by the artifact that holds the vectors, in order of computation."""
    found: dict[str, Sequence[str]] = {}
    if loaded.pool:
        found["pool"] = [candidate.text for candidate in loaded.pool]
    for name, _, rows in loaded.artifacts():
        if loaded.pool:
            found[name] = [query.text for query in rows]
        elif isinstance(rows[0], Corpora):
            for corpora in rows:
                for side, corpus in corpora.sides.items():
                    found[f"{name}.{corpora.split}.{side}"] = [corpus.sentences[i] for i in corpus.distinct()]
        else:
            found |= {f"{name}.en": [row.english for row in rows], f"{name}.xx": [row.other for row in rows]}
    noisy = [(noise, sides) for (noise, _), sides in loaded.perturbed.items()]
    return found | {f"{k}~{noise}": [*some.values()] for noise, sides in noisy for k, some in sides.items() if some}


def list_artifacts(job: Job, loaded: Loaded) -> list[Artifact]:
    """All artifacts of a job, in order of computation."""
    if job.head is not None and not loaded.pool:
        return [Artifact(name, rows, None) for name, _, rows in loaded.artifacts()]
    query, passage = (job.options.query_prefix, job.query_length), (job.options.passage_prefix, job.passage_length)
    return [
        Artifact(name, [prefix + text for text in some] if prefix else some, length)
        for name, some in texts(loaded).items()
        for prefix, length in (passage if name == "pool" else query,)
    ]


@dataclass(frozen=True)
class Process:
    """One of the processes that share the artifacts of a job. wait: a barrier of all; progress: takes items done."""

    job: Job
    encoder: EvaluatedEncoder
    shard: Shard = (0, 1)
    wait: Callable[[], Any] = lambda: None
    progress: Callable[[int], Any] = lambda n: None

    def compute(self, loaded: Loaded) -> None:
        """Computes this shard of the artifacts that `job.folder` lacks."""
        folder = self.job.folder
        folder.mkdir(parents=True, exist_ok=True)
        every = list_artifacts(self.job, loaded)
        missing = [artifact for artifact in every if not artifact.file(folder).is_file()]
        if self.shard[0] == 0:
            self.progress(sum(len(artifact.items) for artifact in every if artifact not in missing))
        self.wait()  # all have listed the folder before rank 0 changes it
        for artifact in missing:
            truncated: Counter[str] = Counter()
            try:
                (self._predict if artifact.length is None else self._embed)(artifact, folder, truncated)
            except (RuntimeError, MemoryError) as error:
                if not memory_estimate.ran_out(error):
                    raise
                advice = f"lower --micro-tokens (now {at_once(self.job.options.micro_tokens, self.encoder.device)})"
                raise InputError(f"{self.job.target}, {artifact.name}: out of memory: {advice}") from None
            self.wait()
            if self.shard[0] == 0:
                _join(folder, artifact, self.shard[1], truncated)
            self.wait()

    def _predict(self, artifact: Artifact, folder: Path, truncated: Counter[str]) -> None:
        encoder = self.encoder
        found = predict(
            encoder.model, encoder.tokenizer, encoder.heads[str(self.job.head)], artifact.items,
            shard=self.shard, micro_tokens=self.job.options.micro_tokens, truncated=truncated, progress=self.progress,
        )  # fmt: skip
        part = folder / f"{artifact.name}.part{self.shard[0]}"
        part.write_text(json.dumps(sorted(found.items())), encoding="utf-8")

    def _embed(self, artifact: Artifact, folder: Path, truncated: Counter[str]) -> None:
        assert artifact.length is not None
        job, encoder, part = self.job, self.encoder, folder / f"{artifact.name}.part"
        if self.shard[0] == 0:
            shape = (len(artifact.items), encoder.config.hidden_size)
            np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=shape).flush()
            _reserve(part)
        self.wait()
        whole = np.load(part, mmap_mode="r+")
        layers = [encoder.config.num_hidden_layers if job.layer is None else job.layer]
        for indices, (pooled,) in embed_batches(
            encoder.model, encoder.tokenizer, artifact.items, layers,
            pooling=job.pooling, max_length=artifact.length, micro_tokens=job.options.micro_tokens, shard=self.shard,
            truncated=truncated,
        ):  # fmt: skip
            whole[indices] = pooled
            self.progress(len(indices))
        whole.flush()


def vectors(job: Job, name: str) -> np.ndarray:
    """The finished vectors of an artifact, float32 [texts, H], memory-mapped copy-on-write."""
    return np.load(job.folder / f"{name}.npy", mmap_mode="c")


def noisy_vectors(job: Job, noise: str, sides: Mapping[str, Mapping[int, str]], name: str) -> np.ndarray:
    """The same with the rows that noise changes: `sides` of `Loaded.perturbed`."""
    found = vectors(job, name)
    if texts := sides.get(name):
        found[list(texts)] = vectors(job, f"{name}~{noise}")
    return found


def predictions(job: Job, name: str) -> list[Any]:
    """The finished predictions of an artifact, in order of its examples."""
    return json.loads((job.folder / f"{name}.json").read_text(encoding="utf-8"))


def truncations(job: Job, loaded: Loaded) -> dict[str, int]:
    """Number of truncated texts by reason, over all artifacts without noise."""
    total: Counter[str] = Counter()
    for artifact in list_artifacts(job, replace(loaded, perturbed={})):
        total.update(json.loads((job.folder / f"{artifact.name}.{TRUNCATED}").read_text(encoding="utf-8")))
    return dict(total)


def _reserve(path: Path) -> None:
    """Allocates the blocks of a sparse file: a full disk raises here instead of killing a process later (SIGBUS)."""
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        path.unlink()
        raise InputError(f"{path.parent}: no room for {size / 1e9:.1f} GB of vectors ({error.strerror})") from None


def _join(folder: Path, artifact: Artifact, processes: int, truncated: Counter[str]) -> None:
    (folder / f"{artifact.name}.{TRUNCATED}").write_text(json.dumps(truncated), encoding="utf-8")
    if artifact.length is not None:
        (folder / f"{artifact.name}.part").rename(artifact.file(folder))
        return
    parts = [folder / f"{artifact.name}.part{number}" for number in range(processes)]
    found = dict(pair for part in parts for pair in json.loads(part.read_text(encoding="utf-8")))
    files.write_text(artifact.file(folder), json.dumps([found[index] for index in range(len(artifact.items))]))
    for part in parts:
        part.unlink()
