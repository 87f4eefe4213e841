"""Loading of encoders and heads that another program wrote or a copy truncated: any failure is one line.

with loading("encoder runs/a/encoder"):
    encoder = load_encoder("runs/a/encoder")
"""

import contextlib
from collections.abc import Iterator

from common.errors import InputError


@contextlib.contextmanager
def loading(what: str) -> Iterator[None]:
    """Turns whatever transformers, safetensors and torch raise for damaged files into `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{what}: cannot be loaded ({type(error).__name__}: {reason}); export or download it again"
        ) from None
