"""Encoding in parallel: a pool of processes that turn shards of examples into Arrow batches, in order.

Threads would not do: turning tokens into rows is Python. Each worker gets the tokenizer once and ends with the main
process, however that one ends. At most three shards per worker are in flight, so memory does not grow with the data.
"""

import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from common.errors import InputError
from data_prep.encoding.tokenizer import fingerprint, load
from data_prep.storage import store
from tasks.base import Example
from tasks.encoding import PIECES, Encoding, Pieces, template_of
from tasks.registry import TASK_TYPES

# A worker needs seconds to start; fewer shards than this are encoded in the main process.
POOL_FROM = 8

Encoded = tuple[pa.RecordBatch, Counter[str]]


class TokenizerPool:
    """The tokenizer and its pool of `jobs` worker processes, started when the first large dataset needs it."""

    def __init__(self, tokenizer_name: str, jobs: int) -> None:
        self.tokenizer = load(tokenizer_name)
        self.fingerprint = fingerprint(self.tokenizer)
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "TokenizerPool":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, work: Iterable[tuple[Any, ...]]) -> Iterator[Encoded]:
        """`encode_shard(tokenizer, *item)` of each item, in order."""
        work = iter(work)
        head = list(islice(work, POOL_FROM))
        if self.jobs == 1 or len(head) < POOL_FROM:
            for item in chain(head, work):
                yield encode_shard(self.tokenizer, *item)
            return
        if self._pool is None:
            # spawn: the Rust threads of the tokenizer do not survive a fork.
            # Without transformers, whose import costs a worker process seconds and 300 MB.
            core = SimpleNamespace(**{name: getattr(self.tokenizer, name) for name in PIECES})
            self._pool = ProcessPoolExecutor(self.jobs, get_context("spawn"), _start_worker, (core,))
        waiting: deque[Future[Encoded]] = deque()
        try:
            for item in chain(head, work):
                waiting.append(self._pool.submit(_work, *item))
                if len(waiting) > 3 * self.jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise InputError("a worker process died (killed for memory?); try again with fewer: --jobs 1") from None
        finally:
            for future in waiting:
                future.cancel()


_worker_tokenizer: Pieces


def _start_worker(tokenizer: Pieces) -> None:
    global _worker_tokenizer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    _worker_tokenizer = tokenizer


def _end_with_parent() -> None:
    """A worker whose main process was killed would wait for its next shard for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(*item: Any) -> Encoded:
    return encode_shard(_worker_tokenizer, *item)


def encode_shard(tokenizer: Pieces, job: store.Preparation, split: str, first: int, examples: list[Example]) -> Encoded:
    """Rows of examples number `first` and following, and what was truncated. `job` with the labels of the data."""
    to = Encoding(job.max_length, job.labels, job.query_length)
    rows = TASK_TYPES[job.kind].encode(tokenizer, examples, to)
    for row in rows:
        row["example"] += first
    columns = store.schema(job.kind, split, template_of(tokenizer).typed)
    return pa.RecordBatch.from_pylist(rows, columns), to.truncated
