"""The family of fuzz.py on checkpoints: one of two is damaged, and the other or none is used, with a sentence."""

import json
import pickle
import random
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from common.errors import InputError
from data_prep.storage.store import file_sha256
from mtl.run import checkpoint
from tests.support.fuzz import Case
from tests.support.fuzz_folders import damage
from tests.support.fuzz_mutate import alter

IDENTITY = {"seed": 1, "steps": 8, "tasks": {"mine": {"rows": 3}}, "encoder": {"hidden_size": 8}}


class _Code:
    """What must never be unpickled."""

    def __reduce__(self) -> Any:
        return (sys.exit, ("code of a checkpoint was run",))


def write(folder: Path, step: int, rng: random.Random) -> None:
    """A checkpoint of the form that `checkpoint.save` leaves; what its files hold is DeepSpeed's affair."""
    folder.mkdir(parents=True)
    tensors = {"module": {"w": torch.tensor([rng.random() for _ in range(50)])}, "step": step}
    for name in ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"):
        torch.save(tensors, folder / name)
    state = checkpoint.State(ranks=1, identity=IDENTITY, step=step)
    (folder / checkpoint.STATE).write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
    _fit(folder)


def _fit(folder: Path) -> None:
    """Makes the manifest say what the files are."""
    files = {p.name: file_sha256(p) for p in folder.iterdir() if p.name != checkpoint.MANIFEST}
    (folder / checkpoint.MANIFEST).write_text(checkpoint.manifest_text(files), encoding="utf-8")


def _same(path: Path, before: bytes) -> bool:
    """The file says what it said; the manifest is read as text, where CRLF is a line end too."""
    if path.is_symlink() or not path.is_file():
        return False
    after = path.read_bytes()
    if path.name == checkpoint.MANIFEST:
        after = after.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return after == before


def checkpoints(rng: random.Random, folder: Path, world: Any) -> Case:
    """Two checkpoints, one or both damaged by one change each."""
    home = folder / "in" / "run" / checkpoint.FOLDER
    names = ["step-00000004", "step-00000008"]
    for name in names:
        write(home / name, int(name[-2:]), rng)
    damaged, what = set(), []
    forged = False
    for name in rng.choice((names[1:], names[1:], names[1:], names[:1], names)):
        how = rng.choice(("damage",) * 7 + ("extra", "code", "forge", "pointer"))
        before = {path.name: path.read_bytes() for path in (home / name).iterdir()}
        if how == "damage":
            done, victim = damage(home / name, rng)
            if _same(victim, before[victim.name]):
                done += " (nothing changed)"
            else:
                damaged.add(name)
        elif how == "extra":
            (home / name / rng.choice(("x.pt", ".hidden", "state.json.tmp"))).write_bytes(rng.randbytes(9))
            damaged.add(name)
            done = "an extra file"
        elif how == "code":
            (home / name / "mp_rank_00_model_states.pt").write_bytes(pickle.dumps(_Code()))
            damaged.add(name)
            done = "a pickle with code"
        elif how == "forge":
            done, values = alter(json.loads(before[checkpoint.STATE]), rng)
            (home / name / checkpoint.STATE).write_text(json.dumps(values), encoding="utf-8")
            _fit(home / name)
            forged = True
            done = f"{checkpoint.STATE}: {done}, hashes made to fit"
        else:
            (home / checkpoint.LATEST).write_bytes(rng.choice((b"", b"nowhere\n", b"\xff", b"../../x")))
            done = "another `latest`"
        what.append(f"{name}: {done}")
    found: list[Any] = []

    def run() -> int:
        # What train.py does with it; a real run would need a process group.
        try:
            found.append(checkpoint.find(home.parent, IDENTITY, 1))
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0

    def check(accepted: bool) -> None:
        if forged:
            if accepted:
                state = found[0].state
                assert type(state.step) is int and state.step in (4, 8) and type(state.waited) is int, state
            return
        whole = [name for name in names if name not in damaged]
        assert accepted == bool(whole), "one is whole" if whole else "none is whole"
        if accepted:
            assert found[0].name == whole[-1]
            newer = [name for name in names if name > whole[-1]]
            notes = [note for note in found[0].notes if "damaged" in note]
            assert len(notes) == len(newer) and all(n in note for n, note in zip(newer, notes, strict=True)), notes

    return Case("; ".join(what), run, None, None, check)
