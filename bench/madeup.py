"""Made-up language for benchmarks: words w0, w1, ..., each one token of a tokenizer in XLM-R's layout."""

import random

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import XLMRobertaTokenizerFast

SPECIAL = 5  # <s>, <pad>, </s>, <unk>, <mask>


def tokenizer(vocabulary: int) -> XLMRobertaTokenizerFast:
    """`vocabulary` tokens in all: the words w0 to w(vocabulary - SPECIAL - 1) and the special ones."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *(f"▁w{number}" for number in range(vocabulary - SPECIAL)), "<mask>"]
    inner = Tokenizer(models.Unigram([(word, -1.0) for word in words], unk_id=3))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return XLMRobertaTokenizerFast(tokenizer_object=inner, model_max_length=512)


def rank(rng: random.Random, most: int) -> int:
    """A number from 0 to `most` - 1 by Zipf's law, as words of a text: the exponential of a uniform number."""
    return min(most - 1, int(most ** rng.random()) - 1)
