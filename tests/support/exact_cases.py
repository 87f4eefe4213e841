"""The cases of test_exact.py, one launch per number of ranks, and how far a case is from the reference.

The encoder starts ten times as wide as XLM-R. At XLM-R's own 0.02 so small an encoder is nearly linear, and gradients
such as the pooler's are then nearly 0 by cancellation, where a relative error says nothing.
"""

import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.support import exact_reference as ref
from tests.support import families
from tests.support.launch import REPOSITORY, program, run
from tests.support.small import KINDS, SHAPE, write_contrastive, write_pawsx, write_run, write_tasks

SMALL, LARGE = 50, 500_000_000  # elements of DeepSpeed's reduce and allgather buckets
LAST_NORM_BIAS = f"encoder.encoder.layer.{SHAPE['num_hidden_layers'] - 1}.output.LayerNorm.bias"


def _case(stage: int, batches: str, bucket: int, micro_steps: int, **more: Any) -> dict[str, Any]:
    buckets = {"reduce_bucket_size": bucket, "allgather_bucket_size": bucket} if stage else {}
    ds = {"zero_optimization": {"stage": stage, **buckets}}
    return {"ds": ds, "batches": batches, "micro_steps": micro_steps, "moments": list(range(ref.STEPS)), **more}


# Every two settings of stage, batches, bucket and micro-steps meet at least once on two ranks; buckets mean nothing at
# stage 0. Each setting is also met on one rank and on four. `-off`: DeepSpeed's own gradients and step, bitwise ours
# given the same norm (`BITWISE` below); here its own norm is compared.
EXACT = {
    "stage0-mixed-micro2": _case(0, "mixed", SMALL, 2, set=["attention=padded"]),
    "stage0-by_task-micro1": _case(0, "by_task", SMALL, 1),
    "stage0-by_task-micro3": _case(0, "by_task", SMALL, 3),
    "stage1-mixed-small-micro1": _case(1, "mixed", SMALL, 1),
    "stage1-by_task-large-micro2": _case(1, "by_task", LARGE, 2),
    "stage1-mixed-large-micro3-off": _case(1, "mixed", LARGE, 3, set=["fast_zero2=false"]),
    "stage2-mixed-large-micro1": _case(2, "mixed", LARGE, 1),
    "stage2-by_task-small-micro2-off": _case(2, "by_task", SMALL, 2, set=["fast_zero2=false"]),
    "stage2-mixed-small-micro3": _case(2, "mixed", SMALL, 3),
    "stage2-by_task-large-micro3": _case(2, "by_task", LARGE, 3),
}
# In-batch negatives are those of the whole global batch, so gradients do not depend on how it is divided.
PAIRS = {
    "pairs-stage0-by_task-micro3": _case(0, "by_task", SMALL, 3, config="pairs", moments=[]),
    "pairs-stage2-mixed-micro2": _case(2, "mixed", LARGE, 2, config="pairs", moments=[]),
    # Hard negatives, groups, the mean over tokens, a fixed temperature.
    "contrastive-stage2-by_task-micro3": _case(2, "by_task", SMALL, 3, config="contrastive", moments=[]),
}
PAIRS_ON_ONE_AND_FOUR = ("pairs-stage2-mixed-micro2", "contrastive-stage2-by_task-micro3")
LANGUAGES = {"languages-stage2-mixed-micro2": _case(2, "mixed", SMALL, 2, config="languages", moments=[])}
# `bos`: the reference computes heads of whole sequences from their first token.
FAMILY = {"bert": {}, "modernbert": {}, "eurobert": {"classifier_pooling": "bos"}, "gte": {}}
ATTENTION = {"bert": "sdpa", "modernbert": "sdpa", "eurobert": "padded", "gte": "padded"}
FAMILIES = {
    family: _case(
        2, "mixed", SMALL, 2, config=family, moments=[],
        set=["gradient_checkpointing=true", f"attention={ATTENTION[family]}"],
    )
    for family in FAMILY
}  # fmt: skip
# With and without recomputation the gradients are the same: tests/unit/mtl/test_compiled.py.
COMPILED = {"compiled-stage2-mixed": _case(2, "mixed", LARGE, 3, set=["compile=true", "gradient_checkpointing=true"])}
GPU = {  # no TF32 anywhere
    "stage0": _case(0, "mixed", SMALL, 3, set=["compile=false"]),
    "stage1": _case(1, "mixed", LARGE, 3, set=["compile=false"]),
    "stage2": _case(2, "mixed", LARGE, 3, set=["compile=true"]),
}


