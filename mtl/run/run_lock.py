"""A run folder, opened under its lock: one run writes in it at a time, orphaned ranks of an earlier one included.

`.lock/` is a folder, because making one is atomic on every file system, NFS too. Each rank keeps a file in it: host,
process, and a counter that it increments every few seconds. A process of this machine is looked up; one of another host
counts as alive if its file changes while it is observed (no clocks are compared). A lock whose processes are all gone
is stale: it is taken over, with a message. A run that finds its lock replaced ends at once, without touching anything.
"""

import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import files
from common.errors import InputError, writing
from mtl.distributed.watchdog import Member
from mtl.run import checkpoint
from mtl.run.checkpoint import State

NAME = ".lock"
BEAT = 3.0  # seconds between heartbeats
_OBSERVED = 4 * BEAT  # how long those of other hosts are observed


class RunLock:
    """Held by rank 0 from `take` on, by every rank from `join` on, until the process ends."""

    def __init__(self, run_folder: Path, token: str, me: Member) -> None:
        self.folder = run_folder / NAME
        self.token, self.me = token, me
        self._file = self.folder / f"rank-{me.rank:05d}.json"
        self._ended = threading.Event()

    @classmethod
    def take(cls, run_folder: Path, me: Member) -> tuple["RunLock", list[str]]:
        """Locks the folder: (lock, messages for the user). `InputError` if another run works there."""
        lock = cls(run_folder, uuid.uuid4().hex, me)
        notes: list[str] = []
        for _ in range(5):
            try:
                lock.folder.mkdir()
                break
            except FileExistsError:
                notes = [_remove_if_stale(lock.folder, me)]
        else:
            raise InputError(f"{run_folder}: several runs are starting there at once: start one of them again")
        lock._write(0)
        return lock, notes

    def join(self, lost: Callable[[str], None]) -> None:
        """Every rank: sends heartbeats from now on. `lost(message)` is called if the lock is taken away."""
        self._write(0)
        self._thread = threading.Thread(target=self._beat, args=(lost,), daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Ends the heartbeats; the last rank to leave removes the lock."""
        self._ended.set()
        self._thread.join(BEAT)
        self._file.unlink(missing_ok=True)
        with suppress(OSError):  # another rank is still there
            self.folder.rmdir()

    def release_all(self) -> None:
        """Removes the lock with all that is in it (rank 0, before others have joined)."""
        self._ended.set()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, beats: int) -> None:
        files.write_json(self._file, {"token": self.token, "beats": beats, **asdict(self.me)})

    def _beat(self, lost: Callable[[str], None]) -> None:
        beats = 0
        while not self._ended.wait(BEAT):
            beats += 1
            try:
                if json.loads(self._file.read_text(encoding="utf-8"))["token"] != self.token:
                    raise FileNotFoundError
                if not self._ended.is_set():
                    self._write(beats)
            except FileNotFoundError:
                if not self._ended.is_set():
                    lost(f"{self.folder.parent}: another run took this folder over while this one did not answer")
                return
            except (OSError, ValueError):
                continue  # a full or slow disk: no reason to end a run, the next beat may pass


def open_run(
    run_folder: Path, me: Member, identity: dict[str, Any], world: int, *, resume: bool, accept: bool
) -> tuple[str, State | None, list[str]]:
    """Makes and locks the run folder and finds where to go on (rank 0 only).

    Returns the lock's token, with which the other ranks join, the checkpoint's state and messages for the user.

    Without `resume`, an old run of the same name is renamed to NAME.1 (2, ...), never deleted. `identity`: see
    `Setup.identity`; `accept`: go on though it differs. Raises `InputError` where another run works in the folder, the
    checkpoint belongs to another one, none is whole, or the folder cannot be written.
    """
    with writing(run_folder):
        run_folder.mkdir(parents=True, exist_ok=True)
        lock, notes = RunLock.take(run_folder, me)
        try:
            if not resume and any(path.name != lock.folder.name for path in run_folder.iterdir()):
                kept = files.put_aside(run_folder)
                run_folder.mkdir()
                RunLock(kept, lock.token, me).release_all()
                lock, _ = RunLock.take(run_folder, me)
                notes.append(f"the earlier run is kept as {kept}")
            (run_folder / checkpoint.FOLDER).mkdir(exist_ok=True)
            state, more = checkpoint.find(run_folder, identity, world, accept)
            (run_folder / "done").unlink(missing_ok=True)
            if state is not None:
                folder, at = run_folder / checkpoint.FOLDER, checkpoint.name_of(state.step)
                for name in checkpoint.names(folder):
                    if name > at:  # damaged: not to count among the newest
                        files.put_aside(folder / name, f"damaged-{name}")
                files.write_text(folder / checkpoint.LATEST, f"{at}\n")
        except BaseException:
            lock.release_all()
            raise
    return lock.token, state, [note for note in (*notes, *more) if note]


def _remove_if_stale(folder: Path, me: Member) -> str:
    """Removes the lock if none of its processes is alive: a message about it; `InputError` if one is."""
    before = _read(folder)
    if not before:
        time.sleep(1.0)  # just being created
        before = _read(folder)
    keys = ("rank", "host", "machine", "pid", "began")
    members = {name: Member(**{key: entry[key] for key in keys}) for name, entry in before.items()}
    remote = [name for name, member in members.items() if member.machine != me.machine]
    alive = [name for name, member in members.items() if name not in remote and not member.gone()]
    deadline = time.monotonic() + (_OBSERVED if remote else 0.0)
    while not alive and time.monotonic() < deadline:
        time.sleep(BEAT / 3)
        current = _read(folder)
        alive = [name for name in remote if name in current and current[name]["beats"] != before[name]["beats"]]
    if alive:
        raise InputError(
            f"{folder.parent}: {members[alive[0]]} still works there: wait for it, end it, or give another `name`"
        )
    aside = folder.with_name(f"{NAME}.{uuid.uuid4().hex[:8]}")
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return ""  # another start was faster; the next attempt shows whose lock it is
    if {e["token"] for e in _read(aside).values()} - {e["token"] for e in before.values()}:
        os.rename(aside, folder)  # not the one that was checked
        raise InputError(f"{folder.parent}: several runs are starting there at once: start one of them again")
    shutil.rmtree(aside, ignore_errors=True)
    hosts = ", ".join(sorted({f"{m.host} (process {m.pid})" for m in members.values()})) or "nobody"
    return f"{folder.parent}: the lock of a run that ended without removing it was taken over ({hosts})"


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    entries = {}
    for path in sorted(folder.glob("rank-*.json")):
        try:
            entries[path.name] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
    return entries
