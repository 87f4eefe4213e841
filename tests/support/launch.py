"""Starts real programs in tests: own extension folder, free port, a time limit, everything ended at the end.

`run` starts interpreters. `start` and `program` fork them from a process that has imported the trainer
with torch, transformers and DeepSpeed, which is most of what a small run takes (10 s of a slow core for every rank).
Environment, output, process group and arguments are the program's own; what the imports read from the environment and
the seed of string hashes are shared. CPU only: a process that has initialized CUDA must not be forked.
"""

import atexit
import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from unittest import mock

from mtl.distributed.launchers import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["torch.utils.tensorboard", "deepspeed.runtime.zero.muon.muon_optimizer", "transformers.models.auto.modeling_auto",
     "transformers.models.xlm_roberta.modeling_xlm_roberta", "transformers.convert_slow_tokenizer",
     "pyarrow.parquet", "pyarrow.compute", "pandas", "mtl.run.trainer"]
)  # fmt: skip


def environment() -> dict[str, str]:
    """The environment of a launched run: CPU if a test does not say, one thread a rank, this project importable."""
    extensions = os.environ.get("INTERMEZZO_TEST_EXTENSIONS", str(REPOSITORY / ".torch_extensions"))
    return {
        **os.environ,
        "DS_ACCELERATOR": os.environ.get("INTERMEZZO_TEST_ACCELERATOR", "cpu"),
        "OMP_NUM_THREADS": "1",
        "TORCH_EXTENSIONS_DIR": extensions,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        # ninja, which DeepSpeed needs to build its CPU op, is beside the interpreter.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def wait_until(true: Callable[[], object], seconds: float, otherwise: str | Callable[[], str]) -> None:
    """Returns once `true()`; an AssertionError if it does not in time, with `otherwise`, or what calling it returns."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, otherwise if isinstance(otherwise, str) else otherwise()
        time.sleep(0.005)


@dataclass(frozen=True)
class Done:
    """A program that has ended: what it printed."""

    stdout: str
    stderr: str

    @property
    def printed(self) -> str:
        return self.stdout + self.stderr


def run(*command: object, timeout: float = 240, code: int = 0) -> Done:
    """Runs a program, which must end with this exit code."""
    done = subprocess.run(
        list(map(str, command)), cwd=REPOSITORY, env=environment(), text=True, capture_output=True, timeout=timeout
    )
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return Done(done.stdout, done.stderr)


def start(
    arguments: Sequence[object], ranks: int, out: Path, err: Path, each: Sequence[Sequence[object]] = ()
) -> list[ForkServerProcess]:
    """`python ARGUMENTS` (a file, or -m and a module) on so many ranks, forked; their output is appended to files.

    `each`: arguments that only one rank has, by rank.
    """
    around = environment()
    assert around["DS_ACCELERATOR"] == "cpu"
    if ranks > 1:
        around |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = []
    for rank in range(ranks):
        own = {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)} if ranks > 1 else {}
        command = [str(a) for a in (*arguments, *(each[rank] if each else ()))]
        with mock.patch.dict(os.environ, environment()):  # which the server takes when the first process is started
            process = _FORKS.Process(target=_run, args=(command, around | own, out, err))
            process.start()
        started.append(process)
    return started


def _run(arguments: list[str], around: dict[str, str], out: Path, err: Path) -> None:
    """What a forked process does: becomes the program."""
    gc.freeze()  # no collection goes through, and so copies, what was imported
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a test run in the background inherits as ignored
    os.environ.clear()
    os.environ.update(around)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), number)
    os.chdir(REPOSITORY)
    is_module = arguments[0] == "-m"
    sys.argv = arguments[is_module:]
    sys.path.insert(0, str(REPOSITORY if is_module else Path(sys.argv[0]).resolve().parent))
    try:
        if is_module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()


def program(
    *arguments: object, ranks: int = 1, timeout: float = 240, code: int | None = 0,
    each: Sequence[Sequence[object]] = (),
) -> Done:  # fmt: skip
    """`start`, and waits for the end: what all ranks printed together.

    `code`: the first exit code that is not 0 must be this one (None: any, but not 0).
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        processes, deadline = start(arguments, ranks, *files, each), time.monotonic() + timeout
        try:
            for process in processes:
                process.join(max(0, deadline - time.monotonic()))
            codes = [process.exitcode for process in processes]
        finally:
            for process in processes:
                if process.is_alive():
                    with suppress(ProcessLookupError):  # not the leader of a group yet
                        os.killpg(process.pid, signal.SIGKILL)
                    process.kill()
        out, err = (f.read_text(encoding="utf-8", errors="replace") if f.exists() else "" for f in files)
    said, ended = f"{codes}\n{out[-3000:]}\n{err[-5000:]}", next(filter(None, codes), 0)
    assert None not in codes, f"{arguments} did not end within {timeout} s: {said}"
    assert ended == code if code is not None else ended, f"{arguments} ended with {said}"
    return Done(out, err)


def the_error(printed: str, *parts: str) -> str:
    """The one line that tells the user what is wrong, which must hold all `parts`; a traceback tells too much."""
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in printed, printed[-3000:]
    assert all(part in errors[0] for part in parts), errors[0]
    return errors[0]
