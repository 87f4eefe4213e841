"""A rank that dies, hangs or meets bad data: all end in time, the first cause is told once. Slow: real launches."""

import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from mtl.run import checkpoint, setup
from tests.support.launch import HOUSE, deepspeed, environment, program, run
from tests.support.live import Live, send
from tests.support.small import write_run

pytestmark = pytest.mark.slow
FIELDS = {"steps": 2000, "log_every": 5, "checkpoint": {"every": 20}, "evaluate": {"every": 500, "examples": 4}}
SILENCE = 8
# The rank is found silent, the others leave; a stopped process gets SIGKILL from a rank of its host.
WITHIN = SILENCE + 25


@pytest.mark.parametrize(
    ("rank", "number", "said"),
    [
        (0, signal.SIGKILL, "ended without a word"),
        (1, signal.SIGKILL, "ended without a word"),
        (0, signal.SIGSTOP, "has given no sign of life"),
        (1, signal.SIGSTOP, "has given no sign of life"),
    ],
)
def test_a_rank_that_dies_or_hangs_ends_all(tmp_path, tiny_tokenizer_dir, rank, number, said):
    config = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)
    with Live(config, "--set", f"silence={SILENCE}") as live:
        live.until(lambda: checkpoint.names(live.folder / "checkpoints") != [])
        pid = live.ranks[rank].pid
        send(live.ranks[rank], number)
        assert live.end(WITHIN) != 0
        assert len(live.errors) == 1, live.printed
        assert f"rank {rank} on" in live.errors[0]
        assert f"(process {pid}) {said}" in live.errors[0]
        assert "the same command goes on after step" in live.errors[0]
        assert "Traceback" not in live.printed
        assert not (live.folder / "done").exists()
    assert checkpoint.find(live.folder, setup.read(str(config), []).identity(), 2) is not None


def test_three_ranks_of_four_end_because_of_one(tmp_path, tiny_tokenizer_dir):
    config = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)
    with Live(config, "--set", f"silence={SILENCE}", ranks=4) as live:
        live.until_step(5, timeout=150)
        send(live.ranks[0], signal.SIGKILL)
        assert live.end(WITHIN + 20) != 0
        assert len(live.errors) == 1, live.printed
        assert "rank 0 on" in live.errors[0]


