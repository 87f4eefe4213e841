"""A rank that dies, hangs or meets bad data: all end in time, the first cause is printed once, a resume is possible."""

import itertools
import json
import math
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch
from transformers import AutoModel

from mtl.distributed.shutdown import STOPPED
from mtl.run import checkpoint, setup
from tests.support.launch import program, the_error
from tests.support.live import Forked, metrics
from tests.support.small import elsewhere, write_run

FIELDS = {"steps": 2000, "log_every": 5, "checkpoint": {"every": 20}, "evaluate": {"every": 500, "examples": 4}}
SILENCE = 8
# The rank is found silent, the others leave; a stopped process gets SIGKILL from a rank of its host.
WITHIN = SILENCE + 25
KILLED, SILENT = "ended without a word", "has given no sign of life"


@pytest.fixture(scope="module")
def long(tmp_path_factory, tiny_tokenizer_dir) -> Path:
    """The config of a run that does not end by itself, over prepared data."""
    return write_run(tmp_path_factory.mktemp("long"), tiny_tokenizer_dir, **FIELDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "rank", "number", "cause"),
    [(4, 0, signal.SIGKILL, KILLED), (2, 1, signal.SIGSTOP, SILENT)],
)
def test_a_rank_that_dies_or_hangs_ends_all(long, tmp_path, ranks, rank, number, cause):
    config = elsewhere(long, tmp_path)
    with Forked(config, "--set", f"silence={SILENCE}", ranks=ranks) as live:
        live.until_step(25)  # all ranks know of the checkpoint of step 20
        pid = live.ranks[rank].pid
        live.ranks[rank].send_signal(number)
        assert live.end(WITHIN) != 0
    the_error(live.printed, f"rank {rank} on", f"(process {pid}) {cause}", "the same command goes on after step")
    assert not (live.folder / "done").exists()
    assert checkpoint.find(live.folder, setup.read(str(config), []).identity(), ranks)[0] is not None


