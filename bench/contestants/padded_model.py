"""The model and batches of the baselines: transformers' encoder on padded batches of one task, a head for each task.

`Padded` has the weights of our model (the heads have transformers' own shapes) in stock modules, with SDPA and a mask;
`Flat` is the same without padding.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.contestants.reference_losses import first_rows
from mtl.model import attention
from mtl.model.encoder import MultiTaskModel, new_encoder
from mtl.run.setup import Setup
from tasks.encoding import Row
from tasks.head import Mean

Batch = dict[str, Any]
IGNORED = -100


class Padded(nn.Module):
    """`setup.model()` on padded batches; `forward` returns the mean loss of its examples (or tagged words)."""

    def __init__(self, setup: Setup, model: MultiTaskModel) -> None:
        super().__init__()
        config = setup.source
        config._attn_implementation = "sdpa"
        family = model.encoder.family
        for name in (*family.hidden_dropout, family.attention_dropout):
            setattr(config, name, getattr(model.encoder.config, name))
        self.encoder = new_encoder(config)
        self.encoder.load_state_dict(model.encoder.state_dict())
        self.heads = model.heads
        self.kinds = model.kinds
        self.reads_whole_sequences = family.reads_whole_sequences(config)

    def hidden(self, input_ids: Tensor, attention_mask: Tensor, lengths: Sequence[int], **types: Tensor) -> Tensor:
        """The last hidden states, [n, width, H]."""
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state

    def forward(
        self, task: str, input_ids: Tensor, attention_mask: Tensor, lengths: Sequence[int], labels: Tensor,
        choices: int, **types: Tensor,
    ) -> Tensor:  # fmt: skip
        hidden = self.hidden(input_ids, attention_mask, lengths, **types)
        kind, head = self.kinds[task], self.heads[task]
        if kind in ("classify", "choice"):
            if self.reads_whole_sequences:
                scores = head(hidden[attention_mask > 0], self.encoder, Mean(attention_mask.sum(1)))
            else:
                scores = head(hidden[:, 0], self.encoder)
            return F.cross_entropy(scores if kind == "classify" else scores.view(-1, choices), labels)
        scores = head(hidden, self.encoder)
        if kind == "span":
            scores = scores.masked_fill(attention_mask[..., None] == 0, float("-inf"))
            return (F.cross_entropy(scores[..., 0], labels[:, 0]) + F.cross_entropy(scores[..., 1], labels[:, 1])) / 2
        return F.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


class Flat(Padded):
    """The encoder sees the sequences of a batch one after another, as from transformers' `DataCollatorWithFlattening`.

    Attention is FlashAttention 2 on a GPU (`torch.nn.attention.varlen`), on CPU an SDPA call for each length.
    """

    def __init__(self, setup: Setup, model: MultiTaskModel) -> None:
        super().__init__(setup, model)
        self.encoder.config._attn_implementation = attention.NAME
        self.first_position = model.encoder.family.first_position(setup.source)

    def hidden(self, input_ids: Tensor, attention_mask: Tensor, lengths: Sequence[int], **types: Tensor) -> Tensor:
        device, width = input_ids.device, input_ids.shape[1]
        # On the host: the lengths would have to be waited for on a GPU.
        sizes = torch.tensor(lengths)
        ends = sizes.cumsum(0)
        position = torch.arange(int(ends[-1])) - (ends - sizes).repeat_interleave(sizes)
        cell = position + (torch.arange(len(sizes)) * width).repeat_interleave(sizes)
        host = [cell, position + self.first_position, F.pad(ends, (1, 0)).int()]
        host = [part.pin_memory() for part in host] if device.type == "cuda" else host
        cells, positions, boundaries = (part.to(device, non_blocking=True) for part in host)
        backend = "varlen" if device.type == "cuda" else "sdpa"
        flat = {name: part.flatten()[cells][None] for name, part in {"input_ids": input_ids, **types}.items()}
        layout = attention.make_layout(backend, tuple(lengths), boundaries)
        out = self.encoder(**flat, position_ids=positions[None], layout=layout).last_hidden_state[0]
        return out.new_zeros(input_ids.numel(), out.shape[1]).index_copy(0, cells, out).view(*input_ids.shape, -1)


def collate(task: str, kind: str, batch: Sequence[Row], pad: int, width: int | None = None) -> Batch:
    """Rows of one task as inputs of `Padded`, int64; `width`: the length to pad to, None: that of the longest row."""
    sequences = [ids for row in batch for ids in np.split(np.asarray(row["input_ids"]), np.cumsum(row["lengths"])[:-1])]
    width = width or max(len(ids) for ids in sequences)
    input_ids = np.full((len(sequences), width), pad, dtype=np.int64)
    mask = np.zeros((len(sequences), width), dtype=np.int64)
    for index, ids in enumerate(sequences):
        input_ids[index, : len(ids)] = ids
        mask[index, : len(ids)] = 1
    if kind == "span":
        labels = np.array([[row["start"], row["end"]] for row in batch], dtype=np.int64)
    elif kind == "tag":
        labels = np.full((len(sequences), width), IGNORED, dtype=np.int64)
        for index, row in enumerate(batch):
            labels[index, row["positions"]] = row["labels"]
    else:
        labels = np.array([row["label"] for row in batch], dtype=np.int64)
    tensors = {"input_ids": input_ids, "attention_mask": mask, "labels": labels}
    if "second" in batch[0]:
        second = np.concatenate([row["second"] for row in batch])
        tensors["token_type_ids"] = ((np.arange(width) >= second[:, None]) & (mask > 0)).astype(np.int64)
    return {
        "task": task, "choices": len(batch[0]["lengths"]), "lengths": [len(ids) for ids in sequences],
        **{key: torch.from_numpy(v) for key, v in tensors.items()},
    }  # fmt: skip


def padded_losses(setup: Setup, model: Padded, device: torch.device, bf16: bool) -> dict[str, float]:
    """As `packed_losses`, by the padded model, in float32 or under bf16 autocast."""
    model.eval()
    losses = {}
    for index, task in enumerate(setup.tasks):
        batch = collate(task.name, task.task.kind, first_rows(setup, index), setup.special.pad)
        batch = {name: part.to(device) if isinstance(part, Tensor) else part for name, part in batch.items()}
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            losses[task.name] = float(model(**batch))
    model.train()
    return losses


class Batches:
    """An endless iterator of (task, rows [size]), tasks in proportion to their shares.

    grouped: within 50 batches of a task, rows of similar length together, as transformers' LengthGroupedSampler does
    with its megabatches; otherwise in random order. The next task is the one furthest behind its share: drawn at
    random, a few steps would say more about the draw than about the program.
    """

    def __init__(self, setup: Setup, size: int, seed: int, grouped: bool) -> None:
        self._setup, self._size, self._grouped = setup, size, grouped
        self._rng = np.random.default_rng(seed)
        shares = np.array([task.entry.share or 0.0 for task in setup.tasks])
        self._shares = shares / shares.sum()
        self._due = self._rng.random(len(shares)) * self._shares
        self._waiting: list[list[np.ndarray]] = [[] for _ in setup.tasks]

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> tuple[int, np.ndarray]:
        self._due += self._shares
        task = int(self._due.argmax())
        self._due[task] -= 1.0
        if not self._waiting[task]:
            self._waiting[task] = self._refill(task)
        return task, self._waiting[task].pop()

    def _refill(self, task: int) -> list[np.ndarray]:
        length = self._setup.tasks[task].train.length
        order = self._rng.permutation(len(length))
        batches = []
        for first in range(0, len(order), 50 * self._size):
            mega = order[first : first + 50 * self._size]
            if self._grouped:
                mega = mega[np.argsort(-length[mega], kind="stable")]
            batches += [mega[i : i + self._size] for i in range(0, len(mega) - self._size + 1, self._size)]
        self._rng.shuffle(batches)  # type: ignore[arg-type]
        return batches
