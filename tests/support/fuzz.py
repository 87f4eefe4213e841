"""A fuzzer for bad input: generated cases, run through the real programs, judged by one oracle.

    python tests/support/fuzz.py [FAMILY ...] [--cases N] [--first K] [--seed S]

Each family (`fuzz_*.py`) makes case number K from `random.Random("seed/family/K")` alone, so one that fails can be run
again by itself. A case must end with exit code 2 and one line `error: ...`, or with exit code 0 and a result that the
case finds correct by its own means; without a traceback, within a time limit, without a write outside its output
folder. Programs run in this process, which makes a case cost milliseconds; test_fuzz.py runs a sample as real
processes as well.
"""

import argparse
import contextlib
import faulthandler
import io
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIMIT = 10.0  # seconds that one case may take; they take milliseconds
LONGEST = 2000  # characters of an error line
# What a program may print to stderr besides its error: progress bars and remarks.
_PROGRESS = re.compile(r"( (examples|files|text)(/s)?[ ,\]])|\d+%\||^$|preparing it again$|^UserWarning|replaced$")


@dataclass
class Case:
    """One generated input. `run` calls a program and returns its exit code; `out`: the only folder it may write to.

    `expect`: "refuse", "accept", or None where both are right. `check` is called afterwards with whether it was
    accepted, and raises for a wrong result or for leftovers; `arguments` are the command line, where the case can run
    as a real process; any of `refused_by` must stand in the error line.
    """

    what: str
    run: Callable[[], int]
    out: Path | None = None
    expect: str | None = None
    check: Callable[[bool], None] | None = None
    arguments: list[str] | None = None
    refused_by: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """How a case ended. `problem` is None where it is as promised."""

    accepted: bool
    line: str
    problem: str | None
    seconds: float


class Hang(BaseException):
    """A case was not finished in time; not an Exception, so that no program can swallow it."""


_watched: list[tuple[list[str], str]] | None = None  # ([allowed folders], path) of the writes of the current case
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit event: (arguments that are paths, arguments that are open folders which the paths are relative to).
_EVENTS: dict[str, tuple[slice, slice]] = {
    "os.mkdir": (slice(1), slice(2, 3)), "os.rename": (slice(2), slice(2, 4)), "os.symlink": (slice(1, 2), slice(2, 3)),
    "os.link": (slice(1, 2), slice(2, 4)), "os.remove": (slice(1), slice(1, 2)), "os.rmdir": (slice(1), slice(1, 2)),
    "os.truncate": (slice(1), slice(0)),
}  # fmt: skip
_seen: list[str] = []
_watching = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event == "open":
        if isinstance(arguments[2], int) and arguments[2] & _WRITES and not isinstance(arguments[0], int):
            _seen.append(os.path.realpath(os.fsdecode(arguments[0])))
    elif event in _EVENTS:
        paths, folders = _EVENTS[event]
        # Calls relative to an open folder (shutil.rmtree) are left to the comparison of the tree.
        if all(fd in (-1, None) for fd in arguments[folders]):
            _seen.extend(os.path.realpath(os.fsdecode(path)) for path in arguments[paths])


_installed = False


@contextlib.contextmanager
def watch_writes() -> Iterator[list[str]]:
    """The paths that Python code opens for writing, makes, renames or removes while the block runs."""
    global _installed, _watching
    if not _installed:
        sys.addaudithook(_audit)  # cannot be removed: asleep outside this block
        _installed = True
    _seen.clear()
    _watching = True
    try:
        yield _seen
    finally:
        _watching = False


def tree(folder: Path, but: Path | None) -> dict[str, tuple[int, int]]:
    """(size, time of change) of everything below `folder`, without what lies below `but`."""
    found = {}
    for place, folders, files in os.walk(folder):
        if but is not None and Path(place) == but:
            folders.clear()
            continue
        for name in [*folders, *files]:
            state = os.lstat(os.path.join(place, name))
            found[os.path.join(place, name)] = (state.st_size, 0 if name in folders else state.st_mtime_ns)
    return found


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Hang

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(3 * seconds, exit=True, file=sys.__stderr__)  # stuck in C code
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, old)


def judge(case: Case, folder: Path) -> Outcome:
    """Runs the case, whose files lie below `folder`, and says whether it ended as promised."""
    # As strict as the real streams: a character that cannot be written to stdout is an error there too.
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    here = os.getcwd()
    code: int | None = None
    problem: str | None = None
    began = time.perf_counter()
    work = folder / "cwd"
    work.mkdir(exist_ok=True)
    before = tree(folder, case.out)
    try:
        os.chdir(work)
        streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        with watch_writes() as written, _time_limit(LIMIT), streams[0], streams[1]:
            code = case.run()
    except Hang:
        problem = f"not finished after {LIMIT:.0f} s"
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
        problem = None if code == 2 else f"SystemExit({ended.code!r})"
    except BaseException:
        problem = traceback.format_exc()
    finally:
        os.chdir(here)
    seconds = time.perf_counter() - began
    printed = err.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
    lines = re.split(r"[\r\n]+", printed)
    errors = [line for line in lines if line.startswith("error:")]
    if problem is None:
        problem = _judge_lines(case, code, lines, errors)
    if problem is None:
        problem = _judge_writes(case, folder, before, list(written))
    if problem is None and case.check is not None:
        try:
            case.check(code == 0)
        except Exception:
            problem = f"exit code {code}, but wrong: {traceback.format_exc()}"
    return Outcome(code == 0, errors[0] if errors else "", problem, seconds)


