"""Contrastive pairs: every query against every passage of the global batch, however ranks and micro-steps divide it.

The loss of a pair needs the vectors of all others, which are spread over micro-steps and ranks. Gradient caching (Gao
et al. 2021, arXiv 2101.06983): all vectors are computed once without a graph and gathered, the loss and its gradient
with respect to each vector are computed on every rank, and each micro-step then runs again, with a graph and the same
dropout, and sends those gradients back through it. That is the exact gradient of the whole batch; the price is a second
forward pass, which negatives of the micro-batch alone (XTREME-R's script has three) would not need.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.columns import spread
from tasks.head import HeadRows, PairGradients


def masked_scores(vectors: Tensor, scale: Tensor, keys: Tensor) -> Tensor:
    """scale * cosine of every query with every passage and, if there are any, every hard negative: [N, N (C - 1)].

    -inf for what is no wrong answer to the query though it is not its own: passages and negatives of the same group,
    and those with the same text as its own passage. vectors: [N, C, H] of length 1; keys: int64 [N, 3].
    """
    queries, *answers = vectors.unbind(1)
    scores = scale * (queries @ (torch.cat(answers) if len(answers) > 1 else answers[0]).T)
    group, passage, negative = keys.unbind(1)
    own = torch.eye(len(keys), dtype=torch.bool, device=keys.device)
    same = (group[:, None] == group[None]) & ~own
    masks = [same | ((passage[:, None] == passage[None]) & ~own)]
    if len(answers) > 1:
        masks.append(same | (passage[:, None] == negative[None]) | (negative < 0)[None])
    return scores.masked_fill(torch.cat(masks, 1), float("-inf"))


def unit_losses(vectors: Tensor, scale: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """(loss, 1 where the own passage scores highest) of each of N pairs, float32 [N] each.

    Cross-entropy of the query's own passage among all answers, in one direction (XTREME-R's `BertForRetrieval`; with
    hard negatives sentence-transformers' `MultipleNegativesRankingLoss`). Arguments as in `masked_scores`.
    """
    scores = masked_scores(vectors, scale, keys)
    own = torch.arange(len(keys), device=keys.device)
    right = (scores.argmax(1) == own).float() if len(keys) else scores.new_zeros(0)
    return F.cross_entropy(scores, own, reduction="none"), right


def gradients(local: list[tuple[HeadRows, Tensor]], keys: np.ndarray, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the loss summed over the N pairs of a step, from this rank's vectors [m, H] of the rows of each micro-batch.

    keys: int64 [N, 3] of all pairs of the step, by slot, as every rank knows them from the plan. Returns (d/d vectors
    [N, C, H] of query, passage and, if any pair has one, hard negative (C = 2 or 3); d/d scale []; [N, 2] unit losses
    and rights). A collective call.
    """
    width, size = sequences(keys), local[0][1].shape[1]
    total = torch.zeros(len(keys) * width, size, device=scale.device)
    for rows, vectors in local:
        total[_places(rows, rows.labels, width)] = vectors.float()
    torch.distributed.all_reduce(total)  # every slot is filled on one rank and zero on the others
    with torch.enable_grad():
        whole = total.unflatten(0, (len(keys), width)).requires_grad_()
        factor = scale.detach().float().requires_grad_()
        losses, right = unit_losses(whole, factor, torch.from_numpy(keys.astype(np.int64)).to(scale.device))
        by_vector, by_scale = torch.autograd.grad(losses.sum(), (whole, factor))
    return by_vector, by_scale, torch.stack([losses.detach(), right], 1)


def attach(rows: HeadRows, found: tuple[Tensor, Tensor, Tensor]) -> HeadRows:
    """`rows` with their gradients; `found`: from `gradients`, by the slots in `labels`."""
    by_vector, by_scale, units = found
    slots = rows.labels
    share = len(slots) / max(1, len(units))  # every pair carries its share of the gradient of the scale
    mine = by_vector.flatten(0, 1)[_places(rows, slots, by_vector.shape[1])]
    return replace(rows, pairs=PairGradients(mine, by_scale * share, units[slots]))


def loss(vectors: Tensor, scale: Tensor, rows: HeadRows) -> tuple[Tensor, Tensor, Tensor]:
    """(what to send backward, summed unit losses, number of pairs right), float32 scalars, for one micro-batch.

    vectors: [m, H], query, passage and, where there is one, hard negative of each pair in turn. With gradients
    attached, the first is not the loss itself but has its gradient; without, the micro-batch is taken for the whole.
    """
    vectors, scale = vectors.float(), scale.float()
    known = rows.pairs
    if known is None:
        losses, right = unit_losses(stacked(vectors, rows), scale, rows.group)
        return losses.sum(), losses.sum().detach(), right.sum()
    backward = (vectors * known.vectors).sum() + scale * known.scale
    return backward, known.units[:, 0].sum(), known.units[:, 1].sum()


def sequences(keys: np.ndarray) -> int:
    """3 if any of the pairs with these keys has a hard negative, else 2."""
    return 3 if keys[:, 2].max(initial=-1) >= 0 else 2


def stacked(vectors: Tensor, rows: HeadRows) -> Tensor:
    """[m, H] -> [n, C, H]: the vectors of n pairs by pair, 0 where a pair has no hard negative."""
    count, width = len(rows.counts), int(rows.counts.max(initial=2))
    places = _places(rows, torch.arange(count, device=vectors.device), width)
    total = vectors.new_zeros(count * width, vectors.shape[-1]).index_copy(0, places, vectors)
    return total.unflatten(0, (count, width))


def _places(rows: HeadRows, slots: Tensor, width: int) -> Tensor:
    """int64 [m]: the place of each vector of `rows` among `width` of each pair, of which these are at `slots`."""
    columns = spread(np.zeros(len(rows.counts), np.int64), rows.counts)
    counts, column = (torch.from_numpy(a).to(slots.device, non_blocking=True) for a in (rows.counts, columns))
    return slots.repeat_interleave(counts, output_size=len(columns)) * width + column


def average_precision(vectors: Tensor, keys: Tensor, k: int = 20) -> Tensor:
    """float64 [N]: AP@k of each query over the different texts; relevant is its own passage.

    That is 1/rank, 0 beyond rank k. Texts that `masked_scores` leaves out are not ranked, but for the query's own hard
    negative, which another row of its group may have too; nor is one twice.
    """
    scores = masked_scores(vectors, vectors.new_ones(()), keys)
    texts = torch.cat([keys[:, 1], keys[:, 2]][: vectors.shape[1] - 1])
    different, text = torch.unique(texts, return_inverse=True)
    best = scores.new_full((len(scores), len(different)), float("-inf"))
    best.scatter_reduce_(1, text.expand(len(scores), -1), scores, "amax")
    left_out = best.new_zeros(best.shape).index_add_(1, text, scores.isinf().to(scores.dtype)) > 0
    row = torch.arange(len(scores), device=scores.device)
    if vectors.shape[1] > 2:
        known = row[keys[:, 2] >= 0]
        left_out[known, text[len(row) :][known]] = False
    left_out[row, text[: len(row)]] = True  # its own passage, whose copies may round
    rank = 1 + ((best > scores.diagonal()[:, None]) & ~left_out).sum(1)
    return torch.where(rank <= k, 1 / rank.double(), torch.zeros((), dtype=torch.float64, device=rank.device))
