"""Exact nearest neighbours by cosine, in blocks, on whatever device the vectors are on.

Vectors are L2-normalised and multiplied block by block; only the running k best of each query are kept, so memory is
the two inputs plus one block of `BLOCK` x `BLOCK` scores (64 MB), whatever the sizes. No index is built: the search is
exact and needs no faiss.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 4096


def normalise(vectors: np.ndarray | Tensor) -> Tensor:
    """float32 [n, H] with rows of length 1 (a zero row stays zero)."""
    return F.normalize(torch.as_tensor(vectors, dtype=torch.float32), dim=1)


def centre(vectors: np.ndarray) -> np.ndarray:
    """[n, H] minus its mean row: takes out what all sentences of one language share."""
    return vectors - vectors.mean(axis=0, keepdims=True)


def top_k(queries: Tensor, index: Tensor, k: int, block: int = BLOCK) -> tuple[Tensor, Tensor]:
    """(scores float32 [q, k], places int64 [q, k]) of the k rows of `index` with the highest dot product, best first.

    queries [q, H] and index [n, H], `normalise`d for cosine; k <= n (`ValueError`). Equal scores: the earlier row
    first (which of several equal ones comes last into the k is not defined, except for k = 1: the earliest).
    """
    if not 1 <= k <= len(index):
        raise ValueError(f"top_k: k = {k}, but the index has {len(index)} rows")
    scores = queries.new_empty((len(queries), k))
    places = torch.empty((len(queries), k), dtype=torch.int64, device=queries.device)
    for first in range(0, len(queries), block):
        rows = queries[first : first + block]
        best = rows.new_full((len(rows), 0), 0.0)
        where = torch.empty((len(rows), 0), dtype=torch.int64, device=queries.device)
        for start in range(0, len(index), block):
            part = rows @ index[start : start + block].T
            if k == 1:  # argmax is the earliest of equal ones, topk makes no promise
                at = part.argmax(dim=1, keepdim=True)
                best = torch.cat([best, part.gather(1, at)], dim=1)
                where = torch.cat([where, at + start], dim=1)
            else:
                value, at = part.topk(min(k, part.shape[1]), dim=1)
                best, where = torch.cat([best, value], dim=1), torch.cat([where, at + start], dim=1)
            best, where = _order(best, where, k)
        scores[first : first + block], places[first : first + block] = best, where
    return scores, places


def nearest(queries: np.ndarray, index: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """int64 [q]: the row of `index` nearest to each query by cosine; equal ones: the earlier."""
    _, places = top_k(normalise(queries).to(device), normalise(index).to(device), 1)
    return places[:, 0].cpu().numpy()


def accuracy(queries: np.ndarray, index: np.ndarray, device: torch.device | str = "cpu") -> float:
    """Share of rows i, 0-100, whose nearest row of `index` by cosine is row i. [n, H] each, aligned row by row."""
    assert len(queries) == len(index)
    return 100 * float((nearest(queries, index, device) == np.arange(len(queries))).mean())


def _order(scores: Tensor, places: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best of each row, by score from high to low, then by place."""
    by_place = places.argsort(dim=1, stable=True)
    scores, places = scores.gather(1, by_place), places.gather(1, by_place)
    by_score = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return scores.gather(1, by_score), places.gather(1, by_score)
