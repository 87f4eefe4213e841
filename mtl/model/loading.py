"""Exported folders that somebody else may have written, or a copy may have cut: one line.

with loading("encoder runs/a/encoder"):
    encoder = load_encoder("runs/a/encoder")
"""

import contextlib
from collections.abc import Iterator

from common.errors import InputError


@contextlib.contextmanager
def loading(what: str) -> Iterator[None]:
    """`InputError` for whatever loading damaged files raises; transformers, safetensors and torch know many classes."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{what}: cannot be loaded ({type(error).__name__}: {reason}); export or download it again"
        ) from None
