"""Any number of ranks under DeepSpeed computes what one process in float64 computes, for every stage and division.

`pytest test_exact.py -s` prints the largest distances. Gradients are compared at every step, with the reference put at
the weights that the ranks had before that step, so that each step is judged alone; weights, norms and moments on the
two trajectories, which had only their start in common.
"""

import json

import numpy as np
import pytest
import torch

from tests.support import exact_reference as ref
from tests.support.exact_cases import BITWISE, EXACT, FILES, LAUNCHES, OFFLOAD, PARTS, World
from tests.support.launch import REPOSITORY
from tests.support.small import KINDS

pytestmark = pytest.mark.timeout(600)
SLOW = [pytest.mark.slow, pytest.mark.timeout(1800)]
BOTH = (("1 rank", "bf16-buckets"), *(("3 ranks", name) for name in BITWISE))
MORE = (pytest.param(name, marks=SLOW) for name in ("1 rank", "4 ranks", "2 ranks, families", "2 ranks, compiled"))


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_tokenizer_dir):
    return World(tmp_path_factory.mktemp("exact"), tiny_tokenizer_dir)


@pytest.mark.parametrize("launch", ["2 ranks", *MORE])
def test_ranks_equal_one_float64_process(world, launch):
    cases = {name: case for name, case in LAUNCHES[launch][1].items() if "batches" in case}
    assert cases
    for name, case in cases.items():
        far, steps = world.distance(launch, name), world.found(launch, name)["tasks"]
        print(f"\n{launch}, {name}: {far}", end="")
        assert [len(step) for step in steps] == [case["micro_steps"]] * ref.STEPS
        assert far.gradient < 1e-5, (name, far)
        assert far.zero < 1e-6, (name, far)
        assert far.norm < 2e-5, (name, far)
        assert far.moment < 1e-4, (name, far)  # a clip by another norm (a rank's own) would be a factor, not a rounding
        assert far.weight < 0.02, (name, far)


@pytest.mark.parametrize("launch", ["2 ranks", pytest.param("4 ranks", marks=SLOW)])
def test_the_work_is_divided_as_claimed(world, launch):
    """Ranks of one step have different tasks, some without rows of some of its heads; and some head is without any."""
    for name in ("stage1-mixed-small-micro1", "stage2-mixed-small-micro3"):
        differ, lacks, whole = 0, 0, []
        for step in world.found(launch, name)["tasks"]:  # [micro-step][rank] -> tasks with rows
            whole.append({task for micro in step for one in micro for task in one})
            differ += any(one != micro[0] for micro in step for one in micro)
            lacks += any(set(one) != whole[-1] for micro in step for one in micro)
        assert differ >= 4 and lacks >= 4  # of 5
        assert any(len(tasks) < len(KINDS) for tasks in whole)
    for step in world.found(launch, "stage2-by_task-large-micro3")["tasks"]:
        assert len({task for micro in step for one in micro for task in one}) == 1


def test_the_reference_trains_and_clips(world):
    """Every head moves, some steps are clipped and some are not, in either kind of batch."""
    for batches in ("mixed", "by_task"):
        norms = world.reference(batches)[1].norms
        assert min(norms) < ref.CLIP < max(norms[:2])
    reference, run = world.reference("mixed")
    for name, start in reference.start.items():
        assert not torch.equal(start, run.weights[-1][name]), name


@pytest.mark.parametrize("name", EXACT)
def test_a_head_without_rows_is_left_alone(world, name):
    """Weights and moments stay bitwise, as torch's AdamW leaves a missing gradient.

    Its count of steps stays too: else a later step would have another bias correction, and other weights at the end.
    """
    found, (_, run) = world.found("2 ranks", name), world.reference(EXACT[name]["batches"])
    trained_before = 0
    for step, tasks in enumerate(found["tasks"]):
        present = {task for micro in tasks for one in micro for task in one}
        absent = [n for n in found["weights"][0] if n.startswith("heads.") and n.split(".")[1] not in present]
        absent += [n for n in found["weights"][0] if ".pooler." in n and "my_choice" not in present]
        assert set(absent) == set(found["weights"][0]) - set(run.grads[step])
        for parameter in absent:
            assert torch.equal(found["weights"][step][parameter], found["weights"][step + 1][parameter])
            for key in ("exp_avg", "exp_avg_sq"):
                after = found[key][step][parameter]
                assert torch.equal(after, found[key][step - 1][parameter] if step else torch.zeros_like(after))
            trained_before += bool(found["exp_avg"][step][parameter].any())
    assert trained_before > 0  # else nothing could have moved


