"""One rank of tests/distributed/test_exact.py: runs several engines one after another and saves what they computed.

    torchrun --nproc_per_node RANKS tests/support/exact_worker.py CASES.json OUT

A case is a run config with overrides (`config`, `set`), DeepSpeed keys over those of its file (`ds`), `micro_steps`
(how many each global step is divided into; absent: what the run's own `micro_tokens` gives), `moments` (the steps
after which AdamW's are kept), `same_norm` (DeepSpeed's own step clips by our float64 norm instead of its float32
one) and `spoiled` (steps that are first made with an infinite number in the gradient, so that they are left out). Rank
0 writes OUT/CASE.pt; see `record` and `parts`. Gradients are seen from around DeepSpeed's own `step`; the engine under
test is otherwise unchanged.
"""

import contextlib
import functools
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import deepspeed.comm
import numpy as np
import torch
from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_grad, safe_get_full_optimizer_state

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mtl.data import loader
from mtl.data.plan import Step
from mtl.distributed import engine, grad_norm
from mtl.run import setup

MOMENTS = ("exp_avg", "exp_avg_sq")
read = functools.cache(lambda config, overrides: setup.read(config, list(overrides)))


def main() -> None:
    cases, out = map(Path, sys.argv[1:])
    rank, ranks, _ = engine.connect()
    for name, case in json.loads(cases.read_text()).items():
        found = (parts if case.get("parts") else record)(case, rank, ranks)
        if rank == 0:
            torch.save(found, out / f"{name}.pt")
    torch.distributed.destroy_process_group()


def make(case: dict[str, Any]) -> tuple[setup.Setup, engine.Engine]:
    made = read(case["config"], tuple(case["set"]))
    runner = engine.Engine(made.model(), made.run, {**made.ds, **case.get("ds", {})}, made.plan.steps)
    assert runner.ds.module.encoder.is_gradient_checkpointing == made.run.gradient_checkpointing
    if case.get("same_norm"):
        runner.ds.optimizer.scaled_global_norm = lambda norm_type=2: grad_norm.norm(runner.ds.optimizer).cpu()
    return made, runner


def record(case: dict[str, Any], rank: int, ranks: int) -> dict[str, Any]:
    """The whole run. Lists by step of {parameter: tensor}: `weights` (before each step, and at the end), `grads` (the
    full reduced gradient before clipping); `norms`; `tasks` [step][micro-step][rank] -> tasks with rows. By step
    number, after it: `exp_avg`, `exp_avg_sq` {parameter: tensor}.
    """
    made, runner = make(case)
    found: dict[str, Any] = {"norms": [], "tasks": [], "weights": [], "grads": [], **{key: {} for key in MOMENTS}}
    see_gradients(runner, found["grads"])
    for step in loader.steps_from(made.plan, 0):
        shares = divide(step, ranks, case.get("micro_steps"), made.run.micro_tokens)
        batches = loader.micro_batches(made.plan, step, shares, rank, made.special)
        names = [task.name for task in made.plan.tasks]
        found["weights"].append(weights(runner))
        present = {names[t] for t in np.flatnonzero(step.counts)}
        keys = loader.pair_keys(made.plan, step)
        if step.number in case.get("spoiled", []):
            with spoiled(runner):
                _, norm, _ = runner.step(step.number, batches, present, keys)
            assert math.isinf(norm), norm
            found["grads"].pop()
        _, norm, _ = runner.step(step.number, batches, present, keys)
        found["norms"].append(norm)
        found["tasks"].append([[sorted({names[t] for t in step.task[p]}) for p in ranks_] for ranks_ in shares])
        if step.number in case.get("moments", []):
            found |= {key: {**found[key], step.number: moments(runner, key)} for key in MOMENTS}
    found["weights"].append(runner.full_weights())
    return found


def parts(case: dict[str, Any], rank: int, ranks: int) -> dict[str, Any]:
    """`together`: the gradient of step 0 over its micro-steps; `alone`: those of each micro-step alone, by one engine.

    The learning rate is 0, so that all are taken at the same weights.
    """
    made, runner = make(case)
    found: list[dict[str, torch.Tensor]] = []
    see_gradients(runner, found, freeze=True)
    step = next(iter(loader.steps_from(made.plan, 0)))
    shares = divide(step, ranks, case["micro_steps"], made.run.micro_tokens)
    batches = loader.micro_batches(made.plan, step, shares, rank, made.special)
    present = {made.plan.tasks[t].name for t in np.flatnonzero(step.counts)}
    start = runner.full_weights()
    for group in (batches, *([batch] for batch in batches)):
        runner.step(0, group, present, {})
    after = runner.full_weights()  # on all ranks, for it is a collective call
    assert all(torch.equal(start[name], weight) for name, weight in after.items())
    return {"together": found[0], "alone": found[1:]}