def test_data_that_change_under_a_run(tmp_path, tiny_tokenizer_dir):
    """A prepared file overwritten in mid-run: the row is named, what was learned so far is saved."""
    config = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)
    (victim,) = (tmp_path / "data" / "my_tag").glob("*/train.arrow")
    with Live(config) as live:
        live.until_step(5)
        with victim.open("r+b") as file:  # ids of any size, where ids were
            file.seek(victim.stat().st_size // 4)
            file.write(b"\x7f" * (victim.stat().st_size // 4))
        assert live.end(60) != 0
        assert len(live.errors) == 1, live.printed
        assert str(victim) in live.errors[0]
        assert "Traceback" not in live.printed
    again = program("train.py", "--config", config, check=False)
    assert again.returncode == 2
    assert f"{victim}: altered since it was written" in again.stderr


def _with_bad_word(folder: Path, tokenizer: Path) -> tuple[Path, Path]:
    """A run over two tasks whose encoder has an infinite embedding for one word: (config, the row that holds it)."""
    path = write_run(folder, tokenizer, steps=6, hidden_dropout_prob=0.1)
    made = setup.read(str(path), [])
    rare = made.tokenizer.convert_tokens_to_ids("ж")
    encoder = made.model().encoder
    with torch.no_grad():
        encoder.get_input_embeddings().weight[rare] = float("inf")
    encoder.save_pretrained(folder / "encoder")
    made.tokenizer.save_pretrained(folder / "encoder")
    assert torch.isinf(AutoModel.from_pretrained(folder / "encoder").get_input_embeddings().weight[rare]).all()
    values = json.loads(path.read_text())
    values |= {"encoder": str(folder / "encoder"), "tasks": values["tasks"][3:4], "batch": {"examples": 10}}
    rows = (folder / "tag.train.jsonl").read_text().splitlines()
    rows[17] = json.dumps({"words": ["ж", "river"], "tags": ["SHORT", "SHORT"]})
    (folder / "tag.train.jsonl").write_text("\n".join(rows) + "\n")
    path.write_text(json.dumps(values))
    program("-m", "data_prep", "--config", path)
    return path, folder / "tag.train.jsonl"


@pytest.mark.parametrize("deepspeed_file", ["zero0.json", "zero1.json", "zero2_cpu.json", "zero2.json"])
def test_a_loss_that_is_not_finite_names_the_example(tmp_path, tiny_tokenizer_dir, deepspeed_file):
    path, _ = _with_bad_word(tmp_path, tiny_tokenizer_dir)
    choice = ["--set", f"deepspeed={deepspeed_file}", "--set", "checkpoint.every=1"]
    stopped = program("train.py", "--config", path, *choice, ranks=2, check=False)
    printed = stopped.stdout + stopped.stderr
    errors = [line for line in printed.splitlines() if line.startswith("error:")]
    assert stopped.returncode != 0
    assert len(errors) == 1, printed
    assert "the loss is not finite for my_tag: " in errors[0]
    assert "(example 17)" in errors[0]
    assert "row " not in errors[0].split("(example 17)")[1]  # that one alone
    assert "the same command goes on after step" in errors[0] or "there is no checkpoint yet" in errors[0]
    # Left out instead: one step of each of the two epochs is counted, the weights stay finite.
    more = ("--set", "optimizer.nonfinite=skip", "--resume", "never")
    done = program("train.py", "--config", path, *choice, *more, ranks=2)
    printed = done.stdout + done.stderr
    assert printed.count("the step is left out") == 2, printed
    lines = [json.loads(x) for x in (tmp_path / "runs/small/metrics.jsonl").read_text().splitlines()]
    assert [x["skipped"] for x in lines if x["kind"] == "train" and x["task"] == "all"][-1] == 2
    # Weight decay of what has no gradient, over the other steps (trimmed_embeddings.py): lr 1e-3, one step up, then down.
    out = {int(step) for step in re.findall(r"warning: step (\d+):", printed)}
    rates = [1e-3 * (1 if step == 1 else (7 - step) / 5) for step in range(1, 7) if step not in out]
    state = json.loads((tmp_path / "runs/small/checkpoints/step-00000006/state.json").read_text())
    assert state["decay"] == pytest.approx(math.prod(1 - 0.01 * rate for rate in rates), rel=1e-14)
    weights = AutoModel.from_pretrained(tmp_path / "runs/small/encoder_last").encoder.state_dict()
    assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_a_learning_rate_that_breaks_the_weights_is_told(tmp_path, tiny_tokenizer_dir):
    """Each step multiplies the weights by about a million."""
    path = write_run(tmp_path, tiny_tokenizer_dir, steps=30, optimizer={"lr": 1000, "warmup": 0, "weight_decay": 1000})
    done = program("train.py", "--config", path, check=False)
    assert done.returncode == 2
    assert "not finite" in done.stderr
    assert "lower the learning rate" in done.stderr
    assert "Traceback" not in done.stderr


SHORT_OF_MEMORY = """
import resource, sys
sys.path.insert(0, ".")
import train
from mtl import engine
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
    done = run(sys.executable, "-c", SHORT_OF_MEMORY, "--config", path, check=False, timeout=280)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2, done.stderr[-3000:]
    assert len(errors) == 1
    assert "step 3: out of memory in a micro-batch of" in errors[0]
    assert "lower micro_tokens, for example --set micro_tokens=" in errors[0]
    assert "the same command goes on after step 2" in errors[0]


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
    run_folder = small_disk / "small"
    stopped = deepspeed(2, "train.py", "--config", config, check=False)
    printed = stopped.stdout + stopped.stderr
    errors = [line for line in printed.splitlines() if line.startswith("error:")]
    assert stopped.returncode != 0
    assert len(errors) == 1, printed
    assert "no checkpoint at step" in errors[0]
    assert "space left" in errors[0]
    assert "--set checkpoint.on_failure=continue" in errors[0]
    assert "Traceback" not in printed, printed
    who = setup.read(str(config), []).identity()
    left = checkpoint.find(run_folder, who, 2)
    assert left is not None
    assert f"the same command goes on after step {left.state.step}" in errors[0]
    assert not list((run_folder / "checkpoints").glob(".writing*"))
    # Asked to, it trains on; the checkpoint before stays as it was.
    before = {p: p.stat().st_mtime_ns for p in (run_folder / "checkpoints" / left.name).iterdir()}
    on = deepspeed(2, "train.py", "--config", config, "--set", "checkpoint.on_failure=continue", check=False)
    printed = on.stdout + on.stderr
    assert "training goes on without it" in printed
    assert "Traceback" not in printed, printed
    assert {p: p.stat().st_mtime_ns for p in (run_folder / "checkpoints" / left.name).iterdir()} == before
    assert "dev at step 16" in printed


def test_a_second_run_and_an_orphan_are_refused_and_a_stale_lock_is_not(tmp_path, tiny_tokenizer_dir):
    config = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)
    with Live(config, "--set", "silence=300") as live:
        live.until(lambda: checkpoint.names(live.folder / "checkpoints") != [])
        second = program("train.py", "--config", config, check=False)
        assert second.returncode == 2
        assert "still works there" in second.stderr
        # Rank 1 is left alone, frozen so that it cannot find out; all others are gone.
        orphan = live.ranks[1]
        send(orphan, signal.SIGSTOP)
        for process in (live.launcher, live.node, live.ranks[0]):
            process.kill()
        time.sleep(1)
        resume = program("train.py", "--config", config, check=False)
        assert resume.returncode == 2
        assert "rank 1 on" in resume.stderr
        assert f"(process {orphan.pid}) still works there" in resume.stderr
        orphan.kill()
        time.sleep(1)
    # As from another host that crashed: a lock that nobody touches any more.
    lock = live.folder / ".lock"
    entry = json.loads((lock / "rank-00001.json").read_text())
    shutil.rmtree(lock)
    lock.mkdir()
    (lock / "rank-00001.json").write_text(json.dumps({**entry, "machine": "elsewhere", "host": "node17"}))
    done = program("train.py", "--config", config, "--time-limit", "0:45", check=False)
    printed = done.stdout + done.stderr
    assert "the lock of a run that ended without removing it was taken over (node17" in printed
    assert done.returncode == 75, printed


def test_a_lock_of_another_host_that_is_alive_is_refused(tmp_path, tiny_tokenizer_dir):
    """Another host is played by a process that writes its signs of life, as another machine's rank would."""
    config = write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)
    lock = tmp_path / "runs" / "small" / ".lock"
    lock.mkdir(parents=True)
    beat = (
        "import json, sys, time\n"
        "for beats in range(1000):\n"
        "    entry = dict(token='x', beats=beats, rank=3, host='node17', machine='m', pid=5, began=1)\n"
        f"    open({str(lock / 'rank-00003.json')!r}, 'w').write(json.dumps(entry))\n"
        "    time.sleep(2)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", beat], cwd=HOUSE, env=environment())
    try:
        time.sleep(1)
        done = program("train.py", "--config", config, check=False)
    finally:
        other.kill()
        other.wait()
    assert done.returncode == 2
    assert "rank 3 on node17 (process 5) still works there" in done.stderr
