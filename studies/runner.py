"""Runs a study: the runs before, the data of all variants, then every run that is not done.

Several runners may work on one pool, of one study or of several: each run is locked by the one that works on it, the
others go on with the next and wait at the end. A run that fails stops no other.
"""

import os
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from signal import SIGINT, SIGTERM, SIGUSR1

import torch
from tqdm import tqdm

from common import files
from common.command_line import progress
from common.errors import InputError
from eval.driver.subprocesses import GPU, ProgramFailed
from eval.inference.encoder import EvaluatedEncoder
from mtl.distributed.shutdown import STOPPED
from studies import phases
from studies.phases import Place
from studies.resolve import Resolved, resolve
from studies.runs import FAILED, LOG, Run, locked
from studies.study import DECLARED, STEPS, Study

# Exit codes of programs that were asked to stop: 75, those of shells for signals, and the signals themselves.
_SIGNALLED = {STOPPED, *(code for s in (SIGINT, SIGUSR1, SIGTERM) for code in (128 + s, -s))}
_PAUSE = 1.0  # seconds between looks at a run that another process works on


class Interrupted(Exception):
    """The runner was asked to stop."""


@dataclass(frozen=True)
class Options:
    """Of `python -m studies NAME run`. only: number of a run, from 1; jobs: runs at the same time, on own GPUs."""

    out: Path
    source: list[str]
    data: list[str]
    processes: int
    jobs: int = 1
    only: int | None = None
    stop_on_failure: bool = False


class Runner:
    """`run` does the work; `failures`: (run, reason) so far."""

    def __init__(self, study: Study, options: Options) -> None:
        self.study, self.options, self._results = study, options, options.out / "studies" / study.name
        self.failures: list[tuple[Run, str]] = []
        self._stop = threading.Event()
        self._signalled = False
        self._waiting: set[str] = set()

    def run(self) -> int:
        """The exit code: 0, 1 after a failure, 75 if a program was asked to stop, from outside."""
        for asked, step in product((variant.evaluation for variant in self.study.variants.values()), STEPS):
            if step in asked.also:
                phases.data_of(step, asked, self._place(0).data)
        made = self._ready()
        runs = made.runs if made.runs and not self.failures else []
        if self.options.only is not None:
            runs = runs[self.options.only - 1 :][:1]
        distinct = {run.key: run for run in runs}
        queue = deque(run for run in distinct.values() if run.state != "done")
        _say(f"{self.study.name}: {len(distinct)} runs, {len(distinct) - len(queue)} done already")
        try:
            self._all(queue)
        finally:
            for run, reason in self.failures:
                _say(f"failed: {run.title}: {reason}")
        return STOPPED if self._signalled else 1 if self.failures else 0

    def _ready(self) -> Resolved:
        """Does what comes before the variants, and prepares data, until all runs have an identity."""
        done: set[str] = set()
        for variant in self.study.variants.values():
            if not variant.trained and "{" not in str(variant.config.encoder):
                EvaluatedEncoder(str(variant.config.encoder)).folder  # noqa: B018 (downloads it)
        while True:
            made = resolve(self.study, self.options.out)
            if not made.unprepared:
                waiting = [run for run in made.before if run.identity and run.state != "done"]
                self._all(deque(waiting))
                if not waiting or self.failures or self._stop.is_set():
                    return made
                continue
            name, config = next(iter(made.unprepared.items()))  # others may need no more than its data
            if name in done:
                raise InputError(f"{self.study.path}: {name}: its data were prepared and are not found")
            done.add(name)
            _say(f"{name}: preparing the training data")
            path = self._results / "configs" / f"{name.replace('/', '.')}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            phases.prepare(config, path, self._place(0), self.study.file.against)

    def _all(self, queue: deque[Run]) -> None:
        self._results.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), (self._results / DECLARED).open("x") as file:  # by the first one that runs it
            file.write(self.study.sha256)
        with ThreadPoolExecutor(self.options.jobs) as pool:
            try:
                for future in [pool.submit(self._work, queue, slot) for slot in range(self.options.jobs)]:
                    future.result()
            except BaseException:
                self._stop.set()  # before the pool waits for its threads
                raise

    def _work(self, queue: deque[Run], slot: int) -> None:
        while not self._stop.is_set():
            try:
                run = queue.popleft()
            except IndexError:
                return
            try:
                with locked(run.folder) as lock:
                    if lock is not None:
                        self._one(run, replace(self._place(slot), inherited=(lock,)), slot)
                        continue
            except Interrupted:
                return
            if run.identity not in self._waiting:
                self._waiting.add(run.identity)
                _say(f"{run.title}: another process works on it ({run.folder})")
            queue.append(run)
            self._stop.wait(_PAUSE)

    def _one(self, run: Run, place: Place, slot: int) -> None:
        if run.trained and not run.steps:
            return  # by another runner, meanwhile
        began = time.monotonic()
        (run.folder / FAILED).unlink(missing_ok=True)
        with progress(desc=run.title, total=run.config.steps, position=slot, leave=False, unit="step") as bar:

            def watch() -> None:
                if self._stop.is_set():
                    raise Interrupted
                bar.update(max(0, run.step - bar.n))

            try:
                if not run.trained:
                    self._check_data(run)
                    phases.train(run, place, watch)
                bar.set_description(f"{run.title}: evaluation")
                phases.evaluate(self.study, run, place, watch)
            except InputError as error:
                if self._stop.is_set():
                    raise Interrupted from None
                if isinstance(error, ProgramFailed) and error.code in _SIGNALLED:
                    self._signalled = True
                    self._stop.set()
                    _say(f"{run.title}: stopped; the same command goes on")
                    return
                self._failed(run, str(error))
                return
        _say(f"{run.title}: done in {time.monotonic() - began:.0f} s ({run.folder})")

    def _check_data(self, run: Run) -> None:
        """Another program may have prepared them anew since, with other rows left out: training takes the newest."""
        made = resolve(self.study, self.options.out)
        if run.identity not in {one.identity for one in (*made.before, *made.runs)}:
            raise InputError("its data were prepared anew, with another --against, say; run the same command again")

    def _failed(self, run: Run, reason: str) -> None:
        reason = reason if LOG in reason else f"{reason} (log: {run.folder / LOG})"
        files.write_json(run.folder / FAILED, {"error": reason})
        self.failures.append((run, reason))
        _say(f"{run.title}: failed: {reason}")
        if self.options.stop_on_failure:
            self._stop.set()

    def _place(self, slot: int) -> Place:
        """Where the runs of a slot go: with several jobs each has GPUs of its own, or its share of the CPU's cores."""
        source = self.options.source or self.study.file.source or ["hub"]
        place = Place(source, self.options.data or self.study.file.evaluate.data or source, self.options.processes)
        if self.options.jobs == 1:
            return place
        if not GPU:  # torch would give all cores to each, and threads that wait for a busy core cost more than they add
            threads = max(1, (os.cpu_count() or 1) // (self.options.jobs * place.processes))
            return replace(place, environment={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))})
        named = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
        mine = named.split(",")[slot * place.processes :][: place.processes]
        return replace(place, environment={"CUDA_VISIBLE_DEVICES": ",".join(mine)})


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
