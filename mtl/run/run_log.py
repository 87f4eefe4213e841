"""The log of a run: metrics.jsonl, TensorBoard, a progress bar. Rank 0 only; on other ranks all calls do nothing.

On a resume, lines and points after the resumed step are dropped first, so that no step is logged twice.
"""

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from common import files
from common.command_line import progress
from mtl.run.checkpoint import State


class RunLog:
    """`step` counts finished optimizer steps."""

    def __init__(self, folder: Path, active: bool, config_text: str, state: State, steps: int) -> None:
        self.active = active
        if not active:
            return
        self.path = folder / "metrics.jsonl"
        _drop_after(self.path, state)
        step = state.step
        self.file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.pending, self.warned = "", False
        threading.excepthook = _ignore_os_errors  # of the writer's thread: `_add_scalar` reports them
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self.board.add_text("config", f"```json\n{config_text}\n```", step)
        self.bar = progress(total=steps, initial=step, desc=folder.name, unit="step")

    def train(self, step: int, overall: dict[str, float], tasks: list[dict[str, Any]]) -> None:
        """Metrics of the steps since the last call."""
        if not self.active:
            return
        for values in ({"task": "all", **overall}, *tasks):
            self._record(step, "train", values)
        shown = f"loss {overall['loss']:.3f}, {overall['tokens_per_second']:,.0f} tokens/s"
        self.bar.set_postfix_str(shown, refresh=False)

    def dev(self, step: int, scores: dict[str, dict[str, float]], mean: float) -> None:
        """Dev metrics by task, and the mean score that selects the best encoder; 95 %: its interval over examples."""
        if not self.active:
            return
        for task, metrics in scores.items():
            self._record(step, "dev", {"task": task, **metrics})
        self._record(step, "dev", {"task": "all", "mean": mean})
        width = max(map(len, scores))
        rows = [f"{'dev at step ' + str(step):<{width}}     score          95 %  majority    loss"]
        for task, metrics in scores.items():
            score, low, high, majority = (100 * metrics[name] for name in ("score", "low", "high", "majority"))
            interval = f"{low:.1f} to {high:.1f}"
            rows.append(f"{task:<{width}}  {score:8.1f}  {interval:>12}  {majority:8.1f}  {metrics['loss']:6.3f}")
        rows.append(f"{'mean':<{width}}  {100 * mean:8.1f}")
        self.print("\n".join(rows))

    def flush(self) -> None:
        """Writes pending points to disk, before a checkpoint."""
        if self.active:
            with suppress(OSError):
                self.board.flush()

    def advance(self) -> None:
        """Advances the progress bar by a step."""
        if self.active:
            self.bar.update()

    def print(self, text: str) -> None:
        """Prints a message above the progress bar."""
        if self.active:
            tqdm.write(text)

    def _record(self, step: int, kind: str, values: dict[str, Any]) -> None:
        """A line of metrics.jsonl, and points of KIND/NAME, or of a task's own KIND_NAME/TASK."""
        self._write({"step": step, "kind": kind, **values})
        task = values["task"]
        for name, value in values.items():
            if name not in ("task", "majority", "examples", "score", "low", "high"):
                self._add_scalar(f"{kind}/{name}" if task == "all" else f"{kind}_{name}/{task}", value, step)

    def _add_scalar(self, name: str, value: float, step: int) -> None:
        """A point of a curve. After a full disk TensorBoard's writer is dead; metrics.jsonl has the values."""
        try:
            self.board.add_scalar(name, value, step)
        except OSError as error:
            self._warn_once(f"TensorBoard's events: {error.strerror}; its curves go on at the next start")

    def _warn_once(self, what: str) -> None:
        if not self.warned:
            self.print(f"warning: {what}")
        self.warned = True

    def _write(self, values: dict[str, Any]) -> None:
        """Appends a line; if the disk is full it stays pending and is written with the next one."""
        self.pending += json.dumps(values) + "\n"
        try:
            written = os.write(self.file, self.pending.encode())
            self.pending = self.pending.encode()[written:].decode()  # json.dumps gives ASCII: no character is cut
        except OSError as error:
            self._warn_once(f"{self.path}: {error.strerror}; its lines wait until there is room")

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self.active:
            self.bar.close()
            with suppress(OSError):  # a full disk has been reported
                self.board.close()
            os.close(self.file)


def _ignore_os_errors(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_type is not OSError:
        threading.__excepthook__(failed)


def _drop_after(path: Path, state: State) -> None:
    """Keeps the lines of `path` up to and including the resumed step, and those of dev evaluations up to the last one

    that it knows of: another of this step is done again. A torn last line goes too.
    """
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
            if values["step"] <= (state.evaluated if values["kind"] == "dev" else state.step):
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError):
            break
    files.write_text(path, "".join(kept))