@pytest.mark.parametrize("name", [*FILES, *(pytest.param(name, marks=SLOW) for name in OFFLOAD)])
def test_every_deepspeed_config_runs_and_is_as_exact_as_its_precision(world, name):
    """bf16 rounds to 8 bits, so only the size of the error is looked at."""
    found = world.found("2 ranks, compiled" if name in OFFLOAD else "2 ranks", name)
    _, run = world.reference("mixed")
    assert max(len(step) for step in found["tasks"]) > 1
    half = json.loads((REPOSITORY / "ds_configs" / f"{name}.json").read_text()).get("bf16", {}).get("enabled", False)
    np.testing.assert_allclose(found["norms"], run.norms, rtol=0.05 if half else 2e-5)
    moved = torch.cat([(found["weights"][-1][n].double() - w).flatten() for n, w in run.weights[-1].items()])
    # A step moves a weight by about the learning rate at most; Adam makes of bf16's noise a part of that.
    assert moved.abs().mean() < (0.2 if half else 0.002) * ref.LR * ref.STEPS
    assert moved.abs().max() < (2 if half else 0.02) * ref.LR * ref.STEPS


def _flat(grads: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([grads[name].double().flatten() for name in sorted(grads)])


def test_bf16_accumulates_in_float32(world):
    """A step's gradient is the sum of its micro-steps' own gradients to float32 rounding, not to bf16's 2^-9.

    Stage 1 rounds the sum once more where it is reduced over ranks, in bf16 unless the config says otherwise: so it is
    looked at with both. Accumulated in bf16, the same comparison is far off.
    """
    rounding = {}
    for name in PARTS:
        found = world.found("2 ranks", name)
        together, alone = _flat(found["together"]), sum(_flat(grads) for grads in found["alone"])
        rounding[name] = float((together - alone).norm() / alone.norm())
    print("\nbf16, gradient of a step against the sum of its micro-steps:", rounding)
    assert rounding["parts-zero2"] < 1e-6
    assert rounding["parts-zero1-reduced-fp32"] < 1e-6
    assert rounding["parts-zero2-bf16"] > 1e-3
    assert rounding["parts-zero1"] < 2**-8  # one rounding to bf16, whatever the number of micro-steps


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], tensor) for name, tensor in other.items())


def _same(one: dict, other: dict, lists: tuple[str, ...]) -> None:
    """Norms, the tensors of every step in `lists`, and the moments at the end are bitwise equal."""
    assert one["norms"] == other["norms"]
    for key in lists:
        wrong = [step for step, pair in enumerate(zip(one[key], other[key], strict=True)) if not _equal(*pair)]
        assert not wrong, (key, wrong)
    for key in ("exp_avg", "exp_avg_sq"):
        assert _equal(one[key][ref.STEPS - 1], other[key][ref.STEPS - 1]), key
    assert any(moment.any() for moment in one["exp_avg"][ref.STEPS - 1].values())


@pytest.mark.parametrize(("launch", "name"), [pytest.param(*both, marks=SLOW) for both in BOTH])
def test_our_zero2_gradients_and_step_are_bitwise_those_of_deepspeed(world, launch, name):
    """The same norm clips on both sides; DeepSpeed's own, in float32, is compared with float64 in the cases `-off`."""
    ours, theirs = (world.found(launch, f"{name}-{side}") for side in ("ours", "theirs"))
    _same(ours, theirs, ("grads", "weights"))


@pytest.mark.parametrize("side", [pytest.param(side, marks=SLOW) for side in ("ours", "theirs")])
def test_a_step_left_out_changes_nothing(world, side):
    """Left out because a gradient was infinite: weights of all steps and moments are those of a run without."""
    whole, spoiled = (world.found("3 ranks", f"bf16-buckets-{side}{suffix}") for suffix in ("", "-spoiled"))
    _same(spoiled, whole, ("weights",))
