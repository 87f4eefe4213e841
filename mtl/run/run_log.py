"""What a person sees of a run: TensorBoard, metrics.jsonl, a progress bar. Rank 0 only; the others get silence.

After a resume, lines and curve points beyond the resumed step are dropped first, so that nothing stands there twice.
"""

import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from common import files


class Monitor:
    """`step` counts finished optimizer steps."""

    def __init__(self, folder: Path, active: bool, config_text: str, step: int, steps: int) -> None:
        self.active = active
        if not active:
            return
        self.path = folder / "metrics.jsonl"
        _drop_after(self.path, step)
        self.file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.waiting, self.complained = "", False
        threading.excepthook = _quietly  # of the writer's thread: told by `_point`
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self.board.add_text("config", f"```json\n{config_text}\n```", step)
        # A terminal is redrawn twice a second; a log file gets a line now and then.
        pace = 0.5 if sys.stderr.isatty() else 15.0
        self.bar = tqdm(total=steps, initial=step, desc=folder.name, unit="step", dynamic_ncols=True, mininterval=pace)

    def train(self, step: int, overall: dict[str, float], tasks: list[dict[str, Any]]) -> None:
        """Figures of the steps since the last call."""
        if not self.active:
            return
        self._line({"step": step, "kind": "train", "task": "all", **overall})
        for name, value in overall.items():
            self._point(f"train/{name}", value, step)
        for task in tasks:
            self._line({"step": step, "kind": "train", **task})
            for name, value in task.items():
                if name != "task":
                    self._point(f"train_{name}/{task['task']}", value, step)
        shown = f"loss {overall['loss']:.3f}, {overall['tokens_per_second']:,.0f} tokens/s"
        self.bar.set_postfix_str(shown, refresh=False)

    def dev(self, step: int, scores: dict[str, dict[str, float]], mean: float) -> None:
        """Dev figures by task, and the mean that selects."""
        if not self.active:
            return
        for task, figures in scores.items():
            self._line({"step": step, "kind": "dev", "task": task, **figures})
            for name, value in figures.items():
                if name not in ("majority", "examples", "score"):
                    self._point(f"dev_{name}/{task}", value, step)
        self._line({"step": step, "kind": "dev", "task": "all", "mean": mean})
        self._point("dev/mean", mean, step)
        width = max(map(len, scores))
        rows = [f"{'dev at step ' + str(step):<{width}}     score  majority    loss"]
        for task, figures in scores.items():
            score = 100 * figures["score"]
            rows.append(f"{task:<{width}}  {score:8.1f}  {100 * figures['majority']:8.1f}  {figures['loss']:6.3f}")
        rows.append(f"{'mean':<{width}}  {100 * mean:8.1f}")
        self.say("\n".join(rows))

    def flush(self) -> None:
        """Before a checkpoint: what lies before it is on disk."""
        if self.active:
            with suppress(OSError):
                self.board.flush()

    def advance(self) -> None:
        """One step is done."""
        if self.active:
            self.bar.update()

    def say(self, text: str) -> None:
        """A message that does not tear the progress bar."""
        if self.active:
            tqdm.write(text)

    def _point(self, name: str, value: float, step: int) -> None:
        """A point of a curve; TensorBoard's writer has died if its disk was full, metrics.jsonl has the figures."""
        try:
            self.board.add_scalar(name, value, step)
        except OSError as error:
            self._complain(f"TensorBoard's events: {error.strerror}; its curves go on at the next start")

    def _complain(self, what: str) -> None:
        if not self.complained:
            self.say(f"warning: {what}")
        self.complained = True

    def _line(self, values: dict[str, Any]) -> None:
        """Appends a line; one that the disk has no room for waits for the next."""
        self.waiting += json.dumps(values) + "\n"
        try:
            written = os.write(self.file, self.waiting.encode())
            self.waiting = self.waiting.encode()[written:].decode()  # json.dumps gives ASCII: no character is cut
        except OSError as error:
            self._complain(f"{self.path}: {error.strerror}; its lines wait until there is room")

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.active:
            self.bar.close()
            with suppress(OSError):  # a full disk has been told of
                self.board.close()
            os.close(self.file)


def _quietly(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_type is not OSError:
        threading.__excepthook__(failed)


def _drop_after(path: Path, step: int) -> None:
    """Keeps the lines of `path` up to and including `step`; a torn last line goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError):
            break
    files.write_text(path, "".join(kept))
