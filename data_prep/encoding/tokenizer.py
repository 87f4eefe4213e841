"""The tokenizer: loaded, checked, and named by a fingerprint.

`load` makes sure that a tokenizer adds special tokens by a template of the form in `tasks/encoding.py`, which then adds
them by itself.
"""

import hashlib
import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from common.errors import InputError, loading
from common.families import check_family
from tasks.encoding import template_of


def load(name_or_folder: str | Path) -> Any:
    """The `PreTrainedTokenizerFast` of a Hub id or a local folder.

    Loaded once a process while its files stay as they are: XLM-R's takes 4 seconds.
    Raises `InputError` if there is none, if it is not a fast one, if a special token is missing, or if its template has
    another form.
    """
    folder = Path(name_or_folder)
    files = sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
    return _load(str(name_or_folder), tuple((str(file.absolute()), file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=2)
def _load(name: str, files: tuple[tuple[str, int], ...]) -> Any:
    from transformers import AutoTokenizer  # seconds to import: not before it is needed

    hint = "give a folder with a tokenizer.json, as transformers saves it, or a Hub id while the Hub can be reached"
    with loading(f"tokenizer {name}", hint):
        tokenizer = AutoTokenizer.from_pretrained(name)
        _check(tokenizer, name)
    return tokenizer


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
    for token in ("pad", "mask"):
        if getattr(tokenizer, f"{token}_token_id") is None:
            raise InputError(f"tokenizer {name}: it has no {token}_token; expected that of a masked language model")
    a, b = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in "ab")
    single, pair = tokenizer("a")["input_ids"], tokenizer("a", "b")["input_ids"]
    found = f"found {' '.join(tokenizer.convert_ids_to_tokens(pair))} for a pair"
    try:
        template = template_of(tokenizer)
    except ValueError as error:
        raise InputError(f"tokenizer {name}: {error}, {found}") from None
    if [single, pair] != [template.single(a), template.pair(a, b)]:
        raise InputError(f"tokenizer {name}: expected the special tokens that its own template has, {found}")


def fingerprint(tokenizer: Any) -> str:
    """sha256 (hex) of what decides the ids: the backend's JSON, the class, the special ids; not the folder."""
    template = template_of(tokenizer)  # also clears truncation and padding, leftovers of the last call
    names = ("bos", "eos", "pad", "unk", "mask", "cls", "sep")
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in names}
    digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
    digest.update(json.dumps([type(tokenizer).__name__, special], sort_keys=True).encode())
    if template.typed or template.spaced:  # else rows are as they were before these existed
        digest.update(json.dumps([template.typed, template.spaced]).encode())
    return digest.hexdigest()
