"""What follows an optimizer step: log lines, dev evaluation, export of the best encoder, checkpoints.

All of `Trainer.after_step` is collective. A failed write (a full disk) ends the run with one line, or is reported and
training continues, as `checkpoint.on_failure` says; older checkpoints are not touched.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from mtl.data.plan import Step
from mtl.distributed import collectives, optimizer
from mtl.distributed.engine import Engine, sum_over_ranks
from mtl.distributed.watchdog import Watchdog
from mtl.evaluation.dev import DevEvaluation, mean_score
from mtl.evaluation.running_metrics import RunningMetrics
from mtl.model import trimmed_embeddings
from mtl.run import checkpoint, dynamics, export, nonfinite
from mtl.run.checkpoint import State
from mtl.run.run_log import RunLog
from mtl.run.setup import Setup


class Trainer:
    """The state of a run and what is done with it."""

    def __init__(self, setup: Setup, engine: Engine, state: State, log: RunLog, watchdog: Watchdog) -> None:
        self.setup, self.engine, self.state, self.log, self.watchdog = setup, engine, state, log, watchdog
        self.run = setup.run
        self.metrics = RunningMetrics(setup.tasks, engine.device)
        if state.meter is not None:
            self.metrics.load(state.meter, engine.rank)
        self.dev = DevEvaluation(
            setup.plan, setup.special, engine.rank, engine.world, sum_over_ranks, lambda: watchdog.stop.code > 0
        )
        self.dynamics: dynamics.Dynamics | None = None
        if self.run.dynamics:
            self.dynamics = dynamics.Dynamics(setup.plan, engine.model, engine.rank, state.step)
            before = self.run.folder / checkpoint.FOLDER / checkpoint.name_of(state.step)
            if engine.rank == 0 and state.step and not self.dynamics.load(before):
                log.print(f"dynamics: {before} has no visits of this plan; they count from step {state.step + 1} on")
        self._saved = state.step  # a resumed run has its checkpoint; a new one has nothing to save yet
        self._consecutive_skips = 0
        self.evaluation_interrupted = False  # because a rank wants to stop (the same on all ranks)
        if state.step:
            self._set_resume_hint()
        self.evaluate()  # if the run was stopped during this one
        self.metrics.resume()  # nothing of this is training

    def _set_resume_hint(self) -> None:
        self.watchdog.resume_hint = f"the same command goes on after step {self._saved}"

    def due(self, every: int) -> bool:
        """Whether something that happens every `every` steps does now; the last step always counts."""
        return self.state.step > 0 and (self.state.step % every == 0 or self.state.step == self.setup.plan.steps)

    def after_step(
        self, step: Step, assignment: list[list[np.ndarray]], stats: Tensor, norm: float, lr_factor: float
    ) -> None:
        """Counts the step, and logs, evaluates and saves if due. stats, norm, lr_factor: from `Engine.step`.

        Raises `collectives.AgreedError` for a non-finite step or a failed write, unless the config says to go on.
        """
        if self.dynamics is not None:
            self.dynamics.add(step, assignment, math.isfinite(norm))
        if math.isfinite(norm):
            self._consecutive_skips = 0
            self.state.decay *= optimizer.decay_factor(self.run.optimizer, lr_factor)
            self.metrics.add(step, stats, assignment, self.run.micro_tokens)
        else:
            self._skipped(step, assignment)
        self.state.step = step.number + 1
        self.log.advance()
        if self.due(self.run.log_every) and self.metrics.steps:
            overall, tasks = self.metrics.compute(sum_over_ranks)
            overall |= {
                "lr": self.run.optimizer.lr * lr_factor,
                "grad_norm": norm,
                "skipped": float(self.state.skipped),
                "memory_gib": self.engine.peak_memory(),
            }
            self.log.train(self.state.step, overall, tasks)
            if self.dynamics is not None:
                self.dynamics.merge(sum_over_ranks)
        self.metrics.pause()
        self.evaluate()
        if self.due(self.run.checkpoint.every) or self.state.stopped:
            self.save()
        self.metrics.resume()

    def _skipped(self, step: Step, assignment: list[list[np.ndarray]]) -> None:
        self.state.skipped += 1
        self._consecutive_skips += 1
        setup, engine = self.setup, self.engine
        reason = nonfinite.explain(engine.model, setup.plan, step, assignment, engine.rank, setup.special)
        if self.run.optimizer.nonfinite == "stop" or self._consecutive_skips == nonfinite.MAX_CONSECUTIVE:
            raise collectives.AgreedError(f"{reason}; {self.watchdog.resume_hint or 'there is no checkpoint yet'}")
        self.log.print(f"warning: {reason}; the step is left out ({self.state.skipped} so far)")

    def evaluate(self) -> None:
        """The dev evaluation, if due and not yet done at this step; the best encoder so far is exported and saved."""
        state = self.state
        if not self.due(self.run.evaluate.every) or state.evaluated == state.step:
            return
        scores = self.dev.run(self.engine.model)
        if scores is None:
            self.evaluation_interrupted = True  # the run stops; a resumed one evaluates this step
            return
        state.dev = scores
        self.log.dev(state.step, state.dev, mean_score(scores))
        previous_best = (state.best, state.best_step)
        if state.update_best(mean_score(scores), self.run.evaluate.patience):
            if self.export(""):
                self.save()
            else:
                state.best, state.best_step = previous_best
        if state.stopped:
            self.log.print(f"no better mean dev score in {state.waited} evaluations: stopping")

    def save(self) -> None:
        """A checkpoint of this step, unless there is one."""
        if self._saved == self.state.step:
            return
        self.log.flush()
        self.state.meter = self.metrics.state(sum_over_ranks) if self.metrics.steps else None
        hint = self.watchdog.resume_hint
        # If a rank dies after the rename, before all ranks know of it, a resume may find either checkpoint.
        self.watchdog.resume_hint = (
            f"the same command goes on after step {self._saved}, or {self.state.step} if that was saved"
        )
        more = None
        if self.dynamics is not None:
            self.dynamics.merge(sum_over_ranks)
            more = self.dynamics.save
        error = checkpoint.save(self.engine, self.run, self.state, more)
        self.watchdog.resume_hint = hint
        if error is None:
            self._saved = self.state.step
            self._set_resume_hint()
        else:
            self._write_failed(f"no checkpoint at step {self.state.step}: {error}")

    def export(self, suffix: str) -> bool:
        """Writes `encoder` and `heads` (+ `suffix`) of this step; False if that failed and the run goes on."""
        return self._export(self._weights(self.state), suffix)

    def export_mean(self) -> None:
        """Writes `encoder_mean` and `heads_mean`: the mean of the last `export.average` checkpoints' master weights.

        Loads these into the engine, which is of no use afterwards. Averaged as in Schmidt et al. 2023 (arXiv
        2305.16834); summed in float64.
        """
        count = self.run.export.average
        if count is None:
            return
        states = checkpoint.averaged(self.run, self.state.step) if self.engine.rank == 0 else []
        states = collectives.from_rank0(states)
        steps = [state.step for state in states]
        if len(steps) < count:
            self.log.print(f"warning: export.average is {count}, but the whole checkpoints are of steps {steps}")
        if not steps:
            return
        total: dict[str, Tensor] = {}
        for state in states:
            self.engine.load(self.run.folder / checkpoint.FOLDER, checkpoint.name_of(state.step), state.ranks)
            for name, weight in self._weights(state).items():
                total[name] = total[name] + weight if name in total else weight.double()
        self._export({name: (weight / len(steps)).float() for name, weight in total.items()}, "_mean", steps)

    def _weights(self, state: State) -> dict[str, Tensor]:
        """The engine's weights, those of `state`: on rank 0 all, on others none (a collective call)."""
        weights = self.engine.full_weights()
        if self.engine.rank == 0:
            trimmed_embeddings.restore(self.engine.model.encoder, weights, state.decay)
        return weights

    def write_dynamics(self) -> None:
        """Writes `dynamics/`, if the run keeps them."""
        if self.dynamics is None:
            return
        self.dynamics.merge(sum_over_ranks)
        self._write(
            f"no {self.run.folder / dynamics.FOLDER}", partial(self.dynamics.write, self.run.folder, self.log.print)
        )

    def _export(self, weights: dict[str, Tensor], suffix: str, averaged: Sequence[int] = ()) -> bool:
        write = partial(export.export_run, self.setup, weights, self.state, suffix, averaged)
        return self._write(f"no export of the encoder at step {self.state.step}", write)

    def _write(self, without: str, write: Callable[[], None]) -> bool:
        """Calls `write` on rank 0; False, or an `AgreedError`, if it failed (a collective call)."""
        try:
            with checkpoint.write_errors_on_all(self.run.folder):
                if self.engine.rank == 0:
                    write()
        except collectives.AgreedError as error:
            self._write_failed(f"{without}: {error}")
            return False
        return True

    def _write_failed(self, what: str) -> None:
        if self.run.checkpoint.on_failure == "continue":
            self.log.print(f"warning: {what}; training goes on without it")
            return
        raise collectives.AgreedError(
            f"{what}; older checkpoints are whole: make room, then {self.watchdog.resume_hint or 'start again'} "
            "(or train on without by --set checkpoint.on_failure=continue)"
        )