def _files(offload: bool) -> dict[str, dict[str, Any]]:
    """The files of ds_configs/ as users run them; several micro-steps, not the same number in every step."""
    paths = [path for path in sorted((REPOSITORY / "ds_configs").iterdir()) if ("offload" in path.stem) == offload]
    return {path.stem: {"set": ["micro_tokens=320", f"deepspeed={path.name}"]} for path in paths}


FILES, OFFLOAD = _files(False), _files(True)


def _part(name: str, accumulate: str, **keys: Any) -> dict[str, Any]:
    ds = {"data_types": {"grad_accum_dtype": accumulate}, **keys}
    return {"set": [f"deepspeed={name}.json"], "ds": ds, "micro_steps": 6, "parts": True}


# bf16: as the files have it, and as they do not.
PARTS = {
    "parts-zero2": _part("zero2", "fp32"),
    "parts-zero2-bf16": _part("zero2", "bf16"),
    "parts-zero1": _part("zero1", "fp32"),
    "parts-zero1-reduced-fp32": _part("zero1", "fp32", communication_data_type="fp32"),
}
# Each with `fast_zero2` (ours) and without (theirs), and the same norm to clip by: DeepSpeed's own is float32. No
# parameter is larger than a bucket: DeepSpeed would send it in pieces, and gloo add them up in another order.
BITWISE = ("bf16", "bf16-buckets", "fp32-buckets")


def _bitwise(name: str, *more: str) -> dict[str, Any]:
    half, buckets = name.startswith("bf16"), name.endswith("buckets")
    ds: dict[str, Any] = {"zero_optimization": {"stage": 2, "overlap_comm": half}}
    if buckets:
        ds["zero_optimization"]["reduce_bucket_size"] = 5000
    if half and buckets:
        ds["communication_data_type"] = "fp32"
    file = "zero2.json" if half else "zero2_cpu.json"
    return {"set": [f"deepspeed={file}", *more], "ds": ds, "micro_steps": 3, "moments": [ref.STEPS - 1]}


SIDES = {f"{name}-ours": _bitwise(name) for name in BITWISE}
SIDES |= {f"{name}-theirs": {**_bitwise(name, "fast_zero2=false"), "same_norm": True} for name in BITWISE}
SIDES |= {f"bf16-buckets-{x}-spoiled": {**SIDES[f"bf16-buckets-{x}"], "spoiled": [0, 3]} for x in ("ours", "theirs")}
ONE_RANK = (
    "stage0-by_task-micro3", "stage1-mixed-small-micro1", "stage2-by_task-large-micro3", *PAIRS_ON_ONE_AND_FOUR,
    "bf16-buckets-ours", "bf16-buckets-theirs",
)  # fmt: skip
FOUR_RANKS = (
    "stage0-mixed-micro2", "stage1-mixed-small-micro1", "stage2-mixed-small-micro3", "stage2-by_task-large-micro3",
    *PAIRS_ON_ONE_AND_FOUR,
)  # fmt: skip
CASES = {**EXACT, **PAIRS, **SIDES}
# Cases with `batches` are compared with the reference; of the others test_exact.py looks at something else.
LAUNCHES: dict[str, tuple[int, dict[str, Any]]] = {
    "1 rank": (1, {name: CASES[name] for name in ONE_RANK}),
    "2 ranks": (2, {**EXACT, **PAIRS, **LANGUAGES, **FILES, **PARTS}),
    "2 ranks, families": (2, FAMILIES),
    "3 ranks": (3, SIDES),  # no power of two, so that the mean rounds; partitions cut parameters
    "4 ranks": (4, {name: CASES[name] for name in FOUR_RANKS}),
    "2 ranks, compiled": (2, {**COMPILED, **OFFLOAD}),  # the offloaded optimizer is compiled by DeepSpeed
    "GPU": (1, GPU),
}


