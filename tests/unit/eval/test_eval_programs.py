"""Programs that the driver starts: what they print is kept, and they end with it, whatever they have started."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from common.errors import InputError
from eval.driver import subprocesses
from mtl.distributed.shutdown import alive

# A launcher that starts another one, which starts a program that sleeps; all of them write their number.
NESTED = """
import os, signal, subprocess, sys, time
level, folder = int(sys.argv[1]), sys.argv[2]
{first}
if level:
    subprocess.Popen([sys.executable, "-S", "-c", sys.argv[3], str(level - 1), folder, sys.argv[3]])
open(os.path.join(folder, str(os.getpid())), "w").close()
{then}
time.sleep(600)
"""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-S", "-c", code, *arguments]


def nested(folder: Path, levels: int, first: str = "", then: str = "") -> list[str]:
    folder.mkdir()
    code = NESTED.format(first=first, then=then)
    return python(code, str(levels - 1), str(folder), code)


def left(folder: Path, count: int) -> list[int]:
    """Which of the `count` processes still run. A killed one may take a moment to be gone."""
    pids = [int(path.name) for path in folder.iterdir()]
    assert len(pids) == count
    deadline = time.monotonic() + 2
    while running := [one.pid for one in psutil.process_iter() if one.pid in pids and alive(one)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return running


def test_everything_ends_with_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what does not listen to SIGTERM; what does: test_eval_driver.py."""
    monkeypatch.setattr(subprocesses, "GRACE", 1.0)

    def watch() -> None:
        if len(list((tmp_path / "pids").iterdir())) == 3:
            raise KeyboardInterrupt

    command = nested(tmp_path / "pids", 3, first="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        subprocesses.run(command, tmp_path / "log", "this", watch)
    assert time.monotonic() - began < 20 and not left(tmp_path / "pids", 3)


def test_what_outlives_its_launcher_is_ended_too(tmp_path: Path) -> None:
    """A launcher that dies and leaves its program behind, as one does that is killed for memory."""
    command = nested(tmp_path / "pids", 2, then="time.sleep(3 if level else 0)\nif level: os.abort()")
    with pytest.raises(InputError, match="this ended with exit code -6"):
        subprocesses.run(command, tmp_path / "log", "this", lambda: None)
    assert not left(tmp_path / "pids", 2)


def test_logs_are_kept_and_the_reason_is_of_the_last_attempt(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"

    def fails(code: str) -> str:
        with pytest.raises(InputError) as raised:
            subprocesses.run(python(code), log, "this", lambda: None)
        return str(raised.value)

    assert fails("print('starting ü'); print('error: the first'); raise SystemExit(2)") == f"the first (log: {log})"
    assert fails("print('error: the second'); print('error: third'); raise SystemExit(2)") == f"the second (log: {log})"
    said = fails("print('no such thing'); print('-----'); raise SystemExit(3)")
    assert said == f"this ended with exit code 3: no such thing (log: {log})"
    assert "nothing was printed" in fails("raise SystemExit(1)")
    subprocesses.run(python("print('well')"), log, "this", lambda: None)
    text = log.read_text(encoding="utf-8")
    assert text.count("$ ") == 5 and text.startswith("$ ") and text.endswith("well\n")
    assert "the first" in text and "the second" in text
