"""One of several processes that compute a job's pieces; `accelerate launch` starts as many as there are GPUs.

    accelerate launch --num_processes 4 -m eval.work JOB.json          # what `python -m eval --num_gpus 4` does

Each process reads the test data itself, takes every fourth group of texts, and says how far it is in a file of its own,
which the driver adds up for its progress bar. A mistake is told once, by the first process.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path

import torch
from accelerate import PartialState

from data_prep.errors import InputError
from eval.pieces import Job, compute, limit
from eval.read import read
from eval.subject import Subject
from eval.targets import TARGETS


class Counted:
    """Progress of one process, in `path`; written a few times a second."""

    def __init__(self, path: Path) -> None:
        self.path, self.done, self.told = path, 0, 0.0

    def add(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.told > 0.2:
            self.tell()

    def tell(self) -> None:
        self.told = time.monotonic()
        self.path.write_text(str(self.done), encoding="utf-8")


def main(path: str) -> int:
    values = json.loads(Path(path).read_text(encoding="utf-8"))
    job = Job(**{**values, "languages": tuple(values["languages"])})
    state = PartialState(cpu=not torch.cuda.is_available())
    if not torch.cuda.is_available():
        torch.set_num_threads(max(1, torch.get_num_threads() // state.num_processes))
    counted = Counted(Path(f"{path}.done{state.process_index}"))
    try:
        loaded = read(TARGETS[job.target], job.languages, job.data)
        limit(loaded, job.examples)
        subject = Subject(job.encoder, state.device)
        compute(
            job, loaded, subject,
            share=(state.process_index, state.num_processes), wait=state.wait_for_everyone, progress=counted.add,
        )  # fmt: skip
    except InputError as error:
        if state.is_main_process:
            print(f"error: {error}", file=sys.stderr)
        return 2
    counted.tell()
    state.destroy_process_group()
    return 0


def as_json(job: Job) -> str:
    return json.dumps(dataclasses.asdict(job))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
