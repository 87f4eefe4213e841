"""How well one layer of an encoder aligns two languages: scores of n translation pairs, each with a random control.

    values = align(english, other)      # float [n, H] each, row i translates row i
    values["mexa@1000"]                 # {"score": 41.3, "random": 0.0}

Every score depends on n (retrieval among 100 sentences is easier than among 1,000), so n is part of its name. The
control is the same score over wrong pairs (`wrong_partners`): what an encoder gets that puts both languages somewhere
but knows nothing of translation. x_i is the vector of an English sentence, y_i that of its translation, cos their
cosine. `None`: not defined (too few pairs, or vectors that do not vary).

- `top1_en->xx` (0-100): share of i with argmax_j cos(x_i, y_j) = i (XTREME's Tatoeba); `top1_xx->en`: the other way.
- `centred_en->xx`, `centred_xx->en`: the same after each language's mean is taken off (Libovický et al. 2020): without
  what all sentences of a language share.
- `margin`: mean of cos(x_i, y_i) / (mean cos of x_i to its k nearest y / 2 + mean cos of y_i to its k nearest x / 2),
  k = 4 (Artetxe and Schwenk 2019, equation 2, ratio). 1: a pair is as close as neighbours are.
- `cka` (about 0 to 1): linear centred kernel alignment (Kornblith et al. 2019) with the unbiased HSIC of Song et al.
  (2012, equation 5), as the plain one is far above 0 for unrelated vectors when n < H. Blind to rotation and scale: it
  says that the two languages have the same geometry, not that they lie in the same place.
- `anc` (-1 to 1): average neuron-wise correlation, signed (Del and Fishel 2022, arXiv 2212.01924): the mean over
  neurons of the Pearson correlation of x[:, j] with y[:, j]; 0 for a neuron that does not vary. Not blind to rotation.
- `mexa` (0-100): share of pairs closer than x_i is to any other y and y_i to any other x, strictly (Kargaran et al.
  2024, arXiv 2410.05873; there with n = 100).
- `rank_distance` (1 to 2n - 1, lower is better): language bias (Huang et al. 2023) in the pool of both languages. The
  passages that belong to query x_i are x_i itself and y_i; the distance is rank(y_i) - rank(x_i), where x_i is first: 1
  plus how many of the other 2n - 2 sentences are closer to x_i than its translation, equal ones counted half. Mean over
  the queries of both languages. 1: what LAReQA calls strong alignment; n: chance, or a translation that is closer than
  every other sentence of its language, but not than those of the query's own; above: neither.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from eval.retrieval.neighbors import Neighbours, centre, top_k_both

NEIGHBOURS = 4
SCORES = (
    "top1_en->xx", "top1_xx->en", "centred_en->xx", "centred_xx->en", "margin", "cka", "anc", "mexa", "rank_distance",
)  # fmt: skip
_EQUAL = 1e-10  # cosines closer than this are equal: float64 rounding
_BLOCK = 1 << 22  # cosines at once


Value = dict[str, float | None]  # "score": over the true pairs; "random": over wrong ones


def align(
    english: np.ndarray, other: np.ndarray, seed: int = 0, device: torch.device | str = "cpu"
) -> dict[str, Value]:
    """The `SCORES` of n aligned pairs, float [n, H] each (the same H), by name and n ("cka@1000").

    Takes some 20 n H (n + H) operations, most of them in float64, and 32 MB beside a few copies of the vectors.
    Raises `InputError` for vectors that are not finite.
    """
    n = len(english)
    true = np.arange(n)
    pairings = (true, wrong_partners(n, seed)) if n > 1 else (true,)
    plain, centred = (_Pairs(*sides, device) for sides in ((english, other), (centre(english), centre(other))))
    results: dict[str, list[float | None]] = {
        "top1_en->xx": [_top1(plain.forward, partner) for partner in pairings],
        "top1_xx->en": [_top1(plain.backward, np.argsort(partner)) for partner in pairings],
        "centred_en->xx": [_top1(centred.forward, partner) for partner in pairings],
        "centred_xx->en": [_top1(centred.backward, np.argsort(partner)) for partner in pairings],
        "margin": [plain.margin(partner) for partner in pairings],
        "cka": debiased_cka(english, other, pairings, device),
        "anc": [anc(english, other[partner]) for partner in pairings],
        "mexa": [plain.mexa(partner) for partner in pairings],
        "rank_distance": plain.rank_distances(pairings),
    }
    return {f"{name}@{n}": _value(*results[name]) for name in SCORES}


def wrong_partners(n: int, seed: int) -> np.ndarray:
    """int64 [n]: for each of n > 1 sentences one that is not its translation, each used once; the same for a seed."""
    order = np.random.default_rng([seed, n]).permutation(n)
    partner = np.empty(n, dtype=np.int64)
    partner[order] = np.roll(order, 1)
    return partner


def debiased_cka(
    x: np.ndarray, y: np.ndarray, pairings: tuple[np.ndarray, ...], device: torch.device | str = "cpu"
) -> list[float | None]:
    """Linear CKA of x [n, H] with y[pairing] [n, H'] for each pairing [n], by Song et al.'s unbiased HSIC; n >= 4.

    In terms of features instead of n x n matrices: with centred columns and d = squared row lengths the estimator is,
    up to a factor that cancels, |X'Y|^2 - n/(n-2) d_x.d_y + sum(d_x) sum(d_y) / ((n-1)(n-2)). At most 1 in
    expectation; it may be a little below 0. float64.
    """
    n = len(x)
    if n < 4:
        return [None] * len(pairings)
    left, right = (torch.from_numpy(centre(side.astype(np.float64))).to(device) for side in (x, y))

    def hsic(a: Tensor, b: Tensor) -> float:
        da, db = (a * a).sum(1), (b * b).sum(1)
        whole = (a.T @ b).square().sum() - n / (n - 2) * (da @ db) + da.sum() * db.sum() / ((n - 1) * (n - 2))
        return float(whole)

    norm = hsic(left, left) * hsic(right, right)
    if not norm > 0:
        return [None] * len(pairings)
    return [hsic(left, right[torch.from_numpy(partner).to(right.device)]) / math.sqrt(norm) for partner in pairings]


def anc(x: np.ndarray, y: np.ndarray) -> float:
    """Average neuron-wise correlation, signed, of x and y [n, H]; float64."""
    x, y = centre(x.astype(np.float64)), centre(y.astype(np.float64))
    norms = np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
    return float(np.divide((x * y).sum(axis=0), norms, out=np.zeros_like(norms), where=norms > 0).mean())


class _Pairs:
    """Aligned sentences by cosine: unit vectors float64 [n, H], and each one's nearest in the other language."""

    def __init__(self, english: np.ndarray, other: np.ndarray, device: torch.device | str) -> None:
        self.x, self.y = (
            F.normalize(torch.from_numpy(side.astype(np.float64)).to(device), dim=1) for side in (english, other)
        )
        self.k = min(NEIGHBOURS, len(english))
        self.forward, self.backward = top_k_both(self.x, self.y, self.k)

    def margin(self, partner: np.ndarray) -> float:
        # The search's own cosines are float32, whose rounding depends on the order of the sentences.
        near = [
            np.mean([_cosines(own, other[torch.from_numpy(index).to(own.device)]) for index in indices.T], axis=0)
            for own, other, (_, indices) in ((self.x, self.y, self.forward), (self.y, self.x, self.backward))
        ]
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines = _cosines(self.x, self.y[torch.from_numpy(partner).to(self.y.device)])
            return float((cosines / ((near[0] + near[1][partner]) / 2)).mean())

    def mexa(self, partner: np.ndarray) -> float:
        forward, backward = (
            (indices[:, 0] == wanted) & ((scores[:, 0] > scores[:, 1]) if self.k > 1 else True)
            for (scores, indices), wanted in ((self.forward, partner), (self.backward, np.argsort(partner)))
        )
        return 100 * float((forward & backward[partner]).mean())

    def rank_distances(self, pairings: tuple[np.ndarray, ...]) -> list[float | None]:
        partners = [torch.from_numpy(np.stack([p, np.argsort(p)])).to(self.x.device) for p in pairings]
        closer = [0.0] * len(pairings)
        n = len(self.x)
        step = max(1, _BLOCK // (2 * n))
        for side, (own, other) in enumerate(((self.x, self.y), (self.y, self.x))):
            for first in range(0, n, step):
                rows = torch.arange(first, min(first + step, n), device=own.device)
                across, within = own[rows] @ other.T, own[rows] @ own.T
                within[torch.arange(len(rows), device=own.device), rows] = -2  # the query itself
                for number, partner in enumerate(partners):
                    true = across.gather(1, partner[side][rows][:, None])
                    closer[number] += sum(float(_above(pool, true)) for pool in (across, within))
                    closer[number] -= 0.5 * len(rows)  # the translation, which equals itself
        return [1 + count / (2 * n) for count in closer]


def _cosines(x: Tensor, y: Tensor) -> np.ndarray:
    """Of unit vectors, row by row: float64 [n]."""
    return (x * y).sum(1).cpu().numpy()


def _above(pool: Tensor, true: Tensor) -> Tensor:
    """How many of `pool` [r, c] are above `true` [r, 1], equal ones counted half."""
    return (pool > true + _EQUAL).sum() + 0.5 * ((pool - true).abs() <= _EQUAL).sum()


def _top1(nearest: Neighbours, partner: np.ndarray) -> float:
    return 100 * float((nearest[1][:, 0] == partner).mean())


def _value(score: float | None, random: float | None = None) -> Value:
    both = {"score": score, "random": random}
    return {name: one if one is not None and math.isfinite(one) else None for name, one in both.items()}
