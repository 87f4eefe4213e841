"""The candidates of a block of queries: what the blocks of scores leave of the index, and the decision between them.

Of each group of scores only the maximum is looked at, unless it reaches the query's k-th best. Nothing here multiplies
in float32, so all of it runs on the host. `eval/retrieval/search.py` says what is exact about the outcome.
"""

import numpy as np

from eval.retrieval.search_blocks import GROUPS, Board, Side

Neighbours = tuple[np.ndarray, np.ndarray]  # (scores float32 [n, k], places int64 [n, k]), best first

PAIRS = 1 << 13  # groups of scores that are looked into at once
EXACT_ROWS, EXACT_COLUMNS = 128, 2048  # block of the search in float64
_GATHERED = {"cpu": 1 << 16, "cuda": 1 << 22}  # numbers multiplied at once when near ties are decided
_LOWEST = np.finfo(np.float32).min  # of a real score; cells without one hold -inf


def room(k: int) -> int:
    """How many candidates are kept of one query; more than k only where scores are close."""
    return 4 * k + 16


class Result:
    def __init__(self, rows: int, k: int) -> None:
        self.scores = np.empty((rows, k), dtype=np.float32)
        self.places = np.empty((rows, k), dtype=np.int64)


class Candidates:
    """For a block of queries, the rows of the index that can still be among each one's k best.

    `reach` float32 [queries]: no score below it can; it is at most the k-th best so far less twice the error of a
    score. `score`, `place` [queries, room], of which `count` are filled (-inf beyond). A query with more candidates
    than room is `crowded`, and left to `_search_exact`.
    """

    def __init__(self, queries: Side, first: int, index: Side, k: int) -> None:
        self.queries, self.first, self.index, self.k = queries, first, index, k
        norms = queries.norms[first : first + queries.size]
        n, width = len(norms), queries.width
        # |x| |y| at most. A cosine has the rounding of the lengths on top of that of the product.
        sizes = (norms > 0).astype(np.float32) if queries.cosine else norms * index.norms.max()
        error = (2 if queries.cosine else 1) * (width + 8) * 2.0**-24
        self.slack = (sizes * (2.1 * error)).astype(np.float32)
        self.same = sizes.astype(np.float64) * ((width + 8) * 2.0**-50)  # closer than this in float64: equal
        self.reach = np.full(n, _LOWEST)
        self.crowded = np.zeros(n, dtype=bool)
        self.count = np.zeros(n, dtype=np.int64)
        self.score = np.full((n, room(k)), -np.inf, dtype=np.float32)
        self.place = np.zeros((n, room(k)), dtype=np.int32 if len(index) < 2**31 else np.int64)

    def add(self, board: Board, axis: int, start: int) -> None:
        """Takes in the block on the board, whose index rows begin at `start`; the queries are its rows (axis 0)."""
        best = board.maxima(axis)
        reached = best >= self.reach[:, None]
        if np.count_nonzero(reached) > 2 * self.k * len(best):  # the first block, or one far better than the others
            if best.shape[1] >= self.k:  # k groups reach the k-th best maximum, so k scores do
                self.reach = np.maximum(self.reach, _kth(best, self.k) - self.slack)
                reached = best >= self.reach[:, None]
            often = np.count_nonzero(reached, axis=1) > max(room(self.k), best.shape[1] // 4)
            if often.any() and best.shape[1] > room(self.k):
                self._crowd(often)
                reached &= ~often[:, None]
        pairs, added = np.flatnonzero(reached), 0
        for first in range(0, len(pairs), PAIRS):
            query, group = np.divmod(pairs[first : first + PAIRS], best.shape[1])
            values, size = board.groups(axis, query, group), GROUPS[axis]
            hit = np.flatnonzero(values >= self.reach[query][:, None])
            pair = hit // size
            self._take(query[pair], group[pair] * size + hit % size + start, values.ravel()[hit])
            added += len(hit)
        if added > len(best) * self.k // 2:
            self._raise_reach()

    def _take(self, query: np.ndarray, place: np.ndarray, score: np.ndarray) -> None:
        """Adds candidates, sorted by query, whose places come after those that are there."""
        width = self.score.shape[1]
        slot = self._slots(query)
        if len(slot) and slot.max() >= width:
            self._compact()
            kept = score >= self.reach[query]
            query, place, score = query[kept], place[kept], score[kept]
            slot = self._slots(query)
        if len(slot) and slot.max() >= width:
            full = np.zeros(len(self.count), dtype=bool)
            full[query[slot >= width]] = True
            late = full[query]
            self._squeeze(full, query[late], place[late], score[late])
            query, place, score, slot = query[~late], place[~late], score[~late], slot[~late]
        self.score[query, slot] = score
        self.place[query, slot] = place
        self.count += np.bincount(query, minlength=len(self.count))

    def _slots(self, query: np.ndarray) -> np.ndarray:
        """The next free columns for new candidates of `query`, which is sorted."""
        return self.count[query] + np.arange(len(query)) - np.searchsorted(query, query)

    def _compact(self) -> None:
        """Drops the candidates that have come to lie out of reach."""
        self._raise_reach()
        order = np.argsort(-self.score, axis=1)
        self.score, self.place = (np.take_along_axis(side, order, 1) for side in (self.score, self.place))
        gone = self.score < self.reach[:, None]
        self.score[gone] = -np.inf
        self.count = (~gone).sum(axis=1)

    def _raise_reach(self) -> None:
        np.maximum(self.reach, _kth(self.score[:, : self._filled()], self.k) - self.slack, out=self.reach)

    def _filled(self) -> int:
        """How many columns hold candidates, at least k: a few of the room that there is."""
        return max(self.k, int(self.count.max()))

    def _crowd(self, which: np.ndarray) -> None:
        self.crowded |= which
        self.reach[which] = np.inf
        self.count[which] = 0
        self.score[which] = -np.inf

    def _squeeze(self, full: np.ndarray, query: np.ndarray, place: np.ndarray, score: np.ndarray) -> None:
        """Puts new candidates of the `full` queries beside their old ones and drops what is out of reach."""
        rows = np.flatnonzero(full)
        at, column = np.nonzero(self.score[rows] > -np.inf)
        old = rows[at]
        query = np.concatenate([old, query])
        place = np.concatenate([self.place[old, column], place])
        score = np.concatenate([self.score[old, column], score])
        order = np.lexsort((-score, query))
        query, place, score = query[order], place[order], score[order]
        rank = np.arange(len(query)) - np.searchsorted(query, query)
        last = rank == self.k - 1
        self.reach[query[last]] = np.maximum(self.reach[query[last]], score[last] - self.slack[query[last]])
        kept = score >= self.reach[query]
        over = np.zeros(len(full), dtype=bool)
        over[query[kept & (rank >= self.score.shape[1])]] = True
        kept &= ~over[query]
        query, place, score, rank = query[kept], place[kept], score[kept], rank[kept]
        self.score[rows] = -np.inf
        self.score[query, rank], self.place[query, rank] = score, place
        self.count[rows] = np.bincount(query, minlength=len(full))[rows]
        self._crowd(over)

    def settle(self, result: Result) -> None:
        """Writes the neighbours of this block of queries, near ties decided in float64."""
        self._raise_reach()
        filled = max(self.k + 1, self._filled())
        score, place = self.score[:, :filled], self.place[:, :filled]
        score[score < self.reach[:, None]] = -np.inf
        order = np.argsort(-score, axis=1)[:, : max(self.k + 1, int((score > -np.inf).sum(1).max()))]
        score, place = np.take_along_axis(score, order, 1), np.take_along_axis(place, order, 1)
        with np.errstate(invalid="ignore"):  # -inf less -inf
            close = score[:, :-1] - score[:, 1:] <= self.slack[:, None]
        unsure = np.flatnonzero(close.any(axis=1))
        k = self.k
        target = slice(self.first, self.first + len(score))
        result.scores[target], result.places[target] = score[:, :k], place[:, :k]
        if len(unsure):
            result.scores[self.first + unsure], result.places[self.first + unsure] = self._decide(
                unsure, score[unsure], place[unsure], close[unsure]
            )
        crowded = np.flatnonzero(self.crowded)
        for start in range(0, len(crowded), EXACT_ROWS):
            some = crowded[start : start + EXACT_ROWS]
            result.scores[self.first + some], result.places[self.first + some] = self._search_exact(some)

    def _decide(self, rows: np.ndarray, score: np.ndarray, place: np.ndarray, close: np.ndarray) -> Neighbours:
        """The k best of queries whose candidates [rows, c], sorted by float32 score, are partly `close` [rows, c-1]."""
        again = np.zeros(score.shape, dtype=bool)
        again[:, 1:] |= close
        again[:, :-1] |= close
        at, column = np.nonzero(again)
        exact = score.astype(np.float64)
        device = self.queries.device.type
        step = max(1, _GATHERED.get(device, _GATHERED["cuda"]) // self.queries.width)
        for start in range(0, len(at), step):
            some, where = at[start : start + step], column[start : start + step]
            x = self.queries.exact(self.first + rows[some])
            y = self.index.exact(place[some, where].astype(np.int64))
            exact[some, where] = (x * y).sum(1).cpu().numpy()
        exact, places = _in_order(exact, place, self.same[rows][:, None])
        return exact[:, : self.k].astype(np.float32), places[:, : self.k].astype(np.int64)

    def _search_exact(self, rows: np.ndarray) -> Neighbours:
        """The neighbours of some queries by float64 products with the whole index."""
        x, same = self.queries.exact(self.first + rows), self.same[rows][:, None]
        scores, places = np.empty((len(rows), 0)), np.empty((len(rows), 0), dtype=np.int64)
        for start in range(0, len(self.index), EXACT_COLUMNS):
            numbers = np.arange(start, min(start + EXACT_COLUMNS, len(self.index)))
            part = (x @ self.index.exact(numbers).T).cpu().numpy()
            wanted = min(self.k, part.shape[1])
            last = np.partition(part, -wanted, axis=1)[:, -wanted][:, None]
            above = part > last + same
            equal = np.abs(part - last) <= same  # of these the earliest
            taken = above | (equal & (equal.cumsum(axis=1) <= wanted - above.sum(axis=1, keepdims=True)))
            at = np.nonzero(taken)[1].reshape(len(rows), wanted)
            scores = np.concatenate([scores, np.take_along_axis(part, at, 1)], axis=1)
            places = np.concatenate([places, at + start], axis=1)
            scores, places = _in_order(scores, places, same)
            scores, places = scores[:, : self.k], places[:, : self.k]
        return scores.astype(np.float32), places


def _kth(scores: np.ndarray, k: int) -> np.ndarray:
    """The k-th highest of each row."""
    return scores.max(axis=1) if k == 1 else np.partition(scores, -k, axis=1)[:, -k]


def _in_order(scores: np.ndarray, places: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of scores float64 [n, c] with their places from high to low, those within `same` [n, 1] by place."""
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, places = np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)
    with np.errstate(invalid="ignore"):
        steps = ~(scores[:, :-1] - scores[:, 1:] <= same)
    run = np.concatenate([np.zeros((len(scores), 1), dtype=np.int64), steps.cumsum(axis=1)], axis=1)
    order = np.lexsort((places, run), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)
