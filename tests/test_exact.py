"""Two ranks under DeepSpeed compute what one process in float64 computes, for every stage and division of the work."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from launch import HOUSE, deepspeed
from small import write_run
from torch.nn import functional as F

from mtl import loader, setup
from mtl.batch import mask_tokens
from mtl.model import MultiTaskModel

STEPS, LR, HEAD_LR = 5, 1e-3, 2e-3
FACTORS = [1 / 2, 1, 1, 2 / 3, 1 / 3]  # two steps up, then down to 0 at the sixth

# zero: DeepSpeed's own keys; micro: tokens a rank holds at once (few: several micro-steps, ranks without a head).
CASES = {
    f"stage{stage}-{batches}-bucket{bucket}-micro{micro}": {
        "zero": {"stage": stage, "reduce_bucket_size": bucket, "allgather_bucket_size": bucket}
        if stage
        else {"stage": 0},
        "set": [f"mixture.batches={batches}", f"micro_tokens={micro}"],
    }
    for stage, batches, bucket, micro in [
        (0, "mixed", 0, 320),
        (1, "mixed", 50, 320),
        (1, "by_task", 500_000_000, 4000),
        (2, "mixed", 50, 320),
        (2, "mixed", 500_000_000, 320),
        (2, "mixed", 500_000_000, 4000),
        (2, "by_task", 50, 320),
        (2, "by_task", 500_000_000, 320),
    ]
}


# The files of ds_configs/ as users run them. bf16 rounds to 8 bits, so only the size of the error is looked at.
FILES = {
    name.removesuffix(".json"): {"zero": {}, "set": ["mixture.batches=mixed", "micro_tokens=320", f"deepspeed={name}"]}
    for name in sorted(p.name for p in (HOUSE / "ds_configs").glob("*.json"))
}


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_tokenizer_dir):
    folder = tmp_path_factory.mktemp("exact")
    # Some gradients are 0 by construction (a bias shared by all scores of a softmax: span, choice, attention keys). In
    # float32 they are rounding noise of 1e-9, which Adam's usual eps of 1e-8 would let through as a part of the step.
    optimizer = {"lr": LR, "head_lr": HEAD_LR, "eps": 1e-6, "weight_decay": 0.1, "warmup": 2, "clip": 1.0}
    path = write_run(folder, tiny_tokenizer_dir, steps=STEPS, optimizer=optimizer)
    values = json.loads(path.read_text())
    values["tasks"][3]["loss_weight"] = 2.5  # the tag task
    path.write_text(json.dumps(values))
    cases = {name: {**case, "config": str(path)} for name, case in (CASES | FILES).items()}
    (folder / "cases.json").write_text(json.dumps(cases))
    deepspeed(2, Path(__file__).parent / "exact_worker.py", folder / "cases.json", folder)
    found = {name: torch.load(folder / f"{name}.pt", weights_only=False) for name in cases}
    references = {batches: _reference(path, batches) for batches in ("mixed", "by_task")}
    references["start"] = {n: p.detach() for n, p in setup.read(str(path), []).model().named_parameters()}
    return found, references


def _reference(path: Path, batches: str) -> dict:
    """One process, float64, one unpadded sequence at a time through transformers' own attention, torch's own AdamW."""
    made = setup.read(str(path), [f"mixture.batches={batches}"])
    run, plan, special = made.run, made.plan, made.special
    model = made.model().double()
    model.encoder.set_attn_implementation("eager")
    optimizer = torch.optim.AdamW(
        [
            {"params": [p], "lr": HEAD_LR if name.startswith("heads.") else LR, "weight_decay": _decay(name)}
            for name, p in model.named_parameters()
        ],
        betas=(0.9, 0.999),
        eps=1e-6,
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    norms, losses = [], []
    for step in loader.steps_from(plan, 0):
        optimizer.zero_grad(set_to_none=True)  # a head without examples has no gradient and is left alone
        total = torch.zeros((), dtype=torch.float64)
        unit_losses = {t: [] for t in range(len(plan.tasks))}
        for slot, (t, row) in enumerate(zip(step.task, step.row, strict=True)):
            task = plan.tasks[t]
            encoded = task.train.take(np.array([row]))[0]
            if task.task.kind == "mlm":
                encoded = mask_tokens(encoded, special, run.mlm_probability, (run.seed, step.number, slot))
            unit_losses[t] += _units(model, task.name, task.task.kind, encoded)
        for t, found in unit_losses.items():
            if found:
                count = (step.task == t).sum()
                weight = 2.5 if plan.tasks[t].task.kind == "tag" else 1.0
                total = total + weight * count / len(step.task) * torch.stack(found).mean()
        total.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * FACTORS[step.number]
        optimizer.step()
        losses.append(total.item())
    return {"weights": {n: p.detach() for n, p in model.named_parameters()}, "norms": norms, "losses": losses}


def _decay(name: str) -> float:
    """0.1 but for biases and LayerNorm (the only other vectors)."""
    return 0.1 if "weight" in name and "norm" not in name.lower() else 0.0


def _units(model: MultiTaskModel, name: str, kind: str, row: dict) -> list[torch.Tensor]:
    """The unit losses of one example, straight from the definition."""
    ids = np.asarray(row["input_ids"], dtype=np.int64)
    hidden = [
        model.encoder(torch.from_numpy(piece)[None]).last_hidden_state[0]
        for piece in np.split(ids, np.cumsum(row["lengths"])[:-1])
    ]
    head = model.heads[name]
    if kind == "classify":
        return [F.cross_entropy(head(hidden[0][:1], model.encoder)[0], torch.tensor(int(row["label"])))]
    if kind == "choice":
        scores = head(torch.stack([h[0] for h in hidden]), model.encoder)
        return [F.cross_entropy(scores, torch.tensor(int(row["label"])))]
    if kind == "span":
        scores = head(hidden[0], model.encoder)
        sides = [F.cross_entropy(scores[:, i], torch.tensor(int(row[k]))) for i, k in enumerate(("start", "end"))]
        return [(sides[0] + sides[1]) / 2]
    scores = head(hidden[0][torch.tensor(np.asarray(row["positions"], dtype=np.int64))], model.encoder)
    return list(F.cross_entropy(scores, torch.tensor(np.asarray(row["labels"], dtype=np.int64)), reduction="none"))


BY_TASK = "stage2-by_task-bucket50-micro320"


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_equal_one_float64_process(results, case):
    found, references = results
    reference = references["by_task" if "by_task" in case else "mixed"]
    np.testing.assert_allclose(found[case]["norms"], reference["norms"], rtol=2e-5)
    for name, weight in reference["weights"].items():
        difference = (found[case]["weights"][name].double() - weight).abs().max().item()
        assert difference < 0.02 * LR * STEPS, (name, difference)


@pytest.mark.parametrize("name", FILES)
def test_every_deepspeed_config_runs_and_is_as_exact_as_its_precision(results, name):
    found, references = results
    reference = references["mixed"]
    half = json.loads((HOUSE / "ds_configs" / f"{name}.json").read_text()).get("bf16", {}).get("enabled", False)
    np.testing.assert_allclose(found[name]["norms"], reference["norms"], rtol=0.05 if half else 2e-5)
    moved = torch.cat([(found[name]["weights"][n].double() - w).flatten() for n, w in reference["weights"].items()])
    # A step moves a weight by about the learning rate at most; Adam makes of bf16's noise a part of that.
    assert moved.abs().mean() < (0.2 if half else 0.002) * LR * STEPS
    assert moved.abs().max() < (2 if half else 0.02) * LR * STEPS


def test_the_cases_are_what_they_claim(results):
    """Several micro-steps where tokens are few, and training that does move weights and every head."""
    found, references = results
    assert max(found["stage2-mixed-bucket50-micro320"]["micro_steps"]) > 1
    assert set(found["stage2-mixed-bucket500000000-micro4000"]["micro_steps"]) == {1}
    split = found["stage2-mixed-bucket50-micro320"]["tasks"]  # [step][micro-step][rank] -> tasks with rows
    assert any(micro[0] != micro[1] for step in split for micro in step)
    assert any(len(tasks) < 5 for step in split for micro in step for tasks in micro)
    # `by_task`: each step one task, and no head without a step of its own has moved.
    assert all(len({t for micro in step for tasks in micro for t in tasks}) == 1 for step in found[BY_TASK]["tasks"])
    drawn = {t for step in found[BY_TASK]["tasks"] for micro in step for tasks in micro for t in tasks}
    assert 1 < len(drawn) < 5
    for name, start in references["start"].items():
        moved = not torch.equal(start.float(), found[BY_TASK]["weights"][name])
        expected = (
            name.split(".")[1] in drawn if name.startswith("heads.") else "pooler" not in name or "my_choice" in drawn
        )
        assert moved == expected, name
    assert any(norm > 1.0 for norm in references["mixed"]["norms"])  # clipping is at work
