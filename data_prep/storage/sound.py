"""Whether the rows of a prepared split can be trained on: every number inside its range.

The files carry a sha256, so this finds what was prepared wrongly or forged, not what was damaged. One pass over the
columns, without a copy; out of its range a number would be an index error on a GPU, which names nothing.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

View = tuple[np.ndarray, np.ndarray | None]


def problem(columns: dict[str, View], rows: int, labels: int | None, vocabulary: int | None) -> str | None:
    """What is wrong with one batch of `rows` rows, or None. `columns`: (values, None), or (values, offsets) of lists.

    `labels`: how many label names there are, `vocabulary`: how many tokens (None: unknown).
    """
    for name, (values, offsets) in columns.items():
        if offsets is not None and (
            len(offsets) != rows + 1 or offsets[0] < 0 or offsets[-1] > len(values) or np.any(np.diff(offsets) < 0)
        ):
            return f"`{name}`: its lists do not add up"
    length, units = columns["length"][0], columns["units"][0]
    parts, at = columns["lengths"]
    assert at is not None
    total = np.concatenate([[0], np.cumsum(parts, dtype=np.int64)])
    ids = columns["input_ids"][0]

    def outside(name: str, low: Any, high: Any) -> bool:
        values = columns[name][0]
        return bool(np.any(values < low) or np.any(values >= high))

    checks: list[tuple[str, Callable[[], bool]]] = [
        ("`length` and `input_ids` do not add up", lambda: bool(np.any(_counts(columns, "input_ids") != length))),
        ("`length` and `lengths` do not add up", lambda: bool(np.any(total[at[1:]] - total[at[:-1]] != length))),
        ("`lengths` or `units` below their least", lambda: bool(np.any(parts < 1) or np.any(units < 0))),
        ("`input_ids` outside the vocabulary", lambda: bool(np.any(ids < 0) or np.any(ids >= (vocabulary or 2**31)))),
    ]
    if "label" in columns and columns["label"][0].dtype.kind == "i":  # else a number, not an index
        most = labels if labels is not None else _counts(columns, "lengths")
        checks.append(("`label` outside the labels", lambda: outside("label", 0, most)))
    if "start" in columns:
        checks += [
            ("`start` outside the row", lambda: outside("start", 0, length)),
            ("`end` outside the row", lambda: outside("end", columns["start"][0], length)),
        ]
    if "positions" in columns:
        words = _counts(columns, "positions")
        checks += [
            ("`positions` and `labels` do not add up", lambda: bool(np.any(words != _counts(columns, "labels")))),
            ("`positions` outside the row", lambda: outside("positions", 0, np.repeat(length, words))),
            ("`labels` outside the labels", lambda: outside("labels", -1, labels or 0)),
        ]
    if "passage_key" in columns:
        checks += [
            ("`lengths`: expected a query and a passage", lambda: bool(np.any(_counts(columns, "lengths") != 2))),
            ("`passage_key` below 0", lambda: bool(np.any(columns["passage_key"][0] < 0))),
        ]
    return next((text for text, wrong in checks if wrong()), None)


def _counts(columns: dict[str, View], name: str) -> np.ndarray:
    offsets = columns[name][1]
    assert offsets is not None
    return np.diff(offsets)
