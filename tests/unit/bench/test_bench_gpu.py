"""bench/gpu.py runs from end to end (here on CPU ranks), and what it reckons is right where a GPU is not needed."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench import flops, gpu, idle
from bench.turns import Contestant, Ended
from mtl.data.packing import mask_tokens, pack
from mtl.model.encoder import encode
from mtl.run import setup
from tests.support.small import SHAPE, write_run


@pytest.mark.parametrize("checkpointing", [False, True])
def test_operations_are_those_that_torch_counts(tmp_path, tiny_tokenizer_dir, checkpointing):
    """Forwards and backwards, on packed rows of every kind; what checkpointing repeats does not count."""
    made = setup.read(str(write_run(tmp_path, tiny_tokenizer_dir)), [])
    encoder = made.model().encoder.train()
    items = []
    for t, task in enumerate(made.tasks):
        for number, row in enumerate(task.train.take(np.arange(4))):
            mlm = task.task.kind == "mlm"
            items.append((t, mask_tokens(row, made.special, 0.15, (1, 2, number)) if mlm else row))
    batch = pack(items, [(task.name, task.task.kind) for task in made.tasks], made.special)
    read = torch.cat([rows.tokens for rows in batch.heads.values()])
    if checkpointing:
        encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        encode(encoder, batch, tokens=read).sum().backward()
    ours = flops.of_batch(flops.shape_of(made.source), batch)
    assert 0 < len(read) < batch.tokens
    if not checkpointing:
        assert counter.get_total_flops() == ours
    else:
        # All blocks but the last, which is not checkpointed, go forwards once more.
        d, f = SHAPE["hidden_size"], SHAPE["intermediate_size"]
        squares = sum(length**2 for length in batch.seq_lengths)
        again = (SHAPE["num_hidden_layers"] - 1) * (batch.tokens * (8 * d * d + 4 * d * f) + 4 * d * squares)
        assert ours < counter.get_total_flops() <= ours + again


def test_operations_of_xlmr_large():
    """Six for each of the 302 million weights of the blocks, and 12 L d s for attention, of every token."""
    from bench.workload import SHAPES

    weights = 24 * (4 * 1024 * 1024 + 2 * 1024 * 4096)
    s, tokens = 128, 65_536
    expected = 6 * weights * tokens + 12 * 24 * 1024 * s * tokens
    assert flops.operations(SHAPES["large"], tokens, tokens * s, tokens) == expected


def test_idle_share_of_a_trace():
    """Two streams that overlap, a gap of 20 of 100 microseconds; what is not work of the GPU does not count."""

    def event(category, start, duration, phase="X"):
        return {"ph": phase, "cat": category, "ts": start, "dur": duration, "name": "x"}

    trace = {
        "traceEvents": [
            event("kernel", 1050, 30), event("kernel", 1000, 40), event("gpu_memcpy", 1030, 10),
            event("gpu_memset", 1090, 10), event("kernel", 1055, 5),
            event("gpu_user_annotation", 1000, 100), event("cuda_runtime", 900, 400), event("kernel", 0, 9, "i"),
            {"ph": "M", "name": "process_name"},
        ]
    }  # fmt: skip
    assert idle.of_trace(trace) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="no activity"):
        idle.of_trace({"traceEvents": [event("cuda_runtime", 0, 5)]})


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), min_size=1, max_size=12))
def test_idle_share_equals_counting(found):
    """Against counting the microseconds in which anything runs, one by one."""
    intervals = [(start, start + length) for start, length in found]
    running = {at for start, end in intervals for at in range(start, end)}
    whole = max(end for _, end in intervals) - min(start for start, _ in intervals)
    assert idle.share(intervals) == pytest.approx(1 - len(running) / whole)


def test_a_variant_that_runs_out_of_memory_is_a_row(tmp_path):
    began = time.monotonic()
    with pytest.raises(Ended) as caught:
        program = "print('torch.OutOfMemoryError: CUDA out of memory. Tried'); raise SystemExit(1)"
        Contestant("big", [sys.executable, "-c", program], {}, tmp_path / "log").ready()
    assert time.monotonic() - began < 20  # at once, not when patience ends
    assert gpu._reason(caught.value) == "out of memory"
    other = Ended("x", tmp_path / "log")
    other.log = "Traceback\nValueError: no such thing\n"
    assert gpu._reason(other) == "failed: ValueError: no such thing"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both groups, a variant switched in place, the Trainer, and one that comes too late."""
    path = tmp_path / "out.json"
    only = [word for name in ("trainer_grouped", "checkpointing", "32_trainer_grouped") for word in ("--only", name)]
    size = ["--shape", "tiny", "--vocabulary", "2000", "--tokens", "2500", "--rows", "4", "--ranks", "2"]
    gpu.main([*size, "--rounds", "2", "--steps", "1", *only, "--json", str(path)])
    result = json.loads(path.read_text(encoding="utf-8"))
    rows = result["rows"]
    assert list(rows) == ["default", "trainer_grouped", "checkpointing", "32", "32_trainer_grouped"]
    for name, row in rows.items():
        assert row["status"] == "ok", (name, row)
        assert row["tokens_per_second"] > 0 and len(row["rounds"]) == 2
        assert row["mfu"] is None and row["idle"] is None  # only a GPU can say
        assert all(abs(row["losses"][task] / loss - 1) < 1e-3 for task, loss in rows["default"]["losses"].items())
        assert len(row["losses"]) == 9
    assert rows["checkpointing"]["against"] == "default" and rows["32_trainer_grouped"]["against"] == "32"
    assert len(rows["checkpointing"]["ratios"]) == 2
    assert rows["default"]["padding"] == 1 < rows["trainer_grouped"]["padding"]
    assert set(result["memory_plan"]) == {"1", "8", "64"}
    printed = capsys.readouterr().out
    assert "| checkpointing | " in printed and flops.FORMULA in printed and "64 GPUs: " in printed
    gpu.main([*size, "--rounds", "1", "--only", "checkpointing", "--seconds", "0", "--json", str(path)])
    assert json.loads(path.read_text(encoding="utf-8"))["rows"] == {
        "checkpointing": {"status": "not run: the time was up"}
    }
