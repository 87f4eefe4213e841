"""Tokenizers of the styles that encoder families come with, trained here on a few lines."""

import json
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from tests.support.tiny_tokenizer import LINES, make_tokenizer


def wordpiece(folder: Path) -> Path:
    """BERT's, with token types."""
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=False)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    inner.train_from_iterator(LINES * 3, trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made = BertTokenizerFast(tokenizer_object=inner, do_lower_case=False, model_max_length=512)
    made.save_pretrained(folder)
    return folder


def _plain(folder: Path, inner: Tokenizer, special: dict[str, str], template: tuple[str, str]) -> Path:
    ids = [(token, inner.token_to_id(token)) for token in dict.fromkeys(special.values())]
    inner.post_processor = processors.TemplateProcessing(single=template[0], pair=template[1], special_tokens=ids)
    PreTrainedTokenizerFast(
        tokenizer_object=inner, model_max_length=512, model_input_names=["input_ids", "attention_mask"], **special
    ).save_pretrained(folder)
    return folder


def gemma(folder: Path) -> Path:
    """Gemma 2's: BPE over text whose spaces are marks, with bytes for what it does not know (mmBERT)."""
    special = {
        "pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>", "mask_token": "<mask>",
        "cls_token": "<bos>", "sep_token": "<eos>",
    }  # fmt: skip
    numbers = [f"<0x{number:02X}>" for number in range(256)]
    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.normalizer = normalizers.Replace(" ", "\u2581")
    inner.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    known = [*dict.fromkeys(special.values()), *numbers]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=known, show_progress=False)
    inner.train_from_iterator([line for line in LINES if line.isascii()] * 3, trainer)
    inner.decoder = decoders.ByteFallback()
    template = ("<bos> $A <eos>", "<bos> $A <eos> $B <eos>")
    # The bytes are in the vocabulary, but no special tokens of a text.
    values = json.loads(inner.to_str())
    values["added_tokens"] = [token for token in values["added_tokens"] if token["content"] not in numbers]
    return _plain(folder, Tokenizer.from_str(json.dumps(values)), special, template)


def byte_level(folder: Path) -> Path:
    """Llama 3's: byte-level BPE without an unknown token, a first token between the texts of a pair (EuroBERT)."""
    special = {
        "pad_token": "<|pad|>", "bos_token": "<|begin|>", "eos_token": "<|end|>", "mask_token": "<|mask|>",
        "cls_token": "<|begin|>", "sep_token": "<|end|>",
    }  # fmt: skip
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=list(dict.fromkeys(special.values())), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    inner.train_from_iterator(LINES * 3, trainer)
    template = ("<|begin|> $A <|end|>", "<|begin|> $A <|end|> <|begin|> $B <|end|>")
    return _plain(folder, inner, special, template)


STYLES: dict[str, Callable[[Path], Path]] = {
    "wordpiece": wordpiece, "gemma": gemma, "byte-level": byte_level, "xlm-r": make_tokenizer,
}  # fmt: skip
OF_FAMILY = {
    "xlm-roberta": "xlm-r", "bert": "wordpiece", "modernbert": "gemma", "eurobert": "byte-level", "gte": "xlm-r",
}  # fmt: skip
