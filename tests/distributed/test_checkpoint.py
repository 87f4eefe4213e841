"""Checkpoints: what is kept, any damage is found and the one before used, nothing is executed, changes are named."""

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import mtl.distributed.engine  # noqa: F401  # says how DeepSpeed's classes are pickled
from common.errors import InputError
from data_prep.storage.store import file_sha256
from mtl.run import checkpoint, setup
from tests.support.launch import HOUSE, environment, free_port, program, run
from tests.support.small import write_run

STEPS, RANKS = 12, 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_tokenizer_dir):
    """A finished run of one process, evaluated every 3 steps, saved every 4: (config, run folder)."""
    folder = tmp_path_factory.mktemp("checkpoint")
    path = write_run(
        folder, tiny_tokenizer_dir, steps=STEPS, evaluate={"every": 3, "examples": 8}, optimizer={"lr": 3e-3}
    )
    program("train.py", "--config", path)
    return path, folder / "runs" / "small"


@pytest.fixture
def copy(whole, tmp_path):
    """The same in a folder of its own, to be damaged: (arguments of train.py, run folder)."""
    path, folder = whole
    shutil.copytree(folder, tmp_path / "runs" / "small", symlinks=True)
    return ["--config", path, "--set", f"output={tmp_path / 'runs'}"], tmp_path / "runs" / "small"


def identity(path: Path) -> dict:
    return setup.read(str(path), []).identity()


def test_the_newest_and_the_best_are_kept(whole):
    path, folder = whole
    means = {}
    for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()):
        if line["kind"] == "dev" and line["task"] == "all":
            means[line["step"]] = line["mean"]
    assert list(means) == [3, 6, 9, 12]
    best = min(step for step in means if means[step] == max(means.values()))
    saved = {4, 8, 12} | {step for step in means if means[step] > max([-1, *(means[s] for s in means if s < step)])}
    expected = {f"step-{step:08d}" for step in {*sorted(saved)[-2:], best}}
    assert set(checkpoint.names(folder / "checkpoints")) == expected
    found = checkpoint.find(folder, identity(path), RANKS)
    assert found is not None
    assert (found.state.step, found.state.best_step, found.state.best) == (STEPS, best, means[best])


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


def test_any_damage_is_found_and_the_one_before_is_used(whole, copy):
    who = identity(whole[0])
    folder = copy[1]
    names = checkpoint.names(folder / "checkpoints")
    newest = folder / "checkpoints" / names[0]
    rng, tried = random.Random(3), 0
    files = sorted(newest.iterdir())
    assert len(files) == 4  # weights, optimizer, state, manifest
    for victim in files:
        content = victim.read_bytes()
        for what, damage in _damages(victim, rng):
            damage()
            found = checkpoint.find(folder, who, RANKS)
            victim.write_bytes(content)
            assert found is not None
            assert found.name == names[1], (victim, what)
            assert f"{newest} is damaged" in found.notes[0]
            assert "using the one before" in found.notes[0]
            tried += 1
    (newest / "extra.pt").write_bytes(b"x")
    found = checkpoint.find(folder, who, RANKS)
    assert found is not None
    assert found.name == names[1]
    (newest / "extra.pt").unlink()
    found = checkpoint.find(folder, who, RANKS)
    assert found is not None
    assert found.name == names[0]
    assert tried > 120


def test_a_run_goes_on_from_the_one_before_and_ends_with_the_same_bits(whole, copy):
    arguments, folder = copy
    names = checkpoint.names(folder / "checkpoints")
    newest = folder / "checkpoints" / names[0]
    with (newest / "mp_rank_00_model_states.pt").open("r+b") as file:
        file.truncate(1000)
    done = program("train.py", *arguments)
    assert f"checkpoint {newest} is damaged" in done.stdout + done.stderr
    assert (folder / "checkpoints" / f"damaged-{names[0]}").is_dir()
    for part in ("encoder/model", "encoder_last/model", "heads_last/heads"):
        expected, found = (load_file(f / f"{part}.safetensors") for f in (whole[1], folder))
        assert all(torch.equal(expected[n], found[n]) for n in expected), part


def test_without_a_whole_one_the_sentence_says_what_to_do(whole, copy):
    folder = copy[1]
    for name in checkpoint.names(folder / "checkpoints"):
        (folder / "checkpoints" / name / "state.json").unlink()
    with pytest.raises(InputError, match=r"is damaged \(state.json is missing\) and no whole one .* --resume never"):
        checkpoint.find(folder, identity(whole[0]), RANKS)


