"""The cases of test_exact.py, their launch (one per number of ranks), and how far a case is from the reference.

The world: one task per kind, weights at the start ten times as wide as XLM-R's. At XLM-R's own 0.02 so small an encoder
is nearly linear, and gradients such as the pooler's are then nearly 0 by cancellation (the scores of a softmax shift
together), where a relative error says nothing.
"""

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from tests.support import exact_reference as ref
from tests.support.launch import HOUSE, deepspeed, program
from tests.support.small import SHAPE, write_run, write_tasks

RANKS = (1, 2, 4)
SMALL, LARGE = 50, 500_000_000  # elements of DeepSpeed's reduce and allgather buckets
LAST_NORM_BIAS = f"encoder.encoder.layer.{SHAPE['num_hidden_layers'] - 1}.output.LayerNorm.bias"


def _case(stage: int, batches: str, bucket: int, micro_steps: int) -> dict[str, Any]:
    buckets = {"reduce_bucket_size": bucket, "allgather_bucket_size": bucket} if stage else {}
    return {
        "ds": {"zero_optimization": {"stage": stage, **buckets}},
        "set": [f"mixture.batches={batches}"],
        "micro_steps": micro_steps,
    }


# Every combination; buckets mean nothing at stage 0.
PRODUCT = {
    f"stage{stage}-{batches}-{'small' if bucket == SMALL else 'large'}-micro{k}": _case(stage, batches, bucket, k)
    for stage, batches, bucket, k in product((0, 1, 2), ("mixed", "by_task"), (SMALL, LARGE), (1, 2, 3))
    if stage or bucket == SMALL
}
# A part of them in which every two settings meet at least once; four ranks are slow on two cores: all or none.
PAIRS = [
    "stage0-mixed-small-micro2", "stage1-mixed-small-micro1", "stage1-by_task-large-micro2",
    "stage2-mixed-small-micro3", "stage2-by_task-large-micro3",
    "stage0-by_task-small-micro1", "stage0-by_task-small-micro3", "stage1-mixed-large-micro3",
    "stage2-mixed-large-micro1", "stage2-by_task-small-micro2",
]  # fmt: skip
# The files of ds_configs/ as users run them; several micro-steps, not the same number in every step.
FILES = {
    path.stem: {"set": ["mixture.batches=mixed", "micro_tokens=320", f"deepspeed={path.name}"]}
    for path in sorted((HOUSE / "ds_configs").glob("*.json"))
}


def _part(name: str, k: int, accumulate: str, **keys: Any) -> dict[str, Any]:
    ds = {"data_types": {"grad_accum_dtype": accumulate}, **keys}
    return {"set": ["mixture.batches=mixed", f"deepspeed={name}.json"], "ds": ds, "micro_steps": k, "parts": True}


# bf16: as the files have it (one micro-step and six), and as they do not.
PARTS = {
    "zero2-1": _part("zero2", 1, "fp32"),
    "zero2-6": _part("zero2", 6, "fp32"),
    "zero2-6-bf16": _part("zero2", 6, "bf16"),
    "zero1-1": _part("zero1", 1, "fp32"),
    "zero1-6": _part("zero1", 6, "fp32"),
    "zero1-6-reduced-fp32": _part("zero1", 6, "fp32", communication_data_type="fp32"),
    "zero1-6-reduced-fp32-bf16": _part("zero1", 6, "bf16", communication_data_type="fp32"),
}


def write_config(folder: Path, tokenizer: Path) -> Path:
    """The run config of all cases, with its data."""
    tasks = write_tasks(folder)
    tasks[2]["max_length"] = 20  # choices: else one example is longer than a quarter of a batch, and cannot be divided
    tasks[3]["loss_weight"] = ref.TAG_WEIGHT
    return write_run(
        folder,
        tokenizer,
        tasks=tasks,
        encoder={"config": {**SHAPE, "initializer_range": 0.2}, "tokenizer": str(tokenizer)},
        seed=10,  # heads sit out in `mixed` too, after they were trained
        batch={"examples": 16},
        steps=ref.STEPS,
        # Gradients that are 0 by construction are rounding noise of 1e-8 in float32, which Adam's usual eps of 1e-8
        # would let through as a part of a step.
        optimizer={
            "lr": ref.LR, "head_lr": ref.HEAD_LR, "eps": ref.EPS, "weight_decay": ref.DECAY, "warmup": 2,
            "clip": ref.CLIP,
        },
    )  # fmt: skip


