"""Opens a run folder: locks it, finds where to go on in it, puts an old run aside."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import files
from common.errors import writing
from mtl.distributed.watchdog import Member
from mtl.run import checkpoint
from mtl.run.checkpoint import Resumed
from mtl.run.run_lock import RunLock


@dataclass(frozen=True)
class Opened:
    """A locked run folder. `token`: the lock's, with which the other ranks join; `notes`: messages for the user."""

    token: str
    resumed: Resumed | None
    notes: list[str]


def open_run(
    run_folder: Path, me: Member, identity: dict[str, Any], world: int, *, resume: bool, accept: bool
) -> Opened:
    """Makes and locks the run folder and finds where to go on (rank 0 only).

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
                RunLock(kept, lock.token).release_all()
                lock, _ = RunLock.take(run_folder, me)
                notes.append(f"the earlier run is kept as {kept}")
            (run_folder / checkpoint.FOLDER).mkdir(exist_ok=True)
            resumed = checkpoint.find(run_folder, identity, world, accept)
            _prepare(run_folder, resumed)
        except BaseException:
            lock.release_all()
            raise
    return Opened(lock.token, resumed, [note for note in notes if note] + (resumed.notes if resumed else []))


def _prepare(run_folder: Path, resumed: Resumed | None) -> None:
    """Removes `done`, and renames damaged checkpoints, so that they do not count among the newest."""
    (run_folder / "done").unlink(missing_ok=True)
    folder = run_folder / checkpoint.FOLDER
    for name in checkpoint.names(folder):
        if resumed is None or name <= resumed.name:
            break
        files.put_aside(folder / name, f"damaged-{name}")
    if resumed is not None:
        checkpoint.set_latest(folder, resumed.name)
