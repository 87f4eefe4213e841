"""Programs without their start: a process that has imported what they all import forks one that runs them.

    codes = Zygote(environment, HOUSE).run(["train.py", "--config", path], [environment], Path("out"), Path("err"), 60)

Importing torch, transformers and deepspeed takes a slow core ten seconds, which is most of what a small run takes. A
forked process is one of its own, with its own environment, group and output, and runs the program as `__main__`; what
importing did is shared, environment variables that it read included, and the seed of Python's hashes. So whatever
ranks could differ in by that is for tests that start interpreters (`launch.deepspeed`), as is everything about
launchers and starting up.

On CPU only: a process that looked for a GPU must not be forked.
"""

import atexit
import gc
import json
import os
import random
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np

IMPORTED = (
    "data_prep.prepare", "mtl.run.dry_run", "mtl.run.trainer", "mtl.run.run_log", "mtl.run.provenance", "mtl.run.run_folder", "mtl.distributed.engine",
    "mtl.distributed.shutdown", "mtl.distributed.watchdog", "deepspeed.runtime.zero.muon.muon_optimizer", "transformers.models.auto.modeling_auto",
    "transformers.models.xlm_roberta.modeling_xlm_roberta",
)  # fmt: skip
GRACE = 60  # seconds that the other ranks have when one has failed


class Zygote:
    """The process that forks, from the side of those who ask it."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115  # as long as the process
        self._process = subprocess.Popen(
            [sys.executable, __file__], cwd=folder, env=dict(environment), text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._told, start_new_session=True,  # ctrl-C comes as the end of its pipe
        )  # fmt: skip

    def run(
        self, arguments: Sequence[str], environments: Sequence[Mapping[str, str]], out: Path, err: Path, timeout: float
    ) -> list[int] | None:
        """`python ARGUMENTS` (a file, or -m and a module) once in each environment; both outputs are appended to.

        Exit codes, negative for signals, as that of ranks which do not end within `GRACE` after another failed; None
        if the time was up, and all were killed. After an exception (ctrl-C, a test's own time) they are killed too,
        and this zygote is of no more use.
        """
        asked = {"arguments": list(arguments), "environments": [dict(e) for e in environments], "timeout": timeout}
        assert self._process.stdout is not None
        try:
            self.ask({**asked, "out": str(out), "err": str(err)})
            line = self._process.stdout.readline()
            if not line:
                self._told.seek(0)
                raise AssertionError(
                    f"tests/support/zygote.py ended with {self._process.wait()}: {self._told.read()[-3000:]}"
                )
            codes: list[int] | None = json.loads(line)
            return codes
        except BaseException:
            self.close()
            raise

    def ask(self, what: Mapping[str, Any]) -> None:
        """Begins what `run` waits for."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """Ends it, and what it may be running."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()


def serve(answers: TextIO) -> list[str]:
    """Forks what is asked for on standard input; in a forked process: the arguments that it runs with."""
    for line in sys.stdin:
        asked = json.loads(line)
        pids = []
        for environment in asked["environments"]:
            pid = os.fork()
            if pid == 0:
                answers.close()
                become(environment, asked["out"], asked["err"])
                arguments: list[str] = asked["arguments"]
                return arguments
            pids.append(pid)
        print(json.dumps(wait(pids, asked["timeout"])), file=answers, flush=True)
    sys.exit()


def wait(pids: list[int], timeout: float) -> list[int] | None:
    """Their exit codes; None if they were killed for want of time. Whoever asked being gone, they and this end."""
    codes: dict[int, int] = {}
    end = deadline = time.monotonic() + timeout
    while len(codes) < len(pids):
        for pid in set(pids) - set(codes):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                codes[pid] = os.waitstatus_to_exitcode(status)
                if codes[pid] != 0:
                    deadline = min(deadline, time.monotonic() + GRACE)
        gone = bool(select.select([0], [], [], 0.01)[0])  # nothing is asked meanwhile: it is the end of the pipe
        if time.monotonic() > deadline or gone:
            for pid in set(pids) - set(codes):
                with suppress(ProcessLookupError):  # it has not made its group yet: killed in the next turn
                    os.killpg(pid, signal.SIGKILL)
        if gone:
            sys.exit()
    return None if time.monotonic() > end else [codes[pid] for pid in pids]


def become(environment: Mapping[str, str], out: str, err: str) -> None:
    """Makes a forked process what a started one would be."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        file = os.open(path, flags | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    random.seed()
    np.random.seed()  # noqa: NPY002


def main() -> None:
    # What imports print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    for name in IMPORTED:
        __import__(name)
    here = str(Path(__file__).resolve().parent)
    sys.path = [place for place in sys.path if place != here]
    # So that no collection writes to, and thereby copies, all that was imported.
    gc.collect()
    gc.freeze()
    sys.argv = serve(answers)
    code: Any = 0
    try:
        if sys.argv[0] == "-m":
            sys.path.insert(0, os.getcwd())
            del sys.argv[0]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    # What an interpreter does at its end, but for taking everything apart, which takes seconds.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
