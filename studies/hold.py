"""What a study holds equal: the steps of every variant.

The quantity is fixed by the baseline (or the first variant that is trained). A variant that gives no steps or epochs of
its own gets as many steps as make it equal, to the nearest step; one that does must agree, to the nearest step.

| hold | in every variant equal |
|---|---|
| steps | optimizer steps |
| task_steps | steps times the share of examples not of `mlm` tasks: with text beside the tasks the total grows |
| examples | steps times examples of a step |
| tokens | steps times tokens of a step, as expected from the mixture and the mean length of the rows |
| epochs | epochs of its own mixture: nothing is computed |
"""

from collections.abc import Mapping

from common.errors import InputError
from common.run_config import RunConfig
from data_prep.run_tasks import resolve
from mtl.data.plan import Plan
from studies.study import Study, Variant


def steps_of(study: Study, plans: Mapping[str, Plan]) -> dict[str, int | None]:
    """Steps of every trained variant, by name; None where the prepared data of it are needed, and not in `plans`.

    None, too, where nothing but epochs is held, which leaves them to the config. `InputError` for a variant that breaks
    what is held.
    """
    found: dict[str, int | None] = {}
    for variant in study.variants.values():
        if variant.trained:
            baseline = study.variants[variant.baseline]
            same = (v for v in study.variants.values() if v.baseline == baseline.name and v.trained)
            found[variant.name] = _steps(study, baseline if baseline.trained else next(same), variant, plans)
    return found


def _steps(study: Study, reference: Variant, variant: Variant, plans: Mapping[str, Plan]) -> int | None:
    hold, one, other = study.file.hold, reference.config, variant.config
    if variant is not reference and hold == "epochs" and (one.epochs is None or one.epochs != other.epochs):
        raise _broken(study, reference, variant, _length(one), _length(other))
    if hold in (None, "epochs"):
        return None
    if variant is reference:
        return _given(variant, plans)
    steps = _given(reference, plans)
    per_step = [_per_step(v.config, hold, plans.get(v.name)) for v in (reference, variant)]
    if steps is None or per_step[0] is None or per_step[1] is None:
        return None
    if not per_step[1]:
        raise _broken(study, reference, variant, f"{steps * per_step[0]:g}", "0: no task but mlm")
    needed = max(1, round(steps * per_step[0] / per_step[1]))
    if variant.own_length:
        own = _given(variant, plans)
        if own is not None and own != needed:
            amounts = (f"{steps * per_step[0]:,.0f}", f"{own * per_step[1]:,.0f} (it needs {needed} steps)")
            raise _broken(study, reference, variant, *amounts)
    return needed


def _given(variant: Variant, plans: Mapping[str, Plan]) -> int | None:
    plan = plans.get(variant.name)
    return variant.config.steps if variant.config.steps is not None or plan is None else plan.steps


def _length(config: RunConfig) -> str:
    return f"steps {config.steps}" if config.epochs is None else f"epochs {config.epochs:g}"


def _broken(study: Study, reference: Variant, variant: Variant, there: str, here: str) -> InputError:
    return InputError(
        f"{study.path}: hold {study.file.hold}: variant {reference.name} has {there}, variant {variant.name} {here}"
    )


def tokens_per_step(plan: Plan) -> float:
    """Expected tokens of a step."""
    return float(sum(row["examples"] * row["mean_length"] for row in plan.expected())) / plan.steps


def _per_step(config: RunConfig, hold: str, plan: Plan | None) -> float | None:
    """Of what is held, the amount of one step; None if only the prepared data say it."""
    if hold == "steps":
        return 1.0
    if hold == "examples":
        return plan.batch_examples if plan else config.batch.examples
    if hold == "tokens":
        return tokens_per_step(plan) if plan else config.batch.tokens
    mlm = [task.kind == "mlm" for task in resolve(config)]
    shares = [entry.share for entry in config.tasks]
    if plan:
        rows = plan.expected()
        total = sum(row["examples"] for row in rows)
        return sum(row["examples"] for row, text in zip(rows, mlm, strict=True) if not text) / total
    text_share = [share for share, text in zip(shares, mlm, strict=True) if text]
    if None in text_share:
        return None
    total = sum(share or 0.0 for share in shares) if config.mixture.kind == "fixed" else 1.0
    return 1.0 - sum(share or 0.0 for share in text_share) / total
