"""An XLM-R tokenizer folder for the toy text: Unigram, Metaspace, XLM-R's special tokens and pair template.

Run by `python -m examples.toyworld`. The vocabulary is every word form of the text, the marks of punctuation, and
every character as a fallback; scores are log frequencies. The tokenizers library's own Unigram trainer is not used: it
is not bit-deterministic (its sums run over hash maps) and cuts one-letter words in two. Trade-off: a large vocabulary
for its text, because a tiny model has no capacity to spell.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from transformers import XLMRobertaTokenizer

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
PUNCTUATION = ".?¿,।。"
_WORD = re.compile(rf"[{re.escape(PUNCTUATION)}]|[^\s{re.escape(PUNCTUATION)}]+")
# Nats below the rarest word: a fallback character is never cheaper than a whole word.
_CHARACTER_PENALTY = 10.0


def vocabulary(texts: Iterable[str]) -> list[tuple[str, float]]:
    """(piece, score) by falling frequency, special tokens first and <mask> last."""
    counts: Counter[str] = Counter()
    characters: set[str] = set()
    for text in texts:
        characters.update(text)
        for match in _WORD.finditer(text):
            start = match.start() == 0 or text[match.start() - 1] == " "
            counts[("▁" if start else "") + match.group()] += 1
    total = sum(counts.values())
    pieces = [(piece, math.log(n / total)) for piece, n in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0]))]
    lowest = -math.log(total) - _CHARACTER_PENALTY
    known = set(counts)
    pieces += [(ch, lowest) for ch in ["▁", *sorted(characters - {" "})] if ch not in known]
    return [(s, 0.0) for s in SPECIALS] + pieces + [("<mask>", 0.0)]


def write_tokenizer(texts: Iterable[str], out: Path, max_length: int = 256) -> int:
    """Write a folder that AutoTokenizer loads (<s> 0, <pad> 1, </s> 2, <unk> 3, <mask> last); returns its size."""
    pieces = vocabulary(texts)
    XLMRobertaTokenizer(vocab=pieces, model_max_length=max_length).save_pretrained(out)
    return len(pieces)
