"""Checkpoints: what is kept, any damage is found and the one before used, nothing in them is executed."""

import os
import random
import shutil
from pathlib import Path

import pytest
import torch

import mtl.distributed.engine  # noqa: F401  # says how DeepSpeed's classes are pickled
from common.errors import InputError
from common.files import file_sha256
from mtl.run import checkpoint, setup
from tests.support.launch import program, the_error
from tests.support.live import metrics

pytestmark = pytest.mark.timeout(600)
RANKS = 2


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, to be damaged: (arguments of train.py, run folder)."""
    config, folder = finished
    shutil.copytree(folder, tmp_path / "runs" / "small", symlinks=True)
    return ["--config", config, "--set", f"output={tmp_path / 'runs'}"], tmp_path / "runs" / "small"


@pytest.fixture(scope="module")
def identity(finished):
    return setup.read(str(finished[0]), []).identity()


def test_the_newest_and_the_best_are_kept(finished, identity):
    """Evaluated every 3 steps, saved every 4 and where a dev score is the best so far; 3 are averaged."""
    _, folder = finished
    means = {line["step"]: line["mean"] for line in metrics(folder, kind="dev", task="all")}
    assert list(means) == [*range(3, 40, 3), 40]
    best = min(step for step in means if means[step] == max(means.values()))
    saved = {*range(4, 41, 4)} | {s for s in means if means[s] > max([-1, *(means[t] for t in means if t < s)])}
    expected = {f"step-{step:08d}" for step in {*sorted(saved)[-2:], best, 32, 36, 40}}
    assert set(checkpoint.names(folder / "checkpoints")) == expected
    found, _ = checkpoint.find(folder, identity, RANKS)
    assert found is not None
    assert (found.step, found.best_step, found.best) == (40, best, means[best])


def _damages(path: Path, rng: random.Random):
    """(what, function that does it to the file) for each way in which a file may be damaged."""
    whole = path.read_bytes()
    yield "emptied", lambda: path.write_bytes(b"")
    yield "gone", path.unlink
    yield "longer", lambda: path.write_bytes(whole + b"\0")
    for cut in sorted({1, len(whole) - 1, *(rng.randrange(1, len(whole)) for _ in range(6))}):
        yield f"cut at {cut}", lambda cut=cut: path.write_bytes(whole[:cut])
    for bit in {0, 8 * len(whole) - 1, *(rng.randrange(8 * len(whole)) for _ in range(25))}:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped", lambda flipped=flipped: path.write_bytes(flipped)


def test_any_damage_is_found_and_the_one_before_is_used(copy, identity):
    folder = copy[1]
    names = checkpoint.names(folder / "checkpoints")
    newest = folder / "checkpoints" / names[0]

    def name_found() -> str:
        found, notes = checkpoint.find(folder, identity, RANKS)
        assert found is not None
        name = checkpoint.name_of(found.step)
        if name != names[0]:
            assert f"{newest} is damaged" in notes[0] and "using the one before" in notes[0]
        return name

    rng = random.Random(3)
    files = sorted(newest.iterdir())
    assert len(files) == 6  # weights, the optimizer of each rank, dynamics, state, manifest
    for victim in files:
        content = victim.read_bytes()
        for what, damage in _damages(victim, rng):
            damage()
            assert name_found() == names[1], (victim, what)
            victim.write_bytes(content)
    assert name_found() == names[0]
    (newest / "extra.pt").write_bytes(b"x")
    assert name_found() == names[1]
    for name in names:
        (folder / "checkpoints" / name / "state.json").unlink()
    (newest / "extra.pt").unlink()
    with pytest.raises(InputError, match=r"is damaged \(state.json is missing\) and no whole one .* --resume never"):
        checkpoint.find(folder, identity, RANKS)


class _Harmful:
    """Unpickled, it makes a folder: what anybody could put into a checkpoint."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize(
    ("file", "ranks"), [("mp_rank_00_model_states.pt", RANKS), ("zero_pp_rank_0_mp_rank_00_optim_states.pt", 1)]
)
def test_a_program_in_a_checkpoint_is_refused_and_not_run(copy, tmp_path, file, ranks):
    """Loaded by as many ranks as wrote it, and divided anew among others."""
    arguments, folder = copy
    newest = folder / "checkpoints" / checkpoint.names(folder / "checkpoints")[0]
    mark = tmp_path / "it ran"
    torch.save({**torch.load(newest / file, weights_only=False), "more": _Harmful(mark)}, newest / file)
    hashes = {p.name: file_sha256(p) for p in newest.iterdir() if p.name != "manifest.json"}
    checkpoint.write_manifest(newest, hashes)  # whoever did it knows of the manifest
    done = program("train.py", *arguments, "--set", "steps=44", "--accept-changes", ranks=ranks, code=2)
    the_error(done.stderr, "mkdir", "refused")
    assert not mark.exists()
    torch.load(newest / file, weights_only=False)  # the file is harmful indeed
    assert mark.exists()
