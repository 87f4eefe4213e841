"""MADLAD-400 (Kudugunta et al. 2023): a T5 that finds the target language in its input, `<2de> Good morning.`"""

from collections.abc import Sequence
from typing import Any

from data_prep.translation.families.base import Family

_OTHER_NAMES = {"he": "iw", "jv": "jw", "tl": "fil"}


class Madlad(Family):
    licence = "Apache-2.0"

    def tokens(self, code: str) -> tuple[str, ...]:
        return f"<2{code}>", f"<2{_OTHER_NAMES.get(code, code)}>"

    def inputs(
        self, tokenizer: Any, texts: Sequence[str], source: str, target: str
    ) -> tuple[list[str], dict[str, int]]:
        return [f"{target} {text}" for text in texts], {}
