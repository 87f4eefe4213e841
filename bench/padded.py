"""What users would write without Intermezzo: transformers' encoder on padded batches of one task, a head per task.

`Padded` has the weights of our model (the heads have transformers' own shapes), stock modules and attention (SDPA with
a mask). `collate` pads to the longest row of the batch, or to a fixed length.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import XLMRobertaModel

from bench.probe import rows
from mtl.model.encoder import MultiTaskModel
from mtl.run.setup import Setup
from tasks.encoding import Row

Batch = dict[str, Any]
IGNORED = -100


class Padded(nn.Module):
    """`made.model()` on padded batches: forward gives the mean loss of a batch's examples (tags: of its words)."""

    def __init__(self, made: Setup, model: MultiTaskModel) -> None:
        super().__init__()
        config = made.source
        config._attn_implementation = "sdpa"
        config.hidden_dropout_prob = model.encoder.config.hidden_dropout_prob
        config.attention_probs_dropout_prob = model.encoder.config.attention_probs_dropout_prob
        self.encoder = XLMRobertaModel(config)
        self.encoder.load_state_dict(model.encoder.state_dict())
        self.heads = model.heads
        self.kinds = model.kinds

    def forward(self, task: str, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, choices: int) -> Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        kind, head = self.kinds[task], self.heads[task]
        if kind == "classify":
            return F.cross_entropy(head(hidden[:, 0], self.encoder), labels)
        if kind == "choice":
            return F.cross_entropy(head(hidden[:, 0], self.encoder).view(-1, choices), labels)
        scores = head(hidden, self.encoder)
        if kind == "span":
            scores = scores.masked_fill(attention_mask[..., None] == 0, float("-inf"))
            return (F.cross_entropy(scores[..., 0], labels[:, 0]) + F.cross_entropy(scores[..., 1], labels[:, 1])) / 2
        return F.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def collate(task: str, kind: str, batch: Sequence[Row], pad: int, to: int | None = None) -> Batch:
    """Rows of one task as tensors for `Padded`; `to`: the length to pad to, None: that of the longest."""
    pieces = [
        piece for row in batch for piece in np.split(np.asarray(row["input_ids"]), np.cumsum(row["lengths"])[:-1])
    ]
    width = to or max(len(piece) for piece in pieces)
    input_ids = np.full((len(pieces), width), pad, dtype=np.int64)
    mask = np.zeros((len(pieces), width), dtype=np.int64)
    for place, piece in enumerate(pieces):
        input_ids[place, : len(piece)] = piece
        mask[place, : len(piece)] = 1
    if kind == "span":
        labels = np.array([[row["start"], row["end"]] for row in batch], dtype=np.int64)
    elif kind == "tag":
        labels = np.full((len(pieces), width), IGNORED, dtype=np.int64)
        for place, row in enumerate(batch):
            labels[place, row["positions"]] = row["labels"]
    else:
        labels = np.array([row["label"] for row in batch], dtype=np.int64)
    tensors = {"input_ids": input_ids, "attention_mask": mask, "labels": labels}
    return {
        "task": task, "choices": len(batch[0]["lengths"]), **{key: torch.from_numpy(v) for key, v in tensors.items()}
    }  # fmt: skip


def probe(made: Setup, model: Padded, device: torch.device, half: bool) -> dict[str, float]:
    """As `bench.probe.probe`, by the padded model, in float32 or under autocast in bf16 (`half`)."""
    model.eval()
    found = {}
    for index, task in enumerate(made.tasks):
        batch = collate(task.name, task.task.kind, rows(made, index), made.special.pad)
        batch = {name: part.to(device) if isinstance(part, Tensor) else part for name, part in batch.items()}
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = model(**batch)
        found[task.name] = float(loss)
    model.train()
    return found


def batches(made: Setup, size: int, seed: int, grouped: bool) -> "Batches":
    """An endless stream of (task, rows [size]), the tasks by their shares; see `Batches`."""
    return Batches(made, size, seed, grouped)


class Batches:
    """Batches of one task each. grouped: within 50 batches of a task, rows of like length together (as transformers'

    LengthGroupedSampler does with its megabatches); else in random order. The task is always the one that is furthest
    behind its share: drawn at random, a few steps would say more about the draw than about the program.
    """

    def __init__(self, made: Setup, size: int, seed: int, grouped: bool) -> None:
        self._made, self._size, self._grouped = made, size, grouped
        self._rng = np.random.default_rng(seed)
        shares = np.array([task.share or 0.0 for task in made.tasks])
        self._p = shares / shares.sum()
        self._due = self._rng.random(len(shares)) * self._p
        self._waiting: list[list[np.ndarray]] = [[] for _ in made.tasks]

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> tuple[int, np.ndarray]:
        self._due += self._p
        task = int(self._due.argmax())
        self._due[task] -= 1.0
        if not self._waiting[task]:
            self._waiting[task] = self._refill(task)
        return task, self._waiting[task].pop()

    def _refill(self, task: int) -> list[np.ndarray]:
        length = self._made.tasks[task].train.length
        order = self._rng.permutation(len(length))
        found = []
        for first in range(0, len(order), 50 * self._size):
            mega = order[first : first + 50 * self._size]
            if self._grouped:
                mega = mega[np.argsort(-length[mega], kind="stable")]
            found += [mega[i : i + self._size] for i in range(0, len(mega) - self._size + 1, self._size)]
        self._rng.shuffle(found)  # type: ignore[arg-type]
        return found