def divide(step: Step, ranks: int, micro_steps: int | None, micro_tokens: int) -> list[list[np.ndarray]]:
    """`Step.divide` with the least number of tokens a rank that makes `micro_steps` (None: with `micro_tokens`)."""
    if micro_steps is None:
        return step.divide(ranks, micro_tokens)
    for tokens in range(max(step.length.max(), math.ceil(step.tokens / ranks / micro_steps)), step.tokens + 1):
        shares = step.divide(ranks, tokens)
        if len(shares) == micro_steps:
            return shares
    raise AssertionError(f"step {step.number}: no micro_tokens gives {micro_steps} micro-steps on {ranks} ranks")


def see_gradients(runner: engine.Engine, found: list[dict[str, torch.Tensor]], freeze: bool = False) -> None:
    """Puts each step's full gradients into `found` just before DeepSpeed's step; with `freeze` weights then stay."""
    inner = runner.ds.step

    def step() -> None:
        with one_message():
            grads = {n: p.grad if runner.stage == 0 else safe_get_full_grad(p) for n, p in trained(runner)}
        found.append({name: full.detach().float().clone() for name, full in grads.items()})
        for group in runner.ds.optimizer.param_groups if freeze else ():
            group["lr"] = 0.0
        inner()

    runner.ds.step = step


def trained(runner: engine.Engine) -> list[tuple[str, torch.nn.Parameter]]:
    """The model's parameters without those that are frozen, by name."""
    return [(name, parameter) for name, parameter in runner.model.named_parameters() if parameter.requires_grad]


@contextlib.contextmanager
def one_message() -> Iterator[None]:
    """What DeepSpeed sums over ranks in here, a parameter at a time, is summed at the end, all in one message.

    Small messages are most of what these launches take: each waits for every rank to get a core.
    """
    parts: list[torch.Tensor] = []
    with mock.patch.object(deepspeed.comm, "all_reduce", lambda tensor, group=None: parts.append(tensor)):
        yield
    if parts:
        whole = torch.cat([part.float() for part in parts])
        torch.distributed.all_reduce(whole)
        for part, values in zip(parts, whole.split([len(part) for part in parts]), strict=True):
            part.copy_(values)


def weights(runner: engine.Engine) -> dict[str, torch.Tensor]:
    """As `Engine.full_weights`, in one message and on every rank."""
    with one_message():
        found = {n: safe_get_full_fp32_param(p) if runner.stage else p for n, p in trained(runner)}
    found |= {n: p for n, p in runner.model.named_parameters() if not p.requires_grad}
    return {name: weight.detach().float().clone() for name, weight in found.items()}


@contextlib.contextmanager
def spoiled(runner: engine.Engine) -> Iterator[None]:
    """One number of the reduced gradient on rank 0 is infinite when DeepSpeed's step begins."""
    inner = runner.ds.step

    def step() -> None:
        if runner.rank == 0:
            runner.ds.optimizer.averaged_gradients[0].flat_partition[0] = math.inf
        inner()

    runner.ds.step = step
    yield
    runner.ds.step = inner


def moments(runner: engine.Engine, key: str) -> dict[str, torch.Tensor]:
    """One of AdamW's moments of every parameter; zeros where there was no step yet (a collective call)."""
    values = {}
    base = runner.ds.optimizer if runner.stage == 0 else runner.ds.optimizer.optimizer
    with one_message():
        for index, group in enumerate(base.param_groups):
            whole = group["params"] if runner.stage == 0 else runner.ds.optimizer.bit16_groups[index]
            state = base.state.get(group["params"][0], {})
            for place, parameter in enumerate(whole):
                if not state:
                    values[parameter] = torch.zeros_like(parameter)
                elif runner.stage == 0:
                    values[parameter] = base.state[group["params"][place]][key].clone()
                else:
                    # DeepSpeed links parameters to their state once, after the first step: too early for a head whose
                    # first step comes later.
                    if parameter._hp_mapping is not None:
                        parameter._hp_mapping.set_optim_state_fragment(group["params"][0], state)
                    values[parameter] = safe_get_full_optimizer_state(parameter, key)
    return {name: values[parameter].detach() for name, parameter in runner.model.named_parameters()}


if __name__ == "__main__":
    main()
