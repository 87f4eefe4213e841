"""The rows of the word embeddings that a run trains.

A row whose token occurs in no prepared row of the run (training or dev) never gets a gradient. Its AdamW moments stay
0, so a step only decays it (Loshchilov & Hutter 2019, algorithm 2, with m = v = 0):

    w after T steps = w at the start * product over the steps made of (1 - lr_t * weight_decay)

Such rows are left out of the trained table: English data need about a tenth of XLM-R Large's 250,002, and the dense
gradient of the rest is nearly half of what data parallelism reduces. Nothing else changes: the model takes the same
token ids, and the export has the whole table, with the product (`State.decay`) applied to the untrained rows. A masked
language model's loss reaches every row through the tied output layer, so a run with a task of kind `mlm` trains all.

Equal to training the whole table up to rounding: there every step rounds the decayed row, here the product is rounded
once, and the norm to clip by is summed in another order. Rank 0 keeps the untrained rows in host memory (0.9 GB for
XLM-R Large in float32).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.run_config import RandomEncoder, RunConfig
from data_prep.storage.store import short_hash
from mtl.data.task_data import TaskData
from tasks.encoding import Special


@dataclass(frozen=True)
class Vocabulary:
    """The word embeddings of a run.

    rows: of the whole table; ids: int64 [trained], ascending, the token ids whose rows are trained (None: all); why:
    the reason, a clause.
    """

    rows: int
    ids: np.ndarray | None
    why: str

    @property
    def trained(self) -> int:
        """How many rows are trained."""
        return self.rows if self.ids is None else len(self.ids)

    @property
    def known(self) -> np.ndarray | None:
        """bool [rows]: the ids that have a trained row; None: all."""
        return None if self.ids is None else np.isin(np.arange(self.rows), self.ids)

    def identity(self, config: RunConfig) -> dict[str, Any]:
        """What a resumed run must have in common with its checkpoint: the rows in it, and the source of the others."""
        if self.ids is None:
            return {"rows": self.rows, "trained": self.rows}
        # Random rows come from the seed; for those of a folder `Setup.identity` has the encoder.
        start = f"seed {config.seed}" if isinstance(config.encoder, RandomEncoder) else "the encoder"
        return {"rows": self.rows, "trained": self.trained, "ids": short_hash(self.ids.tolist()), "others": start}

    def describe(self) -> str:
        """One line for people."""
        trained = f"all {self.rows:,}" if self.ids is None else f"{self.trained:,} of {self.rows:,}"
        return f"word embeddings: {trained} rows are trained ({self.why})"


def choose(config: RunConfig, tasks: Sequence[TaskData], special: Special, rows: int) -> Vocabulary:
    """The rows that a run over `tasks` trains of a table of `rows`: those of tokens in its data, and special ones.

    Raises `InputError` if a prepared folder holds ids outside the tokenizer's vocabulary.
    """
    if not config.trim_word_embeddings:
        return Vocabulary(rows, None, "trim_word_embeddings is false")
    masked = next((task.name for task in tasks if task.type.all_embeddings), None)
    if masked is not None:
        return Vocabulary(rows, None, f"the loss of {masked} reaches every one")
    used = np.zeros(rows, bool)
    for task in tasks:
        for prepared in task.prepared:
            used[: special.vocabulary] |= prepared.token_ids(special.vocabulary)
    used[[special.bos, special.eos, special.pad, special.mask, *special.others]] = True
    if used.all():
        return Vocabulary(rows, None, "the data hold every token")
    return Vocabulary(rows, np.flatnonzero(used), "no prepared row holds the other tokens")


class TrimmedEmbedding(nn.Embedding):
    """An embedding, ids [...] -> [..., H], that has rows for some ids only; another id is an index error.

    others: the untrained rows, [rows - trained, H], ascending ids, on the host; None in processes that do not export
    (not to `keep`).
    """

    def __init__(self, whole: nn.Embedding, ids: Tensor, keep: bool) -> None:
        count, pad = len(ids), whole.padding_idx
        row_of_id = torch.full((whole.num_embeddings,), count)  # `count`: no row, so the look-up fails
        row_of_id[ids] = torch.arange(count)
        weight = whole.weight.detach()
        padding = None if pad is None or row_of_id[pad] == count else int(row_of_id[pad])
        super().__init__(count, whole.embedding_dim, padding_idx=padding, _weight=weight[ids])
        self.row_of_id: Tensor
        self.register_buffer("row_of_id", row_of_id, persistent=False)
        self.others = weight[row_of_id == count] if keep else None

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(self.row_of_id[input])

    def whole(self, trained: Tensor, decay: float) -> Tensor:
        """[rows, H] float32: the `trained` rows, and the others times `decay`."""
        assert self.others is not None, "this process does not export"
        missing = (self.row_of_id == self.num_embeddings).cpu()
        table = trained.new_empty(len(missing), self.embedding_dim)
        table[~missing] = trained
        # Rounded as the trained rows were at the start: DeepSpeed takes its float32 master copies from bf16 weights.
        table[missing] = self.others.to(self.weight.dtype).float() * decay
        return table


def restore(encoder: Any, weights: dict[str, Tensor], decay: float) -> None:
    """Completes the word embeddings in `weights` (`encoder.*`, float32); `decay`: factor of the untrained rows."""
    table = encoder.get_input_embeddings()
    if isinstance(table, TrimmedEmbedding):
        name = next(n for n, parameter in encoder.named_parameters() if parameter is table.weight)
        weights[f"encoder.{name}"] = table.whole(weights[f"encoder.{name}"], decay)
