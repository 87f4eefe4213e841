"""One of several processes that compute the artifacts of a job; `accelerate launch` starts one per GPU.

    accelerate launch --num_processes 4 -m eval.driver.worker JOB           # what `python -m eval --num-gpus 4` does

JOB is what the driver has pickled for them: the job, and the test data as it has read them. Each process takes every
fourth batch, and writes its progress to a file, which the driver sums for its progress bar. Before the first barrier
the processes agree that all could load the model; if one fails later, the launcher ends the others. They exit when the
driver is gone.
"""

import os
import pickle
import sys
import time
import traceback
from datetime import timedelta
from pathlib import Path

import psutil
import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from common.errors import InputError, reason
from eval.inference.artifacts import Job, Process
from eval.inference.encoder import EvaluatedEncoder
from eval.rows import Loaded
from mtl.distributed.shutdown import alive

WAIT = timedelta(hours=2)  # for the slowest process


class Progress:
    """Progress of one process, in `path`."""

    def __init__(self, path: Path) -> None:
        self.path, self.done, self._written = path, 0, 0.0
        self._parents = psutil.Process().parents()[:2]  # the launcher and the driver

    def add(self, count: int, pause: float = 0.2) -> None:
        """Counts, and writes if the last time is at least `pause` seconds ago."""
        self.done += count
        if time.monotonic() - self._written >= pause:
            self._written = time.monotonic()
            if not all(map(alive, self._parents)):
                os._exit(1)
            self.path.write_text(str(self.done), encoding="utf-8")


def main(path: str) -> int:
    job, loaded = pickle.loads(Path(path).read_bytes())
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=WAIT)
    try:
        _work(job, loaded, state, Path(f"{path}.done{state.process_index}"))
    except InputError as error:
        problem, code = str(error), 2
    except Exception as error:
        traceback.print_exc()
        problem, code = f"{job.target}: {type(error).__name__}: {reason(error)}", 1
    else:
        state.destroy_process_group()
        return 0
    # One write, newline included: all processes write to one log.
    sys.stderr.write(f"error: {problem}\n")
    sys.stderr.flush()
    return code


def _work(job: Job, loaded: Loaded, state: PartialState, path: Path) -> None:
    progress = Progress(path)
    problem: str | None = None
    encoder = EvaluatedEncoder(job.encoder, state.device)
    try:
        _ = encoder.tokenizer, encoder.model
    except InputError as error:
        problem = str(error)
    for one in gather_object([problem]):
        if one is not None:
            raise InputError(one)
    shard = state.process_index, state.num_processes
    Process(job, encoder, shard, state.wait_for_everyone, progress.add).compute(loaded)
    progress.add(0, pause=0.0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
