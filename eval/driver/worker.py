"""Several processes that compute the artifacts of a job, one a GPU, by `torch.multiprocessing`.

Each takes every n-th batch. Where one fails the others are ended, and they end with the driver.
"""

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch
from torch import multiprocessing as torch_processes

from common.errors import InputError
from eval.inference.artifacts import Job, Process
from eval.inference.encoder import EvaluatedEncoder
from eval.rows import Loaded

_START = "forkserver"  # not fork: CUDA


def compute(job: Job, loaded: Loaded, processes: int, progress: Callable[[int], Any]) -> None:
    """What `job.folder` lacks; `progress` is called with items done. `InputError` of a process, or if one is killed."""
    context = multiprocessing.get_context(_START)
    done, barrier = context.RawArray("q", processes), context.Barrier(processes)
    arguments = (job, loaded, processes, barrier, done)
    started = torch_processes.start_processes(_work, arguments, processes, join=False, daemon=True, start_method=_START)
    reported, finished = 0, False
    while not finished:
        try:
            finished = bool(started.join(timeout=0.1))
        except torch_processes.ProcessRaisedException as error:
            *_, said = str(error).rpartition(f"{InputError.__name__}: ")
            if said == str(error):
                raise
            raise InputError(said.strip()) from None
        except torch_processes.ProcessExitedException as error:
            raise InputError(f"{job.target}: prediction: {error}") from None
        progress(sum(done) - reported)
        reported = sum(done)


def _work(rank: int, job: Job, loaded: Loaded, processes: int, barrier: Any, done: Any) -> None:
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")

    def progress(count: int) -> None:
        done[rank] += count

    Process(job, EvaluatedEncoder(job.encoder, device), (rank, processes), barrier.wait, progress).compute(loaded)
