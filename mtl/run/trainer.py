"""What is kept of a run while it trains: log lines, dev scores, the best encoder, checkpoints.

`Keeper.keep` does after a step what is due; everything in it is collective. A failed write (a full disk) ends the run
in a sentence, or is told and trained through, as `checkpoint.on_failure` says; older checkpoints are not touched.
"""

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from mtl.data.plan import Step
from mtl.distributed import collectives, engine, optimizer
from mtl.distributed.engine import Engine
from mtl.distributed.watchdog import Watch
from mtl.evaluation.dev import DevEvaluation, mean_major
from mtl.evaluation.running_metrics import Meter
from mtl.model import trimmed_embeddings
from mtl.run import checkpoint, export, nonfinite
from mtl.run.checkpoint import State
from mtl.run.run_log import Monitor
from mtl.run.setup import Setup


class Keeper:
    """Holds the state of a run that has `runner` train it. `wants_stop`: whether this rank wants the run to stop."""

    def __init__(
        self, made: Setup, runner: Engine, state: State, monitor: Monitor, watch: Watch, wants_stop: Callable[[], bool]
    ) -> None:
        self.made, self.runner, self.state, self.monitor, self.watch = made, runner, state, monitor, watch
        self.run = made.run
        self.meter = Meter(made.tasks, runner.device)
        if state.meter is not None:
            self.meter.load(state.meter, runner.rank)
        self.dev = DevEvaluation(
            made.run, made.tasks, made.special, runner.rank, runner.world, engine.sum_over_ranks, wants_stop
        )
        self._saved = state.step  # a resumed run's checkpoint is there; a new one has nothing to save yet
        self._in_a_row = 0  # steps left out one after another
        self.given_up = False  # a dev evaluation, because a rank wants to stop (the same on all ranks)
        if state.step:
            self._say_where()
        self.evaluate()  # where the run was stopped in the middle of it

    def _say_where(self) -> None:
        self.watch.saved = f"the same command goes on after step {self._saved}"

    def due(self, every: int) -> bool:
        """Whether something that happens every `every` steps does now; the last step always counts."""
        return self.state.step > 0 and (self.state.step % every == 0 or self.state.step == self.made.plan.steps)

    def keep(self, now: Step, shares: list[list[np.ndarray]], stats: Tensor, norm: float, factor: float) -> None:
        """After step `now` (arguments as `Engine.step` gave them): counts, logs, evaluates, saves what is due.

        Raises `ranks.Agreed` for a step that is not finite, or a failed write, where the config does not say to go on.
        """
        if math.isfinite(norm):
            self._in_a_row = 0
            self.state.decay *= optimizer.decay_factor(self.run.optimizer, factor)
            self.meter.add(now, stats, shares, self.run.micro_tokens)
        else:
            self._left_out(now, shares)
        self.state.step = now.number + 1
        self.monitor.advance()
        if self.due(self.run.log_every) and self.meter.steps:
            overall, lines = self.meter.lines(engine.sum_over_ranks)
            overall |= {
                "lr": self.run.optimizer.lr * factor,
                "grad_norm": norm,
                "skipped": float(self.state.skipped),
                "memory_gib": self.runner.peak_memory(),
            }
            self.monitor.train(self.state.step, overall, lines)
        self.meter.pause()
        self.evaluate()
        if self.due(self.run.checkpoint.every) or self.state.stopped:
            self.save()
        self.meter.resume()

    def _left_out(self, now: Step, shares: list[list[np.ndarray]]) -> None:
        made, self.state.skipped, self._in_a_row = self.made, self.state.skipped + 1, self._in_a_row + 1
        why = nonfinite.explain(self.runner.model, made.plan, now, shares, self.runner.rank, made.special)
        if self.run.optimizer.nonfinite == "stop" or self._in_a_row == nonfinite.IN_A_ROW:
            raise collectives.Agreed(f"{why}; {self.watch.saved or 'there is no checkpoint yet'}")
        self.monitor.say(f"warning: {why}; the step is left out ({self.state.skipped} so far)")

    def evaluate(self) -> None:
        """The dev evaluation, if it is due and this step has had none; the best so far is exported and saved."""
        state = self.state
        if not self.due(self.run.evaluate.every) or state.evaluated == state.step:
            return
        scores = self.dev.run(self.runner.model, self.runner.device)
        if scores is None:
            self.given_up = True  # the run is to stop; resumed, it evaluates this step
            return
        state.dev = {score.task: score.figures for score in scores}
        self.monitor.dev(state.step, state.dev, mean_major(scores))
        before = (state.best, state.best_step)
        if state.judge(mean_major(scores), self.run.evaluate.patience):
            if self.export(""):
                self.save()
            else:
                state.best, state.best_step = before
        if state.stopped:
            self.monitor.say(f"no better mean dev score in {state.waited} evaluations: stopping")

    def save(self) -> None:
        """A checkpoint of this step, unless there is one."""
        if self._saved == self.state.step:
            return
        self.monitor.flush()
        self.state.meter = self.meter.state(engine.sum_over_ranks) if self.meter.steps else None
        run = self.run
        before = self.watch.saved
        # A rank that dies after the checkpoint's rename, before all know of it: both may be what a resume finds.
        self.watch.saved = f"the same command goes on after step {self._saved}, or {self.state.step} if that was saved"
        failed = checkpoint.save(self.runner, run.folder, self.state, run.checkpoint.keep)
        self.watch.saved = before
        if failed is None:
            self._saved = self.state.step
            self._say_where()
        else:
            self._failed(f"no checkpoint at step {self.state.step}: {failed}")

    def export(self, suffix: str) -> bool:
        """Writes `encoder` and `heads` (with `suffix`) of this step; False if that failed and the run goes on."""
        weights = self.runner.full_weights()
        failed: str | None = None
        if self.runner.rank == 0:
            trimmed_embeddings.restore(self.runner.model.encoder, weights, self.state.decay)
        try:
            export.export_run(self.made, weights, self.state, suffix, self.runner.rank == 0)
        except OSError as error:
            failed = f"{error.filename or self.run.folder}: {error.strerror or error}"
        except Exception as error:  # safetensors has its own class for a failed write
            if type(error).__module__.partition(".")[0] not in ("safetensors", "safetensors_rust"):
                raise
            failed = f"{self.run.folder}: {error}"
        failed = collectives.from_first(failed)
        if failed is not None:
            self._failed(f"no export of the encoder at step {self.state.step}: {failed}")
        return failed is None

    def _failed(self, what: str) -> None:
        if self.run.checkpoint.on_failure == "continue":
            self.monitor.say(f"warning: {what}; training goes on without it")
            return
        raise collectives.Agreed(
            f"{what}; older checkpoints are whole: make room, then {self.watch.saved or 'start again'} "
            "(or train on without by --set checkpoint.on_failure=continue)"
        )