class _Harmful:
    """Unpickled, it makes a file: what anybody could put into a checkpoint."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("file", ["mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"])
def test_a_program_in_a_checkpoint_is_refused_and_not_run(copy, tmp_path, file):
    arguments, folder = copy
    newest = folder / "checkpoints" / checkpoint.names(folder / "checkpoints")[0]
    mark = tmp_path / "it ran"
    values = torch.load(newest / file, weights_only=False)
    torch.save({**values, "more": _Harmful(mark)}, newest / file)
    hashes = {p.name: file_sha256(p) for p in newest.iterdir() if p.name != "manifest.json"}
    (newest / "manifest.json").write_text(checkpoint.manifest_text(hashes))  # whoever did it knows of the manifest
    done = program("train.py", *arguments, check=False)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "mkdir" in errors[0]
    assert "refused" in errors[0]
    assert "Traceback" not in done.stderr
    assert not mark.exists()
    with pytest.raises(FileExistsError):  # the file is harmful indeed
        mark.mkdir()
        pickle.loads(pickle.dumps(_Harmful(mark)))


CONVERT = """
import sys, types, torch
from mtl.engine import SAFE_CLASSES
torch.serialization.add_safe_globals(list(SAFE_CLASSES))
from deepspeed.checkpoint import ds_to_universal
ds_to_universal.main(types.SimpleNamespace(
    input_folder=sys.argv[1], output_folder=sys.argv[2], num_extract_workers=1, num_merge_workers=1,
    keep_temp_folder=False, strict=True, inject_missing_state=False))
"""


def test_deepspeeds_universal_converter_reads_it_without_unpickling_code(whole, tmp_path, monkeypatch):
    _, folder = whole
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    newest = folder / "checkpoints" / checkpoint.names(folder / "checkpoints")[0]
    run(sys.executable, "-c", CONVERT, newest, tmp_path / "universal")
    encoder = load_file(folder / "encoder_last" / "model.safetensors")
    for name, weight in encoder.items():
        converted = torch.load(tmp_path / "universal" / "zero" / f"encoder.{name}" / "fp32.pt", weights_only=True)
        assert torch.equal(converted["param"].view_as(weight), weight), name
    assert list((tmp_path / "universal/zero").glob("heads.*/exp_avg_sq.pt"))


def test_a_change_is_named_with_the_flag_that_accepts_it(whole, copy):
    arguments, folder = copy
    refused = program("train.py", *arguments, "--set", "steps=16", "--set", "seed=9", check=False)
    assert refused.returncode == 2
    assert "seed: then 1, now 9" in refused.stderr
    assert "steps: then 12, now 16" in refused.stderr
    assert "--accept-changes" in refused.stderr
    assert (folder / "done").exists()
    done = program("train.py", *arguments, "--set", "steps=16", "--set", "seed=9", "--accept-changes")
    assert "accepted: seed: then 1, now 9" in done.stdout + done.stderr
    assert (folder / "done").read_text() == "step 16\n"
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert max(steps) == 16


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--set", "encoder.config.hidden_size=64"], "encoder.hidden_size: then 32, now 64"),
        (["--set", "deepspeed=zero0.json"], "deepspeed.zero_optimization"),
    ],
)
def test_another_form_of_weights_is_refused_whatever_the_flag(copy, change, said):
    done = program("train.py", *copy[0], *change, "--accept-changes", check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "another form" in done.stderr


@pytest.mark.slow
def test_the_offloaded_optimizer_resumes_to_the_bit(tmp_path, tiny_tokenizer_dir):
    """DeepSpeed's own kernel would not: see `OffloadedAdamW`."""
    path = write_run(tmp_path, tiny_tokenizer_dir, steps=8, checkpoint={"every": 3, "keep": 9})
    arguments = ["--config", path, "--set", "deepspeed=zero2_offload.json"]
    program("train.py", *arguments)
    folder = tmp_path / "runs" / "small"
    expected = load_file(folder / "encoder_last" / "model.safetensors")
    for name in checkpoint.names(folder / "checkpoints"):
        if name > "step-00000003":
            shutil.rmtree(folder / "checkpoints" / name)
    again = program("train.py", *arguments)
    assert "after step 3" in again.stdout + again.stderr
    found = load_file(folder / "encoder_last" / "model.safetensors")
    assert all(torch.equal(expected[n], found[n]) for n in expected)


def test_ranks_that_have_other_data_or_another_plan_stop_with_a_sentence(whole, tmp_path, tiny_tokenizer_dir):
    """Two processes, as on two nodes of which one has another file: started by hand, each with its own config."""
    other = write_run(tmp_path, tiny_tokenizer_dir, seed_of_data=7, steps=STEPS, optimizer={"lr": 3e-3})
    port = str(free_port())
    started = []
    for rank, config in enumerate([whole[0], other]):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        command = [sys.executable, "train.py", "--config", config, "--set", f"output={tmp_path / 'out'}"]
        started.append(
            subprocess.Popen(
                [*command, "--set", f"optimizer.clip={rank + 1}"], cwd=HOUSE, text=True,
                env={**environment(), **place, "MASTER_PORT": port}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip
    printed = [process.communicate(timeout=100)[0] for process in started]
    assert [process.returncode for process in started] == [2, 2]
    errors = [line for text in printed for line in text.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, printed
    assert "rank 1 on" in errors[0]
    assert "tasks.my_classify.data: ['" in errors[0]
    assert "same code, config and prepared data" in errors[0]
    assert not (tmp_path / "out").exists()
