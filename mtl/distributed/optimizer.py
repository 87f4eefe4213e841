"""AdamW with groups that can sit out a step, and the learning-rate schedule.

Under ZeRO a head without rows gets a zero gradient, not a missing one, so AdamW's momentum and weight decay would
still move it. `active` on a parameter group says whether any of its tasks had examples in this global step; an
inactive group keeps weights *and* moments, as torch's AdamW does for a missing gradient. (A learning rate of 0 would
not do: the moments would decay.)
"""

from typing import Any

import torch
from torch import nn

from common.run_config import Optimizer
from mtl.model.encoder import MultiTaskModel


class SitsOut:
    """Mixed into an optimizer: `step` leaves out the groups whose `active` is False."""

    param_groups: list[dict[str, Any]]

    def step(self, closure: Any = None) -> Any:
        groups = self.param_groups
        self.param_groups = [group for group in groups if group.get("active", True)]
        try:
            return super().step(closure)  # type: ignore[misc]  # the optimizer it is mixed into
        finally:
            self.param_groups = groups


class AdamW(SitsOut, torch.optim.AdamW):
    """torch's AdamW with groups that may sit out."""


def fill_state(optimizer: torch.optim.Optimizer) -> None:
    """Gives every parameter its moments and step count at once, all zero, instead of at its first step.

    Then memory is what it will be from the first step on, and checkpoints have one form whichever heads have had
    examples so far (DeepSpeed's converter to its universal format needs that).
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not optimizer.state[parameter]:
                fused = group.get("fused")
                step: Any = torch.zeros((), device=parameter.device if fused else "cpu")
                if not isinstance(optimizer, torch.optim.AdamW):
                    step = 0  # DeepSpeed's own AdamW counts in plain numbers
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
    parts: list[tuple[str, dict[str, nn.Parameter], list[str] | None, float]] = [
        ("encoder", body, None, settings.lr),
        ("pooler", pooler, pooled, settings.lr),
    ]
    for name in model.kinds:
        parts.append((name, dict(model.heads[name].named_parameters()), [name], settings.head_lr or settings.lr))
    groups = []
    for name, parameters, tasks, lr in parts:
        for decays in (True, False):
            chosen = [p for n, p in parameters.items() if _decays(n) == decays]
            if chosen:
                groups.append(
                    {
                        "params": chosen,
                        "name": name,
                        "tasks": tasks,
                        "peak": lr,
                        "lr": lr,
                        "weight_decay": settings.weight_decay if decays else 0.0,
                    }
                )
    return groups


def _decays(name: str) -> bool:
    return not (name.endswith(("bias", "logit_scale")) or "LayerNorm" in name or "layer_norm" in name)


def set_step(groups: list[dict[str, Any]], factor: float, present: set[str]) -> None:
    """Prepares `groups` for one optimizer step: learning rates and who sits out. `present`: tasks with examples."""
    for group in groups:
        group["lr"] = group["peak"] * factor
        group["active"] = group["tasks"] is None or not present.isdisjoint(group["tasks"])


def left(settings: Optimizer, factor: float) -> float:
    """What weight decay leaves of an encoder weight that has no gradient in a step at `factor` of the peak rate."""
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
