"""Exported folders that somebody else may have written, or a copy may have cut: one line, and nothing drawn at random.

with loading("encoder runs/a/encoder"):
    encoder = load_encoder("runs/a/encoder")
    all_there(encoder, Path("runs/a/encoder"), "encoder runs/a/encoder")
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open

from data_prep.errors import InputError


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


def all_there(encoder: Any, folder: Path, what: str) -> None:
    """`InputError` if weights that the encoder has are not in the files of `folder`, or the other way round.

    transformers would draw the missing ones at random and pass over the others. A pooler may be missing: published
    encoders have none. Files other than `*.safetensors` are not looked into.
    """
    there: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            there |= {name.removeprefix(f"{encoder.base_model_prefix}.") for name in file.keys()}  # noqa: SIM118
    wanted = {name for name, _ in encoder.named_parameters()}
    missing = sorted(name for name in wanted - there if not name.startswith("pooler."))
    spare = sorted(n for n in there - wanted if n.startswith(("encoder.", "embeddings.")) and "position_ids" not in n)
    if there and (missing or spare):
        raise InputError(
            f"{what}: its weights and its config.json do not belong together: "
            + (f"{missing[0]} is missing" if missing else f"nothing takes {spare[0]}")
        )
