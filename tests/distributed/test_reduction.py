"""Gradients of ZeRO-2 reduced by mtl/distributed/zero2_gradients.py are DeepSpeed's own, to the bit."""

import pytest
import torch

from mtl.distributed import zero2_gradients
from tests.support.exact_cases import launch, write_config

CASES = {
    "bf16": {"set": ["deepspeed=zero2.json"], "micro_steps": 3},
    "bf16-buckets": {
        "set": ["deepspeed=zero2.json"], "ds": {"communication_data_type": "fp32"}, "bucket": 5000, "micro_steps": 2,
    },
    "fp32-buckets": {"set": ["deepspeed=zero2_cpu.json"], "bucket": 5000, "micro_steps": 3},
}  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_tokenizer_dir):
    return write_config(tmp_path_factory.mktemp("reduction"), tiny_tokenizer_dir)


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_steps_are_those_of_deepspeed_and_one_left_out_changes_nothing(config, ranks):
    """Three ranks: no power of two, so that the mean rounds; partitions cut parameters.

    No parameter is larger than a bucket: DeepSpeed would send it in pieces, and gloo add them up in another order.
    """
    cases = {}
    for name, case in CASES.items():
        file = case["set"][0].partition("=")[2]
        zero = {"stage": 2, "overlap_comm": file == "zero2.json"}
        if "bucket" in case:
            zero["reduce_bucket_size"] = case["bucket"]
        ds = {**case.get("ds", {}), "zero_optimization": zero}
        sets = [*case["set"], "mixture.batches=mixed"]
        for theirs in (False, True):
            key = f"{name}-{'theirs' if theirs else 'ours'}"
            cases[key] = {"set": sets, "ds": ds, "micro_steps": case["micro_steps"], "moments": [4], "theirs": theirs}
        cases[f"{name}-spoiled"] = {**cases[f"{name}-ours"], "spoiled": [0, 3]}
    folder = launch(ranks, config, cases, timeout=280)
    for name in CASES:
        ours, theirs = (torch.load(folder / f"{name}-{who}.pt", weights_only=False) for who in ("ours", "theirs"))
        assert ours["norms"] == theirs["norms"], name
        for key in ("grads", "weights"):
            for number, (mine, other) in enumerate(zip(ours[key], theirs[key], strict=True)):
                assert mine.keys() == other.keys()
                wrong = [parameter for parameter in mine if not torch.equal(mine[parameter], other[parameter])]
                assert not wrong, (name, key, number, wrong)
        assert all(torch.equal(ours["exp_avg"][4][n], m) for n, m in theirs["exp_avg"][4].items()), name
        assert any(m.any() for m in ours["exp_avg"][4].values())
        # Left out, a step changes nothing: weights of all steps, moments and counts are those of a run without it.
        left = torch.load(folder / f"{name}-spoiled.pt", weights_only=False)
        assert left["norms"] == ours["norms"] and left["counts"] == ours["counts"], name
        for number, (mine, other) in enumerate(zip(left["weights"], ours["weights"], strict=True)):
            assert all(torch.equal(mine[n], weight) for n, weight in other.items()), (name, number)
        for key in ("exp_avg", "exp_avg_sq"):
            assert all(torch.equal(left[key][4][n], m) for n, m in ours[key][4].items()), (name, key)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("partition_gradients", False), ("cpu_offload", True), ("gradient_accumulation_dtype", torch.bfloat16),
        ("contiguous_gradients", False), ("reduce_scatter", False), ("use_multi_rank_bucket_allreduce", False),
        ("round_robin_gradients", True), ("optimizer", torch.optim.AdamW([torch.zeros(1)])),
    ],
)  # fmt: skip
def test_other_optimizers_are_left_alone(field, value):
    class Optimizer:
        partition_gradients = True
        cpu_offload = round_robin_gradients = overlap_comm = False
        gradient_accumulation_dtype = torch.float32
        contiguous_gradients = reduce_scatter = use_multi_rank_bucket_allreduce = True
        optimizer = torch.optim.AdamW([torch.zeros(1)], fused=True)

    assert zero2_gradients.fits(Optimizer)
    setattr(Optimizer, field, value)
    assert not zero2_gradients.fits(Optimizer)
