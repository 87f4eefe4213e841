"""tests/support/zygote.py runs programs as an interpreter would, and leaves none behind."""

import os
import time
from pathlib import Path

import psutil
import pytest

from tests.support import zygote
from tests.support.launch import HOUSE, environment, program

SAYS = """
import os, sys
print(sys.argv[1:], __name__, os.environ["RANK"], os.environ["WORLD_SIZE"], sys.path[0])
print("wrong", file=sys.stderr)
"""
ENDS = {
    "": 0, "sys.exit()": 0, "sys.exit(7)": 7, "sys.exit('a sentence')": 1, "raise ValueError('what')": 1,
    "os.kill(os.getpid(), 9)": -9,
}  # fmt: skip
SLEEPS = "import pathlib, os, sys, time\npathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\ntime.sleep(600)\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "program.py"
    path.write_text(text)
    return path


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_ranks_have_arguments_environment_and_output(tmp_path: Path) -> None:
    path = write(tmp_path, SAYS)
    done = program(path, "--a", "b c", ranks=2)
    expected = [f"['--a', 'b c'] __main__ {rank} 2 {tmp_path}" for rank in (0, 1)]
    assert sorted(done.stdout.splitlines()) == expected
    assert done.stderr.count("wrong") == 2


@pytest.mark.parametrize(("text", "code"), ENDS.items())
def test_exit_codes_are_those_of_an_interpreter(tmp_path: Path, text: str, code: int) -> None:
    path = write(tmp_path, f"import atexit, os, sys\natexit.register(print, 'at the end')\n{text}\n")
    done = program(path, check=False)
    assert done.returncode == code
    assert ("at the end" in done.stdout) == (code >= 0)
    assert ("a sentence" in done.stderr) == ("sentence" in text)
    assert ("Traceback" in done.stderr) == ("ValueError" in text)
    if code:
        with pytest.raises(AssertionError, match=rf"ended with \[{code}\]"):
            program(path)


def test_what_does_not_end_in_time_is_killed_and_the_next_one_runs(tmp_path: Path) -> None:
    mark, began = tmp_path / "pid", time.monotonic()
    with pytest.raises(AssertionError, match="did not end within 1 s"):
        program(write(tmp_path, SLEEPS), mark, ranks=2, timeout=1)
    assert time.monotonic() - began < 60
    assert gone(int(mark.read_text()))
    assert program(write(tmp_path, "print('next')")).stdout == "next\n"


def test_the_mates_of_a_rank_that_failed_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "GRACE", 0.5)
    pids = []
    for command in ("os._exit(3)", "time.sleep(600)"):
        pid = os.fork()
        if pid == 0:
            os.setsid()
            exec(command)
            os._exit(0)
        pids.append(pid)
    # Standard input is where an end of the pipe would be seen; this one stays open and silent.
    read, write_ = os.pipe()
    kept = os.dup(0)
    os.dup2(read, 0)
    try:
        assert zygote.wait(pids, 60) == [3, -9]
    finally:
        os.dup2(kept, 0)
        for number in (read, write_, kept):
            os.close(number)


def test_with_whoever_asked_it_ends_and_its_programs_too(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    mark.write_text("")
    one = zygote.Zygote(environment(), HOUSE)
    files = [tmp_path / "out", tmp_path / "err"]
    for file in files:
        file.touch()
    asked = {
        "arguments": [str(write(tmp_path, SLEEPS)), str(mark)], "environments": [environment()], "timeout": 600,
        "out": str(files[0]), "err": str(files[1]),
    }  # fmt: skip
    one.ask(asked)
    deadline = time.monotonic() + 120
    while not mark.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    one.close()
    deadline = time.monotonic() + 10
    while not gone(int(mark.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)