def write_config(
    folder: Path, tokenizer: Path, kinds: tuple[str, ...] = KINDS, seed: int = 10, family: str = "xlm-roberta"
) -> Path:
    """A run config of the cases, with its data. `seed`: heads have no rows in some steps, after they were trained."""
    folder.mkdir(exist_ok=True)
    more = {"languages": write_pawsx, "contrastive": write_contrastive}
    tasks = write_tasks(folder, kinds=[kind for kind in kinds if kind not in more])
    tasks += [more[kind](folder) for kind in kinds if kind in more]
    for task in tasks:
        if task.get("kind") == "choice":
            task["max_length"] = 20  # else one example is longer than a quarter of a batch, and cannot be divided
        if task.get("kind") == "tag":
            task["loss_weight"] = ref.TAG_WEIGHT
    return write_run(
        folder,
        tokenizer,
        tasks=tasks,
        encoder={
            "model_type": family,
            "config": families.shape(family, initializer_range=0.2, **FAMILY.get(family, {})),
            "tokenizer": str(tokenizer),
        },
        seed=seed,
        batch={"examples": 16},
        steps=ref.STEPS,
        # Gradients that are 0 by construction are rounding noise of 1e-8 in float32, which Adam's usual eps of 1e-8
        # would let through as a part of a step.
        optimizer={
            "lr": ref.LR, "head_lr": ref.HEAD_LR, "eps": ref.EPS, "weight_decay": ref.DECAY, "warmup": 2,
            "clip": ref.CLIP,
        },
    )  # fmt: skip


@dataclass(frozen=True)
class Distance:
    """Largest differences of a run from the reference, over parameters and steps.

    gradient: norm of the difference / norm of the reference's, both at the ranks' own weights before the step;
    zero: norm of the difference / norm of the whole gradient, of gradients that are 0 by construction; norm: of the
    logged norm, relative; moment: as gradient, of both AdamW moments (steps recorded), on the two trajectories;
    weight: of any weight at the end / (lr * steps). The gradient's worst `parameter`.
    """

    gradient: float
    zero: float
    norm: float
    moment: float
    weight: float
    parameter: str


class World:
    """The run configs and what the launches found; each is made when it is first asked for."""

    def __init__(self, folder: Path, tokenizer: Path) -> None:
        self.folder = folder
        self.configs = {
            "tasks": write_config(folder / "tasks", tokenizer),
            "pairs": write_config(folder / "pairs", tokenizer, ("classify", "pair"), seed=3),
            "contrastive": write_config(folder / "contrastive", tokenizer, ("classify", "contrastive"), seed=3),
            "languages": write_config(folder / "languages", tokenizer, ("choice", "mlm", "languages")),
        }
        self._tokenizer = tokenizer
        self.reference = cache(self._reference)
        self.launched = cache(self._launched)

    def _reference(self, batches: str = "mixed", config: str = "tasks") -> tuple[ref.Reference, ref.Run]:
        reference = ref.Reference(self._config(config), [f"mixture.batches={batches}"])
        return reference, reference.train()

    def _config(self, name: str) -> Path:
        if name not in self.configs:
            self.configs[name] = write_config(self.folder / name, self._tokenizer, family=name)
        return self.configs[name]

    def _launched(self, launch: str) -> Path:
        ranks, cases = LAUNCHES[launch]
        folder = self.folder / launch.replace(" ", "-")
        folder.mkdir()
        for name, case in cases.items():
            sets = [f"mixture.batches={case.get('batches', 'mixed')}", *case.get("set", [])]
            cases = {**cases, name: {**case, "config": str(self._config(case.get("config", "tasks"))), "set": sets}}
        (folder / "cases.json").write_text(json.dumps(cases))
        command = (REPOSITORY / "tests" / "support" / "exact_worker.py", folder / "cases.json", folder)
        if launch == "GPU":  # a process that looked for a GPU must not be forked
            run(sys.executable, *command, timeout=280)
        else:
            program(*command, ranks=ranks, timeout=1500)
        return folder

    def found(self, launch: str, name: str) -> dict[str, Any]:
        """What rank 0 saved of a case, see `record` and `parts` of exact_worker.py."""
        return torch.load(self.launched(launch) / f"{name}.pt", weights_only=False, map_location="cpu")

    def distance(self, launch: str, name: str) -> Distance:
        case = LAUNCHES[launch][1][name]
        return distance(self.found(launch, name), *self.reference(case["batches"], case.get("config", "tasks")))