def test_data_that_change_under_a_run(tmp_path, tiny_tokenizer_dir):
    """A prepared file overwritten in mid-run: the row is named, what was learned so far is saved."""
    config = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)
    (victim,) = (tmp_path / "data" / "my_tag").glob("*/train.arrow")
    with Forked(config) as live:
        live.until_step(5)
        with victim.open("r+b") as file:  # ids of any size, where ids were
            file.seek(victim.stat().st_size // 4)
            file.write(b"\x7f" * (victim.stat().st_size // 4))
        assert live.end(60) != 0
    the_error(live.printed, str(victim))
    assert checkpoint.names(live.folder / "checkpoints")
    the_error(program("train.py", "--config", config, code=2).stderr, f"{victim}: altered since it was written")


@pytest.mark.parametrize("deepspeed_file", [pytest.param("zero0.json", marks=pytest.mark.slow), "zero2.json"])
def test_a_loss_that_is_not_finite_names_the_example(tmp_path, tiny_tokenizer_dir, deepspeed_file):
    """The encoder has an infinite embedding for one word, which stands in row 17."""
    folder = tmp_path / "bad"
    path = write_run(folder, tiny_tokenizer_dir, steps=6, hidden_dropout_prob=0.1)
    made = setup.read(str(path), [])
    rare = made.tokenizer.convert_tokens_to_ids("ж")
    encoder = made.model().encoder
    with torch.no_grad():
        encoder.get_input_embeddings().weight[rare] = float("inf")
    encoder.save_pretrained(folder / "encoder")
    made.tokenizer.save_pretrained(folder / "encoder")
    values = json.loads(path.read_text())
    values |= {"encoder": str(folder / "encoder"), "tasks": values["tasks"][3:4], "batch": {"examples": 10}}
    rows = (folder / "tag.train.jsonl").read_text().splitlines()
    rows[17] = json.dumps({"words": ["ж", "river"], "tags": ["SHORT", "SHORT"]})
    (folder / "tag.train.jsonl").write_text("\n".join(rows) + "\n")
    path.write_text(json.dumps(values))
    program("-m", "data_prep", "--config", path)
    choice = ["--set", f"deepspeed={deepspeed_file}", "--set", "checkpoint.every=1", "--set", f"output={tmp_path}"]
    stopped = program("train.py", "--config", path, *choice, ranks=2, code=None)
    error = the_error(stopped.printed, "the loss is not finite for my_tag: ", "(example 17)")
    assert "row " not in error.split("(example 17)")[1]  # that one alone
    assert "the same command goes on after step" in error or "there is no checkpoint yet" in error
    # Left out instead: one step of each of the two epochs is counted, the weights stay finite.
    more = ("--set", "optimizer.nonfinite=skip", "--set", "dynamics=true", "--resume", "never")
    printed = program("train.py", "--config", path, *choice, *more, ranks=2).printed
    assert printed.count("the step is left out") == 2, printed
    assert metrics(tmp_path / "small", kind="train", task="all")[-1]["skipped"] == 2
    dynamics = pa.ipc.open_file(pa.memory_map(str(tmp_path / "small/dynamics/my_tag.arrow"))).read_all()
    assert sum(dynamics["visits"].to_pylist()) == 4 * 10 and np.isfinite(dynamics["confidence"].to_numpy()).all()
    # Weight decay of what has no gradient, over the other steps : lr 1e-3, one step up, then down.
    out = {int(step) for step in re.findall(r"warning: step (\d+):", printed)}
    rates = [1e-3 * (1 if step == 1 else (7 - step) / 5) for step in range(1, 7) if step not in out]
    state = json.loads((tmp_path / "small/checkpoints/step-00000006/state.json").read_text())
    assert state["decay"] == pytest.approx(math.prod(1 - 0.01 * rate for rate in rates), rel=1e-14)
    weights = AutoModel.from_pretrained(tmp_path / "small/encoder_last").encoder.state_dict()
    assert all(torch.isfinite(weight).all() for weight in weights.values())


SHORT_OF_MEMORY = """
import ctypes, resource, sys
ctypes.CDLL(None).mallopt(-3, 1 << 16)  # M_MMAP_THRESHOLD, fixed: freed tensors leave the address space
sys.path.insert(0, ".")
import train
from mtl.distributed import engine
first = engine.Engine.step
def step(self, *given):
    if given[0] == 2:  # two steps were possible; from now on there is room for little more than what is held
        held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + (24 << 20), -1))
    return first(self, *given)
engine.Engine.step = step
sys.exit(train.main())
"""


def test_memory_that_runs_out_names_the_setting(tmp_path, tiny_tokenizer_dir):
    """The address space of the process is limited in its third step, whose micro-batch then does not fit."""
    shape = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512,
             "max_position_embeddings": 70}  # fmt: skip
    path = write_run(
        tmp_path, tiny_tokenizer_dir, steps=4, batch={"examples": 200}, micro_tokens=60000,
        encoder={"config": shape, "tokenizer": str(tiny_tokenizer_dir)}, checkpoint={"every": 1},
    )  # fmt: skip
    worker = tmp_path / "worker.py"
    worker.write_text(SHORT_OF_MEMORY)
    the_error(
        program(worker, "--config", path, code=2).stderr, "step 3: out of memory in a micro-batch of",
        "lower micro_tokens, for example --set micro_tokens=", "the same command goes on after step 2",
    )  # fmt: skip


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1.5 MB; skipped where one cannot be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", place]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small tmpfs ({mounted.stderr.strip()})")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_fails_the_save_and_nothing_else(small_disk, tmp_path, tiny_tokenizer_dir):
    config = write_run(
        tmp_path, tiny_tokenizer_dir, steps=16, output=str(small_disk), checkpoint={"every": 4, "keep": 9},
        evaluate={"every": 16, "examples": 4},
    )  # fmt: skip
    parts = ("no checkpoint at step", "space left", "--set checkpoint.on_failure=continue")
    error = the_error(program("train.py", "--config", config, ranks=2, code=None).printed, *parts)
    left, _ = checkpoint.find(small_disk / "small", setup.read(str(config), []).identity(), 2)
    assert left is not None
    assert f"the same command goes on after step {left.step}" in error
    checkpoints = small_disk / "small" / "checkpoints"
    assert not list(checkpoints.glob(".writing*"))
    # Asked to, it trains on; the checkpoint before stays as it was.
    before = {p: p.stat().st_mtime_ns for p in (checkpoints / checkpoint.name_of(left.step)).iterdir()}
    printed = program("train.py", "--config", config, "--set", "checkpoint.on_failure=continue", ranks=2).printed
    assert "training goes on without it" in printed
    assert "dev at step 16" in printed
    assert "Traceback" not in printed, printed
    assert {p: p.stat().st_mtime_ns for p in (checkpoints / checkpoint.name_of(left.step)).iterdir()} == before


@pytest.mark.slow
def test_a_second_run_and_an_orphan_are_refused_and_a_stale_lock_is_not(long, tmp_path):
    config = elsewhere(long, tmp_path)
    with Forked(config, "--set", "silence=300") as live:
        live.until(lambda: checkpoint.names(live.folder / "checkpoints") != [])
        the_error(program("train.py", "--config", config, code=2).stderr, "still works there")
        # Rank 1 is left alone, frozen so that it cannot find out.
        first, orphan = live.ranks
        orphan.send_signal(signal.SIGSTOP)
        first.send_signal(signal.SIGKILL)
        while psutil.pid_exists(first.pid):
            time.sleep(0.1)
        the_error(program("train.py", "--config", config, code=2).stderr, f"(process {orphan.pid}) still works there")
    # As from another host that crashed: a lock that nobody touches any more.
    lock = live.folder / ".lock"
    entry = json.loads((lock / "rank-00001.json").read_text())
    shutil.rmtree(lock)
    lock.mkdir()
    (lock / "rank-00001.json").write_text(json.dumps({**entry, "machine": "elsewhere", "host": "node17"}))
    done = program("train.py", "--config", config, "--time-limit", "0:18", code=STOPPED)
    assert "the lock of a run that ended without removing it was taken over (node17" in done.printed


def test_a_lock_of_another_host_that_is_alive_is_refused(long, tmp_path):
    """Another host is played by a thread that writes its signs of life, as another machine's rank would."""
    config = elsewhere(long, tmp_path)
    lock, ended = tmp_path / "runs" / "small" / ".lock", threading.Event()
    lock.mkdir(parents=True)

    def beat() -> None:
        entry = {"token": "x", "rank": 3, "host": "node17", "machine": "m", "pid": 5, "began": 1}
        for beats in itertools.count():
            (lock / "rank-00003.json").write_text(json.dumps({**entry, "beats": beats}))
            if ended.wait(2):
                break

    other = threading.Thread(target=beat)
    other.start()
    try:
        done = program("train.py", "--config", config, code=2)
    finally:
        ended.set()
        other.join()
    the_error(done.stderr, "rank 3 on node17 (process 5) still works there")
