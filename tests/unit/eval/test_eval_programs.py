"""Programs that the driver starts: what they print is kept, and they end with it, whatever they have started."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from common.errors import InputError
from eval.driver import subprocesses
from mtl.distributed.shutdown import alive


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


# A launcher that starts another one, which starts a program that sleeps; all of them write their number.
NESTED = """
import os, subprocess, sys, time
level, place = int(sys.argv[1]), sys.argv[2]
open(os.path.join(place, str(os.getpid())), "w").close()
if level:
    subprocess.Popen([sys.executable, "-S", "-c", sys.argv[3], str(level - 1), place, sys.argv[3]])
{more}
time.sleep(600)
"""


def nested(place: Path, more: str = "") -> list[str]:
    code = NESTED.format(more=more)
    return [*python(code), "2", str(place), code]


def stop_when_three(place: Path, error: BaseException) -> Callable[[], None]:
    def watch() -> None:
        if len(list(place.iterdir())) == 3:
            raise error

    return watch


def left(place: Path) -> list[str]:
    """Which of them still run. A killed one may take a moment to be gone."""
    deadline = time.monotonic() + 2
    while found := [
        p.name for p in place.iterdir() if psutil.pid_exists(int(p.name)) and alive(psutil.Process(int(p.name)))
    ]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a mistake of ours")])
def test_everything_ends_with_the_driver(tmp_path: Path, error: BaseException) -> None:
    place = tmp_path / "pids"
    place.mkdir()
    began = time.monotonic()
    with pytest.raises(type(error)):
        subprocesses.run(nested(place), tmp_path / "log", "this", stop_when_three(place, error))
    assert time.monotonic() - began < 20
    assert len(list(place.iterdir())) == 3
    assert not left(place)


def test_what_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "pids"
    place.mkdir()
    monkeypatch.setattr(subprocesses, "GRACE", 1.0)
    deaf = nested(place, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    with pytest.raises(KeyboardInterrupt):
        subprocesses.run(deaf, tmp_path / "log", "this", stop_when_three(place, KeyboardInterrupt()))
    assert len(list(place.iterdir())) == 3 and not left(place)


def test_what_outlives_its_launcher_is_ended_too(tmp_path: Path) -> None:
    """A launcher that dies and leaves its program behind, as one does that is killed for memory."""
    place = tmp_path / "pids"
    place.mkdir()
    code = NESTED.format(more="time.sleep(3 if level else 0)\nif level: os.abort()")
    with pytest.raises(InputError, match="this ended with exit code -6"):
        subprocesses.run([*python(code), "1", str(place), code], tmp_path / "log", "this", lambda: None)
    assert len(list(place.iterdir())) == 2 and not left(place)


def test_logs_are_kept_and_the_reason_is_of_the_last_attempt(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"

    def fails(code: str) -> str:
        with pytest.raises(InputError) as raised:
            subprocesses.run(python(code), log, "this", lambda: None)
        return str(raised.value)

    assert fails("print('starting ü'); print('error: the first'); raise SystemExit(2)") == f"the first (log: {log})"
    assert fails("print('error: the second'); print('error: third'); raise SystemExit(2)") == f"the second (log: {log})"
    assert (
        fails("print('no such thing'); print('-----'); raise SystemExit(3)")
        == f"this ended with exit code 3: no such thing (log: {log})"
    )
    assert "nothing was printed" in fails("raise SystemExit(1)")
    subprocesses.run(python("print('well')"), log, "this", lambda: None)
    text = log.read_text(encoding="utf-8")
    assert text.count("\n$ ") == 4 and text.startswith("$ ") and text.endswith("well\n")
    assert "the first" in text and "the second" in text


def test_the_bar_is_told_while_it_runs(tmp_path: Path) -> None:
    told: list[float] = []
    subprocesses.run(python("import time; time.sleep(0.6)"), tmp_path / "log", "this", lambda: told.append(0.0))
    assert len(told) >= 3