def zero_by_construction(name: str, tasks: set[str]) -> bool:
    """Whether parameter `name` moves all scores of a softmax together, so that its gradient is 0 in exact arithmetic.

    A key's bias adds the same to all scores of a query; the biases of the span and choice heads to all tokens or
    choices; so does the last LayerNorm's bias in a step of nothing but span examples, whose head is linear in it.
    `tasks`: of the step.
    """
    ends = (
        "attention.self.key.bias",
        "my_span.qa_outputs.bias",
        "my_span.classifier.bias",
        "my_choice.classifier.bias",
    )
    return name.endswith(ends) or (name == LAST_NORM_BIAS and tasks == {"my_span"})


def distance(found: dict[str, Any], reference: ref.Reference, run: ref.Run) -> Distance:
    """See `Distance`; asserts that a gradient that the reference does not have is exactly 0."""
    gradients, zeros, moments = [], [], [0.0]
    for number, (grads, weights) in enumerate(zip(found["grads"], found["weights"][:-1], strict=True)):
        tasks = {task for micro in found["tasks"][number] for names in micro for task in names}
        same = all(torch.equal(weights[n].double(), w) for n, w in run.weights[number].items())
        expected = run.grads[number] if same else reference.gradients(number, weights)
        whole = torch.stack([g.norm() for g in expected.values()]).norm()
        for name, grad in grads.items():
            if name not in expected:
                assert not grad.any(), f"step {number}: {name} has a gradient though no example reaches it"
                continue
            far = (grad.double() - expected[name]).norm()
            if name.endswith("logit_scale"):  # a sum of cosines of both signs, nearly 0 beside its terms
                zeros.append(float(far / whole))
            elif zero_by_construction(name, tasks):
                assert expected[name].norm() < 1e-12 * whole, f"step {number}: {name} is not 0 by construction"
                zeros.append(float(far / whole))
            else:
                gradients.append((float(far / expected[name].norm()), name))
        for key in ("exp_avg", "exp_avg_sq"):
            for name, moment in found[key].get(number, {}).items():
                wanted = getattr(run, key)[number][name]
                if not wanted.any():
                    assert not moment.any(), f"step {number}: {name} has moments though it never had a gradient"
                elif not any(zero_by_construction(name, t) for t in (tasks, {"my_span"})):
                    moments.append(float((moment.double() - wanted).norm() / wanted.norm()))
    weight = max(float((found["weights"][-1][n].double() - w).abs().max()) for n, w in run.weights[-1].items())
    norm = max(abs(a / b - 1) for a, b in zip(found["norms"], run.norms, strict=True))
    worst, parameter = max(gradients)
    return Distance(worst, max(zeros), norm, max(moments), weight / (ref.LR * ref.STEPS), parameter)
