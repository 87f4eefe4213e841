"""Any number of ranks under DeepSpeed computes what one process in float64 computes, for every stage and division.

`pytest test_exact.py -s` prints the largest distances; with `-m slow`, those of the whole product of settings.

Gradients are compared at every step, with the reference put at the weights that the ranks had before that step, so that
each step is judged alone; weights, norms and moments on the two trajectories, which had only their start in common.
"""

import json
from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch

from tests.support import exact_reference as ref
from tests.support.exact_cases import (
    FILES,
    PAIRS,
    PARTS,
    PRODUCT,
    RANKS,
    Distance,
    distance,
    launch,
    table,
    write_config,
)
from tests.support.launch import HOUSE

pytestmark = pytest.mark.timeout(600)  # for two ranks beside another worker's
BATCHES = ("mixed", "by_task")


class World:
    """What the launches found; each is made when it is first asked for."""

    def __init__(self, folder, tokenizer) -> None:
        self.config = write_config(folder, tokenizer)
        self.distances: dict[tuple[int, str], Distance] = {}
        self.reference = cache(self._reference)
        self.launched = cache(self._launched)

    def _reference(self, batches: str) -> tuple[ref.Reference, ref.Run]:
        reference = ref.Reference(self.config, [f"mixture.batches={batches}"])
        return reference, reference.train()

    def _launched(self, ranks: int, whole: bool):
        cases = {name: PRODUCT[name] for name in (PRODUCT if whole else PAIRS)}
        # The norm that clips shows in the moments after the first steps; heads that sit out, in those of all steps.
        steps = list(range(ref.STEPS)) if ranks == 2 else [0, 1]
        cases = {name: {**case, "moments": steps} for name, case in cases.items()}
        if ranks == 2 and not whole:
            cases |= FILES | PARTS
        return launch(ranks, self.config, cases, timeout=1500 if whole else 500, fresh=True)

    def found(self, ranks: int, name: str, whole: bool = False) -> dict:
        """What rank 0 saved of a case."""
        return torch.load(self.launched(ranks, whole) / f"{name}.pt", weights_only=False)

    def check(self, ranks: int, name: str, whole: bool) -> None:
        """The promise, for one case."""
        found = self.found(ranks, name, whole)
        assert [len(step) for step in found["tasks"]] == [PRODUCT[name]["micro_steps"]] * ref.STEPS
        far = distance(found, *self.reference("by_task" if "by_task" in name else "mixed"))
        self.distances[ranks, name] = far
        assert far.gradient < 1e-5, far
        assert far.zero < 1e-6, far
        assert far.norm < 2e-5, far
        assert far.moment < 1e-4, far  # a clip by another norm (a rank's own) would be a factor, not a rounding
        assert far.weight < 0.02, far


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_tokenizer_dir):
    made = World(tmp_path_factory.mktemp("exact"), tiny_tokenizer_dir)
    yield made
    if made.distances:
        print(f"\n{table(made.distances)}")


@pytest.mark.parametrize(("ranks", "name"), [(ranks, name) for ranks in RANKS[:2] for name in PAIRS])
def test_ranks_equal_one_float64_process(world, ranks, name):
    world.check(ranks, name, whole=False)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("ranks", RANKS)
def test_the_whole_product_equals_one_float64_process(world, ranks):
    for name in PRODUCT:
        world.check(ranks, name, whole=True)


def test_every_two_settings_meet_in_the_fast_part():
    def settings(names):
        return {pair for name in names for pair in combinations(enumerate(name.split("-")), 2)}

    assert settings(PAIRS) == settings(PRODUCT)


@pytest.mark.parametrize("ranks", [*RANKS[:2], pytest.param(RANKS[2], marks=pytest.mark.slow)])
def test_the_work_is_divided_as_claimed(world, ranks):
    """Ranks of one step have different tasks, and ranks (or micro-steps) are without rows of some of its heads."""
    for name in ("stage1-mixed-small-micro1", "stage2-mixed-small-micro3"):
        steps = world.found(ranks, name, ranks == RANKS[2])["tasks"]  # [step][micro-step][rank] -> tasks with rows
        differ = [any(one != micro[0] for micro in step for one in micro) for step in steps]
        whole = [{task for micro in step for one in micro for task in one} for step in steps]
        lacks = [
            any(set(one) != all_ for micro in step for one in micro) for step, all_ in zip(steps, whole, strict=True)
        ]
        if ranks > 1:
            assert sum(differ) >= 4, differ  # of 5
        if ranks > 1 or name.endswith("micro3"):
            assert sum(lacks) >= 4, lacks
        assert any(len(tasks) < 5 for tasks in whole)  # a head without rows on any rank
    for step in world.found(ranks, "stage2-by_task-large-micro3", ranks == RANKS[2])["tasks"]:
        assert len({task for micro in step for one in micro for task in one}) == 1


