"""Training on a GPU: the exact step, compiled blocks too, runs that stop and go on, gradients reduced beside the pass.

One GPU is enough. What needs several (messages of NCCL) is not tested here; the same code runs over gloo elsewhere.
"""

import json
import sys

import numpy as np
import pytest
import torch

from mtl.distributed import engine, zero2_gradients
from mtl.distributed.shutdown import STOPPED
from mtl.run import setup
from tests.support.exact_cases import GPU, World
from tests.support.launch import free_port, run
from tests.support.live import differences, metrics
from tests.support.small import SHAPE, write_run

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def on_gpu(monkeypatch):
    monkeypatch.setenv("INTERMEZZO_TEST_ACCELERATOR", "cuda")


def test_float32_equals_one_float64_process(tmp_path, tiny_tokenizer_dir):
    """Every stage, with several micro-steps, compiled and not, as test_exact.py has it for CPU ranks."""
    world = World(tmp_path, tiny_tokenizer_dir)
    for name in GPU:
        far = world.distance("GPU", name)
        assert far.gradient < 1e-4 and far.zero < 1e-5 and far.norm < 1e-4 and far.moment < 1e-3, (name, far)
        assert far.weight < 0.05, (name, far)


def train(path, *more, code=0):
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_gpus", 1, "--master_port", free_port()]
    return run(*launcher, "train.py", "--config", path, *more, timeout=280, code=code)


def test_a_stopped_and_resumed_run_is_bitwise_identical(tmp_path, tiny_tokenizer_dir):
    """bf16, ZeRO-2, our attention, dropout; stopped by its time limit and started again, beside a run that was not."""
    shape = {**SHAPE, "hidden_size": 64}  # heads of 16
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
        path = write_run(
            tmp_path / name, tiny_tokenizer_dir, steps=30, log_every=1, hidden_dropout_prob=0.1, micro_tokens=320,
            deepspeed="zero2.json", evaluate={"every": 10, "examples": 8}, optimizer={"lr": 1e-3},
            encoder={"config": shape, "tokenizer": str(tiny_tokenizer_dir)},
        )  # fmt: skip
        folder = tmp_path / name / "runs" / "small"
        if name == "stopped":
            train(path, "--time-limit", "0:00:01", code=STOPPED)
            assert not (folder / "done").exists()
        train(path)
        assert (folder / "done").exists()
        assert json.loads((folder / "run.json").read_text())["attention"] == "triton"
    assert not differences(folder, tmp_path / "whole" / "runs" / "small")
    losses = [line["loss"] for line in metrics(folder) if line["kind"] == "train" and line["task"] == "all"]
    assert len(losses) == 30
    first, last = losses[:7], losses[-7:]
    assert np.mean(last) < np.mean(first)


def test_reduction_beside_the_backward_pass(tmp_path, tiny_tokenizer_dir):
    """On a stream of its own, in many buckets of large gradients, the sums are bitwise those of one stream."""
    engine.connect()
    shape = {**SHAPE, "hidden_size": 1024, "intermediate_size": 4096}
    encoder = {"config": shape, "tokenizer": str(tiny_tokenizer_dir)}
    made = setup.read(str(write_run(tmp_path, tiny_tokenizer_dir, encoder=encoder)), ["deepspeed=zero2.json"])
    made.ds["zero_optimization"]["reduce_bucket_size"] = 3_000_000
    runner = engine.Engine(made.model(), made.run, made.ds, made.plan.steps)
    optimizer = runner.ds.optimizer
    group, parameters = max(enumerate(optimizer.bit16_groups), key=lambda pair: sum(p.numel() for p in pair[1]))
    found = []
    for stream in (None, torch.cuda.Stream()):
        one, flushes = zero2_gradients.GradientReducer(optimizer), []
        one._ranks, one._stream = 2, stream  # of one process: what is divided by 2 is then not added up again
        inner = one._reduced
        one._reduced = lambda grads, inner=inner, flushes=flushes: (flushes.append(len(grads)), inner(grads))[1]
        generator = torch.Generator("cuda").manual_seed(1)
        for _ in range(3):
            for parameter in parameters:
                noise = torch.randn(2000, 2000, device="cuda", generator=generator, dtype=parameter.dtype)
                for _ in range(3):  # the gradient is late
                    noise = noise @ noise / 45
                grad = noise.view(-1).repeat(2)[: parameter.numel()] + 1
                parameter.grad = grad.view(parameter.shape).clone()
                one.add(parameter)
            one.finish()
        assert len(flushes) > 3 * 2 * zero2_gradients.IN_FLIGHT
        found.append(optimizer.averaged_gradients[group].flat_partition.clone())
        optimizer.averaged_gradients.clear()
    assert found[0].isfinite().all() and found[0].any()
    assert torch.equal(*found)
    torch.distributed.destroy_process_group()
