"""What test_exact.py measures against: one process, float64, written straight from the definition of the loss.

One unpadded sequence at a time goes through transformers' own attention; torch's own AdamW gets *no* gradient for a
head without rows. Of the project only the plan (which examples make a step), the data, the modules of the heads and the
weights at the start are used.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mtl.data import loader
from mtl.model.encoder import MultiTaskModel
from mtl.run import setup
from tests.support.packing import mask_row

STEPS, LR, HEAD_LR, DECAY, EPS, CLIP, TAG_WEIGHT = 5, 1e-3, 2e-3, 0.1, 1e-6, 2.0, 2.5
FACTORS = [1 / 2, 1, 1, 2 / 3, 1 / 3]  # of the learning rate: two steps up, then down to 0 at the sixth

Tensors = dict[str, Tensor]


@dataclass
class Run:
    """By step, as `record` in exact_worker.py; a gradient that is missing (no rows) is absent."""

    weights: list[Tensors] = field(default_factory=list)
    grads: list[Tensors] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    exp_avg: list[Tensors] = field(default_factory=list)
    exp_avg_sq: list[Tensors] = field(default_factory=list)


class Reference:
    """The reference of a run config with its overrides."""

    def __init__(self, path: Path, overrides: list[str]) -> None:
        self.made = setup.read(str(path), overrides)
        self.model: MultiTaskModel = self.made.model().double()
        self.model.encoder.set_attn_implementation("eager")
        self.steps = list(loader.steps_from(self.made.plan, 0))
        self.start = self._weights()

    def gradients(self, number: int, weights: Tensors | None = None) -> Tensors:
        """The gradient of step `number` at `weights` (None: as they are), unclipped."""
        if weights is not None:
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    parameter.copy_(weights[name])
        self.model.zero_grad(set_to_none=True)
        self._loss(number).backward()
        return {n: p.grad.clone() for n, p in self.model.named_parameters() if p.grad is not None}

    def train(self) -> Run:
        """All steps with torch's own AdamW, from the start."""
        optimizer = torch.optim.AdamW(
            [
                {"params": [p], "lr": HEAD_LR if name.startswith("heads.") else LR, "weight_decay": _decay(name)}
                for name, p in self.model.named_parameters()
            ],
            betas=(0.9, 0.999),
            eps=EPS,
        )
        peaks = [group["lr"] for group in optimizer.param_groups]
        run = Run()
        for number in range(STEPS):
            run.weights.append(self._weights())
            run.grads.append(self.gradients(number))
            run.norms.append(float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)))
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * FACTORS[number]
            optimizer.step()
            for key, kept in (("exp_avg", run.exp_avg), ("exp_avg_sq", run.exp_avg_sq)):
                state = {name: optimizer.state[p].get(key, p * 0) for name, p in self.model.named_parameters()}
                kept.append({name: moment.detach().clone() for name, moment in state.items()})
        run.weights.append(self._weights())
        return run

    def _weights(self) -> Tensors:
        return {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}

    def _loss(self, number: int) -> Tensor:
        step, plan = self.steps[number], self.made.plan
        unit_losses: dict[int, list[Tensor]] = {t: [] for t in range(len(plan.tasks))}
        pairs: dict[int, list[_Pair]] = {}
        for slot, (t, row) in enumerate(zip(step.task, step.row, strict=True)):
            task = plan.tasks[t]
            encoded = task.train.take(np.array([row]))[0]
            if task.task.kind == "mlm":
                place = (plan.config.seed, number, slot)
                encoded = mask_row(encoded, self.made.special, plan.config.mlm_probability, place)
            if task.task.kind == "pair":
                source = json.loads(Path(task.task.files[task.name][0]).read_text().splitlines()[encoded["example"]])
                entry = plan.config.tasks[t]
                pairs.setdefault(int(t), []).append(_pair(self.model, encoded, source, entry.pooling))
                continue
            parts = [F.cross_entropy(s, gold) for s, gold in scores_of(self.model, task.name, task.task.kind, encoded)]
            unit_losses[int(t)] += [(parts[0] + parts[1]) / 2] if task.task.kind == "span" else parts
        for t, found in pairs.items():
            unit_losses[t] = _among_all(found, self.model.heads[plan.tasks[t].name].logit_scale[0])
        total = torch.zeros((), dtype=torch.float64)
        for t, found in unit_losses.items():
            if found:
                weight = TAG_WEIGHT if plan.tasks[t].task.kind == "tag" else 1.0
                total = total + weight * (step.task == t).sum() / len(step.task) * torch.stack(found).mean()
        return total


def _decay(name: str) -> float:
    """0 for biases and LayerNorm (the only other vectors)."""
    return DECAY if "weight" in name and "norm" not in name.lower() else 0.0


def scores_of(model: MultiTaskModel, name: str, kind: str, row: dict) -> list[tuple[Tensor, Tensor]]:
    """(scores, index of the gold one) of each softmax over one example: of a span its start and its end."""
    ids = np.asarray(row["input_ids"], dtype=np.int64)
    hidden = [
        model.encoder(torch.from_numpy(piece)[None]).last_hidden_state[0]
        for piece in np.split(ids, np.cumsum(row["lengths"])[:-1])
    ]
    if kind in ("tag", "mlm"):
        read, gold = hidden[0][torch.tensor(np.asarray(row["positions"], dtype=np.int64))], row["labels"]
    elif kind == "span":
        read, gold = hidden[0], [row["start"], row["end"]]
    else:
        read, gold = torch.stack([h[0] for h in hidden]), [row["label"]]
    scores = model.heads[name](read, model.encoder)
    scores = scores.T if kind == "span" else scores[None] if kind == "choice" else scores
    return list(zip(scores, torch.tensor(np.asarray(gold, dtype=np.int64)), strict=True))


@dataclass
class _Pair:
    """Vectors of query, passage and hard negative at length 1, their tokens, and the group of the source row."""

    vectors: list[Tensor]
    texts: list[bytes]
    group: str | None


def _pair(model: MultiTaskModel, row: dict, source: dict, pooling: str | None) -> _Pair:
    """Pooler of the first token, or the mean of all; `source`: the row of the user's file."""
    pieces = np.split(np.asarray(row["input_ids"], dtype=np.int64), np.cumsum(row["lengths"])[:-1])
    outputs = [model.encoder(torch.from_numpy(piece)[None]) for piece in pieces]
    vectors = [out.last_hidden_state[0].mean(0) if pooling == "mean" else out.pooler_output[0] for out in outputs]
    assert len(vectors) == 2 + ("negative" in source)
    return _Pair([v / v.norm() for v in vectors], [piece.tobytes() for piece in pieces], source.get("group"))


def _among_all(found: list[_Pair], scale: Tensor) -> list[Tensor]:
    """-log of the own passage's share among all that are wrong for the query, for every query of the step.

    Wrong are passages and hard negatives of the other pairs, but for those of its group, and its own hard negative;
    never a text that is its own passage.
    """
    losses = []
    for i, pair in enumerate(found):
        query, own, *_ = pair.vectors
        wrong = []
        for j, other in enumerate(found):
            same = pair.group is not None and pair.group == other.group
            answers = range(1, len(other.vectors)) if not same else []
            for k in range(2, len(pair.vectors)) if i == j else answers:
                wrong += [other.vectors[k]] if other.texts[k] != pair.texts[1] else []
        scores = torch.stack([scale * (query @ passage) for passage in (own, *wrong)])
        losses.append(torch.logsumexp(scores, 0) - scores[0])
    return losses
