"""AdamW that skips inactive parameter groups, and the learning-rate schedule.

Under ZeRO a head without rows gets a zero gradient, not a missing one, so AdamW's momentum and weight decay would
still move it. `active` of a parameter group says whether any of its tasks had examples in this global step; an
inactive group keeps weights *and* moments, as torch's AdamW does for a missing gradient. (With a learning rate of 0 the
moments would decay.)
"""

from typing import Any

import torch
from torch import nn

from common.run_config import Optimizer
from mtl.model.encoder import MultiTaskModel


class SkipsInactive:
    """Optimizer mixin: `step` skips the parameter groups whose `active` is False."""

    param_groups: list[dict[str, Any]]

    def step(self, closure: Any = None) -> Any:
        groups = self.param_groups
        self.param_groups = [group for group in groups if group.get("active", True)]
        try:
            return super().step(closure)  # type: ignore[misc]  # of the optimizer
        finally:
            self.param_groups = groups


class AdamW(SkipsInactive, torch.optim.AdamW):
    """torch's AdamW that skips inactive groups."""


def fill_state(optimizer: torch.optim.Optimizer) -> None:
    """Allocates the moments and step count of every parameter, all zero, instead of at its first step.

    Memory then does not grow later, and checkpoints have the same structure whichever heads have had examples so far.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not optimizer.state[parameter]:
                fused = group.get("fused")
                step: Any = torch.zeros((), device=parameter.device if fused else "cpu")
                if not isinstance(optimizer, torch.optim.AdamW):
                    step = 0  # DeepSpeed's own AdamW counts in an int
                optimizer.state[parameter].update(
                    step=step, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter)
                )


def param_groups(model: MultiTaskModel, settings: Optimizer) -> list[dict[str, Any]]:
    """Parameter groups: encoder, pooler, each head, each with and without decay.

    `tasks`: names of the tasks whose examples give the group a gradient; None: every task does. `peak`: its lr.
    """
    encoder = {n: p for n, p in model.encoder.named_parameters() if p.requires_grad}
    pooler = {n: p for n, p in encoder.items() if n.startswith("pooler.")}
    body = {n: p for n, p in encoder.items() if n not in pooler}
    pooled = model.reading_pooler()
    modules: list[tuple[str, dict[str, nn.Parameter], list[str] | None, float]] = [
        ("encoder", body, None, settings.lr),
        ("pooler", pooler, pooled, settings.lr),
    ]
    for name in model.kinds:
        trained = {n: p for n, p in model.heads[name].named_parameters() if p.requires_grad}
        modules.append((name, trained, [name], settings.head_lr or settings.lr))
    groups = []
    for name, parameters, tasks, lr in modules:
        for decays, decay in ((True, settings.weight_decay), (False, 0.0)):
            # Vectors do not decay: biases, norms, the scale of pairs.
            params = [p for p in parameters.values() if (p.dim() > 1) == decays]
            groups.append({"params": params, "name": name, "tasks": tasks, "peak": lr, "lr": lr, "weight_decay": decay})
    return [group for group in groups if group["params"]]


def set_step(groups: list[dict[str, Any]], factor: float, present: set[str]) -> None:
    """Sets learning rates and `active` of `groups` for one optimizer step. `present`: tasks with examples."""
    for group in groups:
        group["lr"] = group["peak"] * factor
        group["active"] = group["tasks"] is None or not present.isdisjoint(group["tasks"])


def decay_factor(settings: Optimizer, factor: float) -> float:
    """By which a step at `factor` of the peak learning rate multiplies an encoder weight that has no gradient."""
    return 1.0 - settings.lr * factor * settings.weight_decay


def schedule(step: int, steps: int, warmup: float) -> float:
    """Factor of the peak learning rate for optimizer step `step` (from 0) of `steps`: linear up, linear down to 0.

    `warmup` below 1 is a share of `steps`. Shifted by one against transformers' linear schedule, so that no step is
    spent at a learning rate of 0: (step + 1) / warm, then (steps - step) / (steps - warm).
    """
    warm = round(warmup * steps) if warmup < 1 else int(warmup)
    if step < warm:
        return (step + 1) / warm
    return (steps - step) / max(1, steps - warm)