def _judge_lines(case: Case, code: int | None, lines: list[str], errors: list[str]) -> str | None:
    if any("Traceback" in line for line in lines):
        return "a traceback was printed: " + "\n".join(lines)
    if code == 0:
        if errors:
            return f"exit code 0, but {errors}"
        return "accepted, but it had to be refused" if case.expect == "refuse" else None
    if code != 2:
        return f"exit code {code}"
    if len(errors) != 1 or len(errors[0]) < 15:
        return f"exit code 2 with {len(errors)} error lines: {lines}"
    rest = [line for line in lines if line.strip() and line not in errors and not _PROGRESS.search(line)]
    if rest:
        return f"more than the error was printed: {rest[:5]}"
    if len(errors[0]) > LONGEST or not errors[0].isprintable():
        return f"the error line is too long or not printable: {errors[0][:300]!r}"
    if case.refused_by and not any(part in errors[0] for part in case.refused_by):
        return f"the error names none of {case.refused_by}: {errors[0]}"
    return f"refused, but it is valid: {errors[0]}" if case.expect == "accept" else None


def _judge_writes(case: Case, folder: Path, before: dict[str, Any], written: list[str]) -> str | None:
    allowed = str(case.out.resolve()) if case.out is not None else None
    for path in written:
        if path == os.devnull or "__pycache__" in path:
            continue
        if allowed is None or (path != allowed and not path.startswith(allowed + os.sep)):
            return f"written outside the output folder: {path}"
    changed = {path for path, state in set(before.items()) ^ set(tree(folder, case.out).items())}
    changed -= {str(case.out)}
    return f"changed outside the output folder: {sorted(changed)[:3]}" if changed else None


@dataclass
class Tally:
    """The cases of one family, counted."""

    family: str
    cases: int = 0
    refused: int = 0
    accepted: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def row(self) -> str:
        return (
            f"{self.family:<16} {self.cases:>6} {self.refused:>8} {self.accepted:>18} {len(self.problems):>7} "
            f"{self.seconds:>8.1f}"
        )


HEADER = f"{'family':<16} {'cases':>6} {'refused':>8} {'accepted, correct':>18} {'broken':>7} {'seconds':>8}"
Family = Callable[[random.Random, Path, Any], Case]


def campaign(name: str, make: Family, world: Any, base: Path, count: int, first: int = 0, seed: int = 1) -> Tally:
    """Cases `first` to `first + count` of a family; `world`: what its cases share, `base`: a folder to work in."""
    tally = Tally(name)
    began = time.perf_counter()
    for number in range(first, first + count):
        rng = random.Random(f"{seed}/{name}/{number}")
        folder = base / f"{name}-{number}"
        (folder / "in").mkdir(parents=True)
        case = make(rng, folder, world)
        outcome = judge(case, folder)
        tally.cases += 1
        if outcome.problem is not None:
            again = f"python tests/support/fuzz.py {name} --first {number} --cases 1 --seed {seed}"
            tally.problems.append(f"{name} {number} ({case.what}): {outcome.problem}\n  again: {again}")
        elif outcome.accepted:
            tally.accepted += 1
        else:
            tally.refused += 1
        if os.environ.get("FUZZ_SHOW"):
            print(f"{name} {number} {case.what}: {outcome.line or 'accepted'}", file=sys.__stdout__)
        shutil.rmtree(folder)
    tally.seconds = time.perf_counter() - began
    return tally


def main() -> int:
    """Runs families from the command line and prints the table and every problem."""
    from tests.support.fuzz_world import FAMILIES, World, offline

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("family", nargs="*", help=f"default: all of {', '.join(FAMILIES)}")
    parser.add_argument("--cases", type=int, help="how many of each family (default: as in the fast suite)")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tallies = []
    with tempfile.TemporaryDirectory() as folder, offline():
        base = Path(folder).resolve()
        world = World.make(base / "world")
        for name in options.family or FAMILIES:
            make, count = FAMILIES[name]
            tally = campaign(name, make, world, base / "cases", options.cases or count, options.first, options.seed)
            tallies.append(tally)
            print("\n".join(tally.problems), flush=True)
    print(HEADER, *(tally.row() for tally in tallies), sep="\n")
    return 1 if any(tally.problems for tally in tallies) else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.support import fuzz  # the module that the families import too, not a second copy of it

    sys.exit(fuzz.main())
