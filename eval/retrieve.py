"""Retrieval of translations: nearest neighbours by cosine, exact and in blocks (`eval/search.py`).

english, other = centre(english), centre(other)      # optional: takes out what all sentences of a language share
there, back = accuracies(english, other)             # XTREME's Tatoeba score and the other direction
scores, places = top_k(normalise(queries), normalise(index), 20)
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eval.search import top_k, top_k_both

__all__ = ["accuracies", "accuracy", "centre", "normalise", "top_k", "top_k_both"]


def normalise(vectors: np.ndarray | Tensor) -> Tensor:
    """float32 [n, H] with rows of length 1 (a zero row stays zero)."""
    return F.normalize(torch.as_tensor(vectors, dtype=torch.float32), dim=1)


def centre(vectors: np.ndarray) -> np.ndarray:
    """[n, H] minus its mean row: takes out what all sentences of one language share."""
    return vectors - vectors.mean(axis=0, keepdims=True)


def nearest(queries: np.ndarray, index: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """int64 [q]: the row of `index` nearest to each query by cosine; equal ones: the earlier."""
    return top_k(normalise(queries), normalise(index), 1, device=device)[1][:, 0]


def accuracy(queries: np.ndarray, index: np.ndarray, device: torch.device | str = "cpu") -> float:
    """Share of rows i, 0-100, whose nearest row of `index` by cosine is row i. [n, H] each, aligned row by row."""
    assert len(queries) == len(index)
    return _right(top_k(normalise(queries), normalise(index), 1, device=device)[1])


def accuracies(left: np.ndarray, right: np.ndarray, device: torch.device | str = "cpu") -> tuple[float, float]:
    """(`accuracy(left, right)`, `accuracy(right, left)`) in little more than the time of one."""
    assert len(left) == len(right)
    (_, there), (_, back) = top_k_both(normalise(left), normalise(right), 1, device=device)
    return _right(there), _right(back)


def _right(places: np.ndarray) -> float:
    return 100 * float((places[:, 0] == np.arange(len(places))).mean())
