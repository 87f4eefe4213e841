"""Which token ids occur in prepared rows, as the manifest keeps it.

Marked where the rows are written (about a thousandth of what encoding them costs), so that a run starts as fast on ten
million rows as on ten, also from a data folder that it may only read. Training leaves the rows of the word embeddings
out that no token needs (`mtl/model/trimmed_embeddings.py`).
"""

import base64

import numpy as np


def to_text(seen: np.ndarray) -> str:
    """A bool array as base64 of its bits, without the zeros at the end (31 KB for XLM-R's 250,002)."""
    return base64.b64encode(np.packbits(seen).tobytes().rstrip(b"\0")).decode()


def from_text(text: str) -> np.ndarray:
    """What `to_text` was given, but for the False at the end."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8)).astype(bool)
