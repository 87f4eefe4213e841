"""Token ids of English text from a memory of words: the same ids as the tokenizer's, several times as fast.

XLM-R's tokenizer cuts text at white space before its model sees it, so the tokens of a text are those of its words, and
in English the same words come again and again. This holds for a text of printable ASCII (there the normaliser works
character by character) that holds none of the special tokens, and for a tokenizer that is built like XLM-R's. All other
texts go to the tokenizer itself. Trade-off: up to 2^17 words are kept, about 40 MB a process.
"""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST = 1 << 17
_SPLIT = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "WhitespaceSplit"},
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
    ],
}


class Words:
    """The memory of one tokenizer. `exact`: whether it may be used at all."""

    def __init__(self, backend: "Tokenizer") -> None:
        self._backend = backend
        self._known: dict[str, list[int]] = {}
        self._special = [token.content for token in backend.get_added_tokens_decoder().values()]
        self.exact = (
            type(backend.model).__name__ == "Unigram"
            and _state(backend.pre_tokenizer) == _SPLIT
            and (backend.normalizer is None or _state(backend.normalizer).get("type") == "Precompiled")
        )

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        parts: list[list[str] | None] = [text.split(" ") if self._plain(text) else None for text in texts]
        new = dict.fromkeys(word for part in parts if part is not None for word in part if word not in self._known)
        if len(self._known) + len(new) > MOST:
            self._known.clear()
            new = dict.fromkeys(word for part in parts if part is not None for word in part)
        whole = [text for text, part in zip(texts, parts, strict=True) if part is None]
        asked = [encoding.ids for encoding in self._backend.encode_batch_fast([*new, *whole], add_special_tokens=False)]
        known = self._known
        known.update(zip(new, asked[: len(new)], strict=True))
        others = iter(asked[len(new) :])
        # An empty word, between two spaces, has no tokens.
        return [next(others) if part is None else [i for word in part for i in known[word]] for part in parts]

    def _plain(self, text: str) -> bool:
        return (
            self.exact and text.isascii() and text.isprintable() and not any(token in text for token in self._special)
        )


def _state(part: Any) -> dict[str, Any]:
    """The settings of a part of a tokenizer, as in its tokenizer.json."""
    return {} if part is None else json.loads(part.__getstate__())
