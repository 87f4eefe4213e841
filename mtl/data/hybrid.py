"""Hybrid batches (arXiv 2408.10536): steps of pairs of one language, and steps of pairs of two.

A pair of two languages is the query of a row, and the passage and hard negative of the first row of its group in the
other language. Such pairs are rows too, numbered after those that were prepared, so that they are drawn, measured and
packed like any other. Kept are two tables, the group of each row and the first row of each group and language; the rows
of two languages are found whenever a step draws them, as all of them for 14 languages would fill gigabytes.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import permutations

import numpy as np

from common.columns import Columns, lists, plain
from common.errors import InputError
from mtl.data.rows import Rows, Source
from tasks.pair.data import crossed


def with_two_languages(
    task: str, train: Rows, sources: Sequence[Source], alpha: float
) -> tuple[Rows, tuple[Source, ...]]:
    """Rows and sources of hybrid batches, of which a share of `alpha` is of one language, as `sources` says.

    `InputError` if two languages have no group in common.
    """
    one = tuple(replace(source, share=alpha * source.share) for source in sources)
    if alpha == 1:
        return train, one
    rows = HybridRows(train, one)
    for pair in rows.pairs:
        if not pair.rows:
            raise InputError(
                f"{task}: hybrid: no row in {pair.language!r} has a `group` that has a row in {pair.passages!r}, too: "
                "leave one of them out of `languages`"
            )
    return rows, (*one, *(replace(pair, share=(1 - alpha) / len(rows.pairs)) for pair in rows.pairs))


class HybridRows(Rows):
    """The prepared rows of `sources`, languages one after another, and then those of `pairs`, sources without share."""

    def __init__(self, prepared: Rows, sources: Sequence[Source]) -> None:
        super().__init__(prepared.splits)
        self._of = {source.language: np.arange(source.first, source.first + source.rows) for source in sources}
        columns = [super(HybridRows, self).gather(rows, ("group_key", "lengths")) for rows in self._of.values()]
        _, self._group = np.unique(np.concatenate([plain(part["group_key"]) for part in columns]), return_inverse=True)
        self._first = {}
        for language, rows in self._of.items():
            self._first[language] = np.full(int(self._group.max()) + 1, -1)
            self._first[language][self._group[rows[::-1]]] = rows[::-1]
        lengths = [lists(part["lengths"]) for part in columns]
        queries = np.concatenate([part.values[part.starts] for part in lengths])
        tokens = np.concatenate([np.add.reduceat(part.values, part.starts) for part in lengths])
        # A step draws from one pair of languages, and gathers from it once for every micro-batch.
        self._partners = lru_cache(maxsize=1)(self._find_partners)
        self.pairs: list[Source] = []
        self.longest = int(tokens.max())  # of pairs of two languages as well
        end = len(self)
        for language, other in permutations(self._of, 2):
            query, passage = self._partners(language, other)
            both = queries[query] + tokens[passage] - queries[passage]
            mean = float(both.mean()) if len(query) else 0.0
            self.longest = max(self.longest, int(both.max(initial=0)))
            self.pairs.append(Source(language, end, len(query), 0.0, mean, other))
            end += len(query)

    def _find_partners(self, language: str, other: str) -> tuple[np.ndarray, np.ndarray]:
        """(rows of `language`, for each the first row of its group in `other`), without rows that have none there."""
        rows = self._of[language]
        partners = self._first[other][self._group[rows]]
        return rows[partners >= 0], partners[partners >= 0]

    def _halves(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The prepared rows of the queries and of the passages of these rows."""
        query, passage = rows.copy(), rows.copy()
        owner = np.searchsorted([pair.first for pair in self.pairs], rows, side="right") - 1
        for number in np.unique(owner[owner >= 0]).tolist():
            pair, mine = self.pairs[number], owner == number
            for half, partners in zip((query, passage), self._partners(pair.language, pair.passages), strict=True):
                half[mine] = partners[rows[mine] - pair.first]
        return query, passage

    def gather(self, rows: np.ndarray, names: Sequence[str]) -> Columns:
        query, passage = self._halves(rows)
        if np.array_equal(query, passage):
            return super().gather(rows, names)
        wanted = (*names, "lengths")
        found = crossed(super().gather(query, wanted), super().gather(passage, wanted))
        return {name: found[name] for name in names}

    def origin(self, row: int) -> str:
        query, passage = (int(half[0]) for half in self._halves(np.array([row])))
        own = super().origin(query)
        return own if query == passage else f"{own} with the passage of {super().origin(passage)}"
