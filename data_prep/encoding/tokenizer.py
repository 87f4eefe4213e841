"""The tokenizer: loaded, checked, and named by a fingerprint.

The encoders supported here read `<s> A </s>` and `<s> A </s></s> B </s>`; `load` makes sure that a tokenizer does the
same, so that `tasks/encoding.py` may add the special tokens by itself.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from common.errors import InputError
from common.families import check_family

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Core:
    """`Pieces` without transformers, whose import costs a worker process seconds and 300 MB. Can be pickled."""

    backend_tokenizer: "Tokenizer"
    bos_token_id: int
    eos_token_id: int
    unk_token_id: int


def load(name_or_folder: str | Path) -> "PreTrainedTokenizerFast":
    """The fast tokenizer of a Hub id or a local folder.

    Raises `InputError` if there is none, if it is not a fast one, if a special token is missing, or if it joins pairs
    in another way than XLM-R.
    """
    from transformers import AutoTokenizer  # seconds to import: not before it is needed

    name = str(name_or_folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        _check(tokenizer, name)
    except InputError:
        raise
    except Exception as error:  # of the tokenizers library for a broken file; settings of a wrong type, in use
        reason = " ".join(str(error).split())[:160]
        hint = "give a folder with a tokenizer.json, as transformers saves it, or a Hub id while the Hub can be reached"
        raise InputError(f"tokenizer {name}: cannot be loaded ({reason}); {hint}") from None
    return cast("PreTrainedTokenizerFast", tokenizer)


def check_encoder(name_or_folder: str) -> None:
    """`InputError` if the config.json beside the tokenizer is of a family that cannot be trained."""
    from transformers import PretrainedConfig

    with suppress(OSError):  # a tokenizer alone: train.py asks for the encoder
        values, _ = PretrainedConfig.get_config_dict(name_or_folder)
        if "model_type" in values:
            check_family(name_or_folder, values["model_type"])


def _check(tokenizer: Any, name: str) -> None:
    if type(tokenizer.model_max_length) is not int or tokenizer.model_max_length < 1:
        found = repr(tokenizer.model_max_length)[:60]
        raise InputError(f"tokenizer {name}: model_max_length: expected a whole number from 1 on, found {found}")
    if not tokenizer.is_fast:
        raise InputError(f"tokenizer {name}: a fast tokenizer is needed (tokenizer.json), it gives character offsets")
    for token in ("bos", "eos", "pad", "unk", "mask"):
        if getattr(tokenizer, f"{token}_token_id") is None:
            raise InputError(f"tokenizer {name}: it has no {token}_token; expected a tokenizer like XLM-R's")
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    for text in (("a",), ("a", "b")):
        inner = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in text]
        expected = [bos, *inner[0], eos] if len(inner) == 1 else [bos, *inner[0], eos, eos, *inner[1], eos]
        if tokenizer(*text)["input_ids"] != expected:
            raise InputError(
                f"tokenizer {name}: expected `<s> A </s></s> B </s>` for a pair, as XLM-R has it, found"
                f" {' '.join(tokenizer.convert_ids_to_tokens(tokenizer(*text)['input_ids']))}"
            )


def fingerprint(tokenizer: "PreTrainedTokenizerFast") -> str:
    """sha256 (hex) of what decides the ids: the backend's JSON, the class, the special ids; not the folder."""
    backend = tokenizer.backend_tokenizer
    # Truncation and padding are leftovers of the last call, not a property of the tokenizer.
    backend.no_truncation()
    backend.no_padding()
    names = ("bos", "eos", "pad", "unk", "mask", "cls", "sep")
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in names}
    digest = hashlib.sha256(backend.to_str().encode())
    digest.update(json.dumps([type(tokenizer).__name__, special], sort_keys=True).encode())
    return digest.hexdigest()