def launch(ranks: int, config: Path, cases: dict[str, Any], timeout: float, fresh: bool = False) -> Path:
    """Runs `cases` on so many ranks in one launch; the folder of NAME.pt. `fresh`: by deepspeed (zygote.py)."""
    folder = config.parent / f"ranks{ranks}-cases{len(cases)}"
    folder.mkdir()
    (folder / "cases.json").write_text(json.dumps({n: {"config": str(config), **case} for n, case in cases.items()}))
    command = (HOUSE / "tests" / "support" / "exact_worker.py", folder / "cases.json", folder)
    if fresh:
        deepspeed(ranks, *command, timeout=timeout)
    else:
        program(*command, ranks=ranks, timeout=timeout)
    return folder


@dataclass(frozen=True)
class Distance:
    """Largest differences of a run from the reference, over parameters and steps.

    gradient: norm of the difference / norm of the reference's, both at the ranks' own weights before the step;
    zero: norm of gradients that are 0 by construction / norm of the whole gradient; norm: of the logged norm, relative;
    moment: as gradient, of both AdamW moments (steps recorded), on the two trajectories; weight: of any weight at the
    end / (lr * steps). The gradient's worst `parameter`.
    """

    gradient: float
    zero: float
    norm: float
    moment: float
    weight: float
    parameter: str


def zero_by_construction(name: str, kinds: set[str]) -> bool:
    """Whether parameter `name` moves all scores of a softmax together, so that its gradient is 0 in exact arithmetic.

    A key's bias adds the same to all scores of a query; the biases of the span and choice heads to all tokens or
    choices; so does the last LayerNorm's bias in a step of nothing but span examples, whose head is linear in it.
    `kinds`: the tasks of the step.
    """
    return name.endswith(("attention.self.key.bias", "heads.my_span.qa_outputs.bias", "my_choice.classifier.bias")) or (
        name == LAST_NORM_BIAS and kinds == {"my_span"}
    )


def distance(found: dict[str, Any], reference: ref.Reference, run: ref.Run) -> Distance:
    """See `Distance`; asserts that a gradient that the reference does not have is exactly 0."""
    gradients, zeros, moments = [], [], []
    for number, (grads, weights) in enumerate(zip(found["grads"], found["weights"][:-1], strict=True)):
        kinds = {task for micro in found["tasks"][number] for tasks in micro for task in tasks}
        same = all(torch.equal(weights[n].double(), w) for n, w in run.weights[number].items())
        expected = run.grads[number] if same else reference.gradients(number, weights)
        whole = torch.stack([g.norm() for g in expected.values()]).norm()
        for name, grad in grads.items():
            if name not in expected:
                assert not grad.any(), f"step {number}: {name} has a gradient though no example reaches it"
            elif zero_by_construction(name, kinds):
                assert expected[name].norm() < 1e-12 * whole, f"step {number}: {name} is not 0 by construction"
                zeros.append(float(grad.norm() / whole))
            else:
                gradients.append((float((grad.double() - expected[name]).norm() / expected[name].norm()), name))
        for key in ("exp_avg", "exp_avg_sq"):
            for name, moment in found[key].get(number, {}).items():
                wanted = getattr(run, key)[number][name]
                if not wanted.any():
                    assert not moment.any(), f"step {number}: {name} has moments though it never had a gradient"
                elif not any(zero_by_construction(name, k) for k in (kinds, {"my_span"})):
                    moments.append(float((moment.double() - wanted).norm() / wanted.norm()))
    weight = max(float((found["weights"][-1][n].double() - w).abs().max()) for n, w in run.weights[-1].items())
    norm = max(abs(a / b - 1) for a, b in zip(found["norms"], run.norms, strict=True))
    worst, parameter = max(gradients)
    return Distance(worst, max(zeros), norm, max(moments), weight / (ref.LR * ref.STEPS), parameter)


def table(distances: dict[tuple[int, str], Distance]) -> str:
    """The largest distance per number of ranks and stage; keys: (ranks, name of the case)."""
    lines = ["ranks  stage  cases  gradient  zero gradient  norm     moments  weight, % of lr x steps"]
    for ranks, stage in sorted({(ranks, int(name[5])) for ranks, name in distances}):
        of = [d for (r, name), d in distances.items() if (r, int(name[5])) == (ranks, stage)]
        g, z, n, m, w = (max(getattr(d, k) for d in of) for k in ("gradient", "zero", "norm", "moment", "weight"))
        lines.append(f"{ranks:5}  {stage:5}  {len(of):5}  {g:.1e}   {z:.1e}        {n:.1e}  {m:.1e}  {100 * w:.2f}")
    return "\n".join(lines)
