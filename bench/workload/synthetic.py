"""Synthetic vocabulary: words w0, w1, ..., each one token of a tokenizer with XLM-R's special tokens."""

import random

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaTokenizerFast

from tasks.span.data import WORD_MARKS

SPECIAL = 5  # <s>, <pad>, </s>, <unk>, <mask>


def tokenizer(vocabulary: int) -> XLMRobertaTokenizerFast:
    """`vocabulary` tokens: the words w0 to w(vocabulary - SPECIAL - 1) and the special ones."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *(f"▁w{number}" for number in range(vocabulary - SPECIAL)), "<mask>"]
    fast = Tokenizer(models.Unigram([(word, -1.0) for word in words], unk_id=3))
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    fast.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return XLMRobertaTokenizerFast(tokenizer_object=fast, model_max_length=512)


def words(distinct: int, vocabulary: int) -> list[str]:
    """So many words of `tokenizer(vocabulary)`, spread over the whole table."""
    spacing = (vocabulary - SPECIAL) // distinct
    return [f"w{number * spacing}" for number in range(distinct)]


def words_of(tokenizer: PreTrainedTokenizerFast, most: int) -> list[str]:
    """Words of letters that are one token of this tokenizer, at the beginning of a text and behind another word."""
    backend = tokenizer.backend_tokenizer
    pieces = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    found = [word for piece in pieces if (word := piece.lstrip(WORD_MARKS)).isascii() and word.isalpha()]
    pairs = backend.encode_batch([f"{word} {word}" for word in found], add_special_tokens=False)
    return list(dict.fromkeys(word for word, pair in zip(found, pairs, strict=True) if len(pair.ids) == 2))[:most]


def zipf(rng: random.Random, size: int) -> int:
    """A rank from 0 to `size` - 1, distributed as words in a text (Zipf's law): the exponential of a uniform number."""
    return min(size - 1, int(size ** rng.random()) - 1)
