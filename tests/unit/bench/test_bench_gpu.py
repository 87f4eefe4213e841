"""bench/gpu.py runs from end to end (here on CPU ranks); FLOPs are those that torch counts, idle time is counted."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench import flops, gpu, idle
from mtl.model.encoder import encode
from mtl.run import setup
from tests.support.packing import pack_rows
from tests.support.small import items_of, write_run


def test_operations_are_those_that_torch_counts(tmp_path, tiny_tokenizer_dir):
    """Forwards and backwards, on packed rows of every kind."""
    made = setup.read(str(write_run(tmp_path, tiny_tokenizer_dir)), [])
    encoder = made.model().encoder.train()
    batch = pack_rows(items_of(made, 4), [(task.name, task.task.kind) for task in made.tasks], made.special)
    read = torch.cat([rows.tokens for rows in batch.heads.values()])
    assert 0 < len(read) < batch.tokens
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        encode(encoder, batch, tokens=read).sum().backward()
    assert counter.get_total_flops() == flops.of_batch(flops.shape_of(made.source), batch)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), min_size=1, max_size=12))
def test_idle_share_equals_counting(found):
    """Against counting the microseconds in which anything runs, one by one; only work of the GPU counts."""
    categories = ["kernel", "gpu_memcpy", "gpu_memset"]
    events = [
        {"ph": "X", "cat": categories[i % 3], "ts": 1000 + start, "dur": length, "name": "x"}
        for i, (start, length) in enumerate(found)
    ]
    running = {at for start, length in found for at in range(start, start + length)}
    span = max(running) + 1 - min(running)
    other = [{"ph": "X", "cat": name, "ts": 900, "dur": 400} for name in ("cuda_runtime", "gpu_user_annotation")]
    other += [{"ph": "i", "cat": "kernel", "ts": 0, "dur": 9}, {"ph": "M", "name": "process_name"}]
    assert idle.of_trace({"traceEvents": [*other, *events]}) == pytest.approx(1 - len(running) / span)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A variant switched in place and the Trainer, each against ours; and one that comes too late."""
    path = tmp_path / "out.json"
    size = ["--shape", "tiny", "--vocabulary", "2000", "--tokens", "2500", "--rows", "4", "--ranks", "2"]
    size += ["--only", "checkpointing", "--json", str(path)]
    gpu.main([*size, "--rounds", "2", "--steps", "1", "--only", "trainer_grouped"])
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert list(rows) == ["default", "trainer_grouped", "checkpointing"]
    for name, row in rows.items():
        assert row["status"] == "ok", (name, row)
        assert row["tokens_per_second"] > 0 and len(row["rounds"]) == 2
        assert row["mfu"] is None and row["idle"] is None  # only a GPU can say
        assert all(abs(row["losses"][task] / loss - 1) < 1e-3 for task, loss in rows["default"]["losses"].items())
    assert rows["checkpointing"]["against"] == "default" and len(rows["checkpointing"]["ratios"]) == 2
    assert "| checkpointing | " in capsys.readouterr().out
    gpu.main([*size, "--rounds", "1", "--seconds", "0"])
    late = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert late == {"checkpointing": {"status": "not run: the time was up"}}
