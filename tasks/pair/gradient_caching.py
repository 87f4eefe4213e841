"""Contrastive pairs: every query against every passage of the global batch, however ranks and micro-steps divide it.

The loss of a pair needs the vectors of all others, which are spread over micro-steps and ranks. Gradient caching (Gao
et al. 2021, arXiv 2101.06983): all vectors are computed once without a graph and gathered, the loss and its gradient
with respect to each vector are computed on every rank, and each micro-step then runs again, with a graph and the same
dropout, and sends those gradients back through it. That is the exact gradient of the whole batch; the price is a second
forward pass, which negatives of the micro-batch alone (XTREME-R's script has three) would not need.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tasks.head import HeadRows, PairGradients


@dataclass(frozen=True)
class Gathered:
    """The pairs of one task in a global step. vectors: float32 [N, 2, H], query and passage; keys: int64 [N]."""

    vectors: Tensor
    keys: Tensor


def unit_losses(queries: Tensor, passages: Tensor, scale: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """(loss, 1 where the own passage scores highest) of each of N pairs, float32 [N] each.

    Cross-entropy of the query's own passage among all passages, scores = scale * cosine, in one direction (XTREME-R's
    `BertForRetrieval`). queries, passages: [N, H] of length 1. Passages with the same key (the same text) are no
    negatives of one another.
    """
    scores = scale * (queries @ passages.T)
    own = torch.arange(len(keys), device=keys.device)
    twin = keys[:, None] == keys[None]
    twin[own, own] = False
    scores = scores.masked_fill(twin, float("-inf"))
    right = (scores.argmax(1) == own).float() if len(keys) else scores.new_zeros(0)
    return F.cross_entropy(scores, own, reduction="none"), right


def gradients(found: Gathered, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the summed loss of all pairs: (d/d vectors [N, 2, H], d/d scale [], [N, 2] unit losses and rights)."""
    with torch.enable_grad():
        vectors = found.vectors.detach().requires_grad_()
        factor = scale.detach().float().requires_grad_()
        losses, right = unit_losses(vectors[:, 0], vectors[:, 1], factor, found.keys)
        by_vector, by_scale = torch.autograd.grad(losses.sum(), (vectors, factor))
    return by_vector, by_scale, torch.stack([losses.detach(), right], 1)


def attach(rows: HeadRows, found: tuple[Tensor, Tensor, Tensor]) -> HeadRows:
    """`rows` with their gradients; `found`: from `gradients`, by the slots in `labels`."""
    by_vector, by_scale, units = found
    slots = rows.labels
    share = len(slots) / max(1, len(units))  # every pair carries its share of the gradient of the scale
    return replace(rows, pairs=PairGradients(by_vector[slots].flatten(0, 1), by_scale * share, units[slots]))


def loss(vectors: Tensor, scale: Tensor, rows: HeadRows) -> tuple[Tensor, Tensor, Tensor]:
    """(what to send backward, summed unit losses, number of pairs right), float32 scalars, for one micro-batch.

    vectors: [2n, H], query and passage of each pair in turn. With gradients attached, the first is not the loss itself
    but has its gradient; without, the micro-batch is taken for the whole.
    """
    vectors, scale = vectors.float(), scale.float()
    known = rows.pairs
    if known is None:
        losses, right = unit_losses(vectors[0::2], vectors[1::2], scale, rows.group)
        return losses.sum(), losses.sum().detach(), right.sum()
    backward = (vectors * known.vectors).sum() + scale * known.scale
    return backward, known.units[:, 0].sum(), known.units[:, 1].sum()


def gather(pieces: list[tuple[Tensor, Tensor]], keys: np.ndarray, width: int, device: torch.device) -> Gathered:
    """The pairs of a step from this rank's `pieces` of (slots [n], vectors [2n, H]) (a collective call).

    keys: of all pairs of the step, by slot, as every rank knows them from the plan.
    """
    total = torch.zeros(len(keys), 2, width, device=device)
    for slots, vectors in pieces:
        total[slots] = vectors.float().unflatten(0, (-1, 2))
    torch.distributed.all_reduce(total)  # every slot is filled on one rank and zero on the others
    return Gathered(total, torch.from_numpy(keys.astype(np.int64)).to(device))


def average_precision(queries: Tensor, passages: Tensor, keys: Tensor, k: int = 20) -> Tensor:
    """float64 [N]: AP@k of each query over the different passages; relevant is the one with the query's key.

    With one relevant passage that is 1/rank, 0 beyond rank k. [N, H] each, length 1.
    """
    _, first = np.unique(keys.cpu().numpy(), return_index=True)
    pool = torch.from_numpy(np.sort(first)).to(queries.device)
    scores = queries @ passages[pool].T
    own = (keys[:, None] == keys[pool][None]).to(torch.int64).argmax(1)
    rank = 1 + (scores > scores.gather(1, own[:, None])).sum(1)
    return torch.where(rank <= k, 1 / rank.double(), torch.zeros((), dtype=torch.float64, device=rank.device))
