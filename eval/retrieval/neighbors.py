"""Exact nearest neighbours by dot product: blocked `torch.topk`, on CPU or GPU; no index is built.

    scores, indices = top_k(queries, index, 4)              # each query's 4 best rows of `index`, best first
    forward, backward = top_k_both(german, english, 4)           # both directions from the same products

Exact: the neighbours by the exact dot products of the vectors, whatever the BLAS, the device or the number of
threads. Blocks are multiplied in float32 (never TF32), and the best 2k + 16 rows of each query are kept. Those closer
together than the rounding error of a product can be (H * 2^-24 * |x| * |y|, the bound for any order of summation:
Higham 2002, section 3.1) are multiplied again in float64; scores that are equal there go to the earlier row. A query
with more near ties than are kept (copies of one sentence, a collapsed encoder) is searched in float64 altogether.

Memory beside the vectors: about 0.2 GB of blocks on CPU, 2 GB on a GPU, and 12 (2k + 16) bytes for each query, with
`top_k_both` of both sides.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from common.errors import InputError

Vectors = np.ndarray | Tensor
Neighbours = tuple[np.ndarray, np.ndarray]  # (scores float32 [n, k], indices int64 [n, k]), best first

_BLOCK = {"cpu": (2048, 4096), "cuda": (8192, 16384)}  # (queries, index rows) multiplied at once in float32
_FLOAT64 = {"cpu": 1 << 20, "cuda": 1 << 25}  # numbers of a block in float64


def normalise(vectors: Vectors) -> Tensor:
    """float32 [n, H] with rows of length 1 (a zero row stays zero)."""
    return F.normalize(torch.as_tensor(vectors, dtype=torch.float32), dim=1)


def centre(vectors: np.ndarray) -> np.ndarray:
    """[n, H] minus its mean row: takes out what all sentences of one language share."""
    return vectors - vectors.mean(axis=0, keepdims=True)


def top_k(queries: Vectors, index: Vectors, k: int) -> Neighbours:
    """The k rows of `index` [m, H] with the highest dot product for each of `queries` [n, H], best first.

    float32 or float64, on one device. Equal scores: the earlier row first. 1 <= k <= m. `InputError` for a NaN or an
    infinity.
    """
    return _search(queries, index, k, both=False)[0]


def top_k_both(left: Vectors, right: Vectors, k: int) -> tuple[Neighbours, Neighbours]:
    """(`top_k(left, right, k)`, `top_k(right, left, k)`) for the products of one; k at most both lengths."""
    forward, backward = _search(left, right, k, both=True)
    return forward, backward


def _search(left: Vectors, right: Vectors, k: int, both: bool) -> list[Neighbours]:
    with torch.inference_mode(), _full_precision():
        x, y = _Side(left, "queries"), _Side(right, "index")
        rows, columns = _BLOCK[x.vectors.device.type]
        nearest = [_Nearest(*sides, k) for sides in ((x, y), (y, x))[: 1 + both]]
        for row in range(0, len(x), rows):
            part = x.read(slice(row, row + rows))
            for column in range(0, len(y), columns):
                scores = part @ y.read(slice(column, column + columns)).T
                nearest[0].add(scores, row, column)
                if both:
                    nearest[1].add(scores.T.contiguous(), column, row)
        return [one.decided() for one in nearest]


class _Side:
    """Vectors [n, H], read by rows; `norms` float32 [n]: their lengths."""

    def __init__(self, vectors: Vectors, name: str) -> None:
        self.vectors = torch.as_tensor(vectors)
        self.norms = torch.linalg.vector_norm(self.vectors, dim=1).float()
        wrong = (~self.norms.isfinite()).nonzero()
        if len(wrong):
            raise InputError(f"vectors ({name}): row {int(wrong[0])} has a NaN or an infinity, so it has no neighbours")

    def __len__(self) -> int:
        return len(self.vectors)

    def read(self, rows: slice | Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.vectors[rows].to(dtype)


class _Nearest:
    """For each of n queries the rows of `index` that are best so far: `scores`, `indices` [n, 2k + 16].

    Differences of float32 scores above `slack` [n, 1] have the right sign; float64 scores closer than `same` are equal.
    """

    def __init__(self, queries: _Side, index: _Side, k: int) -> None:
        self.queries, self.index, self.k = queries, index, k
        self.width = queries.vectors.shape[1]
        sizes = (queries.norms * index.norms.max())[:, None]  # |x| |y| at most
        # 8 more than the sum needs: vectors in float64 are rounded before.
        self.slack = sizes * (2.1 * (self.width + 8) * 2.0**-24)
        self.same = sizes.double() * ((self.width + 8) * 2.0**-50)
        self.scores = queries.norms.new_full((len(queries), min(2 * k + 16, len(index))), -torch.inf)
        self.indices = torch.zeros_like(self.scores, dtype=torch.int64)

    def add(self, scores: Tensor, first: int, start: int) -> None:
        """Takes in a block: of the queries from `first` and of the rows of the index from `start` on."""
        rows, kept = slice(first, first + len(scores)), self.scores.shape[1]
        best, indices = scores.topk(min(kept, scores.shape[1]))
        best, indices = torch.cat([self.scores[rows], best], 1), torch.cat([self.indices[rows], indices + start], 1)
        self.scores[rows], order = best.topk(kept)
        self.indices[rows] = indices.gather(1, order)

    def decided(self) -> Neighbours:
        """The k best, near ties decided in float64."""
        k, scores, indices, (_, kept) = self.k, self.scores, self.indices, self.scores.shape
        # Neither "<=" nor ">=": the NaN of an infinite score counts as a tie.
        near = ~(scores[:, :-1] - scores[:, 1:] > self.slack)[:, :k].all(1)
        count = (~(scores < scores[:, k - 1 : k] - self.slack)).sum(1)  # of rows that can be among the k best
        crowded = (count == kept) & (kept < len(self.index))
        numbers = _FLOAT64[scores.device.type]
        for rows in _some(near & ~crowded, max(1, numbers // (kept * self.width))):
            few = indices[rows, : int(count[rows].max())]
            x = self.queries.read(rows, torch.float64)[:, :, None]
            y = self.index.read(few.flatten(), torch.float64).view(*few.shape, self.width)
            best, few = _in_order((y @ x)[:, :, 0], few, self.same[rows])
            scores[rows, :k], indices[rows, :k] = best[:, :k].float(), few[:, :k]
        for rows in _some(crowded, 512):
            best, indices[rows, :k] = self._in_float64(rows, numbers // 512)
            scores[rows, :k] = best.float()
        return scores[:, :k].cpu().numpy(), indices[:, :k].cpu().numpy()

    def _in_float64(self, rows: Tensor, columns: int) -> tuple[Tensor, Tensor]:
        """(scores float64, indices) [rows, k] by products with the whole index, `columns` of its rows at once."""
        x, same = self.queries.read(rows, torch.float64), self.same[rows]
        scores, indices = x.new_empty((len(x), 0)), rows.new_empty((len(x), 0))
        for start in range(0, len(self.index), columns):
            part = x @ self.index.read(slice(start, start + columns), torch.float64).T
            wanted = min(self.k, part.shape[1])
            last = part.topk(wanted).values[:, -1:]
            above, equal = part > last + same, (part - last).abs() <= same
            earliest = equal & (equal.cumsum(1) <= wanted - above.sum(1, keepdim=True))
            at = (above | earliest).nonzero()[:, 1].view(-1, wanted)
            scores, indices = torch.cat([scores, part.gather(1, at)], 1), torch.cat([indices, at + start], 1)
            scores, indices = (side[:, : self.k] for side in _in_order(scores, indices, same))
        return scores, indices


def _some(which: Tensor, step: int) -> Iterator[Tensor]:
    """The true rows of `which` bool [n], at most `step` at a time."""
    rows = which.nonzero()[:, 0]
    return (rows[first : first + step] for first in range(0, len(rows), step))


def _in_order(scores: Tensor, indices: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of scores float64 [n, c] with their indices from high to low, those within `same` [n, 1] by index."""
    scores, order = scores.sort(dim=1, descending=True)
    indices = indices.gather(1, order)
    run = F.pad((scores[:, :-1] - scores[:, 1:] > same).cumsum(1), (1, 0))  # equal scores have one number
    order = (run * (int(indices.max()) + 1) + indices).argsort(1)
    return scores.gather(1, order), indices.gather(1, order)


@contextmanager
def _full_precision() -> Iterator[None]:
    """float32 products on a GPU are float32 products, whatever the program allows elsewhere."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before
