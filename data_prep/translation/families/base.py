"""What a family of translation models says of itself. A model is of the family whose token for English it knows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar


class Family(ABC):
    """`licence`: of the published models, and with them of what they translate."""

    licence: ClassVar[str]

    @abstractmethod
    def tokens(self, code: str) -> tuple[str, ...]:
        """Tokens that may stand for a language (code as in `common/languages.py`), the likeliest first."""

    def inputs(
        self, tokenizer: Any, texts: Sequence[str], source: str, target: str
    ) -> tuple[list[str], dict[str, int]]:
        """What is tokenized, and options of `generate`, to translate from and to the languages of two tokens.

        Here as M2M100 and NLLB want it: the tokenizer puts the source in the input, the target is generated first.
        """
        tokenizer.src_lang = source.strip("_")
        return list(texts), {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(target)}