def test_the_reference_trains_and_clips(world):
    """Every head moves, some steps are clipped and some are not, in either kind of batch."""
    for batches in BATCHES:
        norms = world.reference(batches)[1].norms
        assert min(norms) < ref.CLIP < max(norms[:2])
    reference, run = world.reference("mixed")
    for name, start in reference.start.items():
        assert not torch.equal(start, run.weights[-1][name]), name


def _group(name: str) -> str:
    """The parameter group of a parameter, by the names of mtl/distributed/optimizer.py."""
    parts = name.split(".")
    return parts[1] if parts[0] == "heads" else "pooler" if parts[1] == "pooler" else "encoder"


@pytest.mark.parametrize("name", PAIRS)
def test_a_head_without_rows_is_left_alone(world, name):
    """Weights, moments and AdamW's own count stay, to the bit, as torch's AdamW leaves a missing gradient."""
    found, run = world.found(2, name), world.reference("by_task" if "by_task" in name else "mixed")[1]
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
        for parameter, count in run.counts[step].items():
            assert found["counts"][step][_group(parameter)] == count, (step, parameter)
    assert trained_before > 0  # else nothing could have moved


@pytest.mark.parametrize("name", FILES)
def test_every_deepspeed_config_runs_and_is_as_exact_as_its_precision(world, name):
    """bf16 rounds to 8 bits, so only the size of the error is looked at."""
    found, (_, run) = world.found(2, name), world.reference("mixed")
    assert max(len(step) for step in found["tasks"]) > 1
    half = json.loads((HOUSE / "ds_configs" / f"{name}.json").read_text()).get("bf16", {}).get("enabled", False)
    np.testing.assert_allclose(found["norms"], run.norms, rtol=0.05 if half else 2e-5)
    moved = torch.cat([(found["weights"][-1][n].double() - w).flatten() for n, w in run.weights[-1].items()])
    # A step moves a weight by about the learning rate at most; Adam makes of bf16's noise a part of that.
    assert moved.abs().mean() < (0.2 if half else 0.002) * ref.LR * ref.STEPS
    assert moved.abs().max() < (2 if half else 0.02) * ref.LR * ref.STEPS


def _flat(grads: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([grads[name].double().flatten() for name in sorted(grads)])


def _off(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_bf16_accumulates_in_float32(world):
    """A step's gradient is the sum of its micro-steps' own gradients to float32 rounding, not to bf16's 2^-9.

    Stage 1 rounds the sum once more where it is reduced over ranks, in bf16 unless told otherwise: so it is looked at
    with both. The counter-examples, accumulated in bf16, show that this can fail.
    """
    rounding = {}
    for name in PARTS:
        found = world.found(2, name)
        assert found["buffer"] == {"torch.bfloat16" if name.endswith("-bf16") else "torch.float32"}, name
        rounding[name] = _off(_flat(found["together"]), sum(_flat(grads) for grads in found["alone"]))
    print(
        "\nbf16, gradient of a step against the sum of its micro-steps:", {n: f"{r:.1e}" for n, r in rounding.items()}
    )
    assert rounding["zero2-6"] < 1e-6
    assert rounding["zero1-6-reduced-fp32"] < 1e-6
    assert rounding["zero2-6-bf16"] > 1e-3
    assert rounding["zero1-6-reduced-fp32-bf16"] > 1e-3
    assert rounding["zero1-6"] < 2**-8  # one rounding to bf16, whatever the number of micro-steps


@pytest.mark.parametrize("name", ["zero1", "zero2"])
def test_bf16_accumulation_adds_nothing_to_its_error(world, name):
    """Against float64 at the rounded weights, six micro-steps are not further off than one."""
    reference, _ = world.reference("mixed")
    expected = _flat(reference.gradients(0, {n: w.bfloat16().double() for n, w in reference.start.items()}))
    one, six = (_off(_flat(world.found(2, f"{name}-{k}")["together"]), expected) for k in (1, 6))
    print(f"\nbf16, {name}: gradient off by {one:.2%} in one micro-step, {six:.2%} in six")
    assert 0 < six < 1.25 * one
    assert one < 0.02  # bf16, and nothing worse
