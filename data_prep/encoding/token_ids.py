"""Which token ids occur in prepared rows: found in one pass over the token columns, kept in the manifest.

The pass is made where the rows are written (about a thousandth of what encoding them costs), so that a run starts as
fast on ten million rows as on ten, also from a data folder that it may only read. Training leaves the rows of the word
embeddings out that no token needs (`mtl/model/trimmed_embeddings.py`).
"""

import base64
import binascii
from collections.abc import Iterable

import numpy as np


def used(columns: Iterable[np.ndarray], vocabulary: int) -> np.ndarray:
    """bool [vocabulary]: whether each id occurs. `columns`: int arrays; `ValueError` for an id outside."""
    seen = np.zeros(vocabulary, bool)
    for ids in columns:
        if len(ids) and (ids.min() < 0 or ids.max() >= vocabulary):
            raise ValueError(f"`input_ids` outside the vocabulary of {vocabulary}")
        seen[ids] = True
    return seen


def to_text(seen: np.ndarray) -> str:
    """A bool array as base64 of its bits, without the zeros at the end (31 KB for XLM-R's 250,002)."""
    return base64.b64encode(np.packbits(seen).tobytes().rstrip(b"\0")).decode()


def from_text(text: str) -> np.ndarray:
    """What `to_text` was given, but for the False at the end; `ValueError` if it is no base64."""
    try:
        packed = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64 ({error})") from None
    return np.unpackbits(np.frombuffer(packed, np.uint8)).astype(bool)
