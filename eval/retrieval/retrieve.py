"""Retrieval of translations: nearest neighbours by cosine, exact and in blocks (`eval/retrieval/search.py`).

english, other = centre(english), centre(other)      # optional: takes out what all sentences of a language share
to_other, to_english = nearest_both(english, other)  # XTREME's Tatoeba score is 100 * mean(to_other == arange(n))
scores, places = top_k(normalise(queries), normalise(index), 20)
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eval.retrieval.search import top_k, top_k_both

__all__ = ["centre", "nearest_both", "normalise", "top_k", "top_k_both"]


def normalise(vectors: np.ndarray | Tensor) -> Tensor:
    """float32 [n, H] with rows of length 1 (a zero row stays zero)."""
    return F.normalize(torch.as_tensor(vectors, dtype=torch.float32), dim=1)


def centre(vectors: np.ndarray) -> np.ndarray:
    """[n, H] minus its mean row: takes out what all sentences of one language share."""
    return vectors - vectors.mean(axis=0, keepdims=True)


def nearest_both(
    left: np.ndarray, right: np.ndarray, device: torch.device | str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """The row of `right` [m, H] nearest to each of `left` [n, H] by cosine, int64 [n], and the other way, int64 [m].

    Equal ones: the earlier. One multiplication serves both directions.
    """
    (_, there), (_, back) = top_k_both(normalise(left), normalise(right), 1, device=device)
    return there[:, 0], back[:, 0]
