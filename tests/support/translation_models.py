"""Translation models of two layers with random weights, in the form of each family, as Hugging Face folders."""

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from data_prep.translation.seq2seq import Seq2Seq
from tests.support.tiny_tokenizer import LINES

LETTERS = ["\u2581", *"abcdefghijklmnopqrstuvwxyz"]
SMALL = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 600,
}  # fmt: skip


def m2m100(folder: Path) -> Path:
    import sentencepiece
    from transformers.models.m2m_100.tokenization_m2m_100 import M2M100Tokenizer

    folder.mkdir(parents=True)
    pieces = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 3), model_writer=pieces, vocab_size=300, hard_vocab_limit=False, minloglevel=2
    )
    (folder / "sentencepiece.bpe.model").write_bytes(pieces.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=pieces.getvalue())
    names = ["<s>", "<pad>", "</s>", "<unk>", *map(processor.id_to_piece, range(3, len(processor)))]
    (folder / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    tokenizer = M2M100Tokenizer(folder / "vocab.json", str(folder / "sentencepiece.bpe.model"))
    tokenizer.save_pretrained(folder)
    return _bart(folder, max(tokenizer.lang_code_to_id.values()) + 9)


def nllb(folder: Path) -> Path:
    from transformers.models.nllb.tokenization_nllb import NllbTokenizer

    names = ["<s>", "<pad>", "</s>", "<unk>", *LETTERS]
    tokenizer = NllbTokenizer(vocab={name: number for number, name in enumerate(names)}, merges=[])
    tokenizer.save_pretrained(folder)
    return _bart(folder, len(tokenizer))


def madlad(folder: Path) -> Path:
    from transformers.models.t5 import T5Config, T5ForConditionalGeneration
    from transformers.models.t5.tokenization_t5 import T5Tokenizer

    # As in MADLAD's 256,000, some pieces are the codes of languages.
    pieces = ["<pad>", "</s>", "<unk>", "<2en>", "<2de>", "<2iw>", "en", "de", *LETTERS]
    tokenizer = T5Tokenizer(vocab=[(name, -2.0) for name in pieces], extra_ids=0)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2}
    config = T5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, **shape)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def _bart(folder: Path, vocabulary: int) -> Path:
    from transformers.models.m2m_100 import M2M100Config, M2M100ForConditionalGeneration

    torch.manual_seed(1)
    model = M2M100ForConditionalGeneration(M2M100Config(vocab_size=vocabulary, **SMALL))
    with torch.no_grad():  # the end becomes likely: at random it would hardly ever come
        model.model.decoder.layer_norm.bias.fill_(1.0)
        model.model.shared.weight[2] += 0.1
    model.save_pretrained(folder)
    return folder


class Logged(Seq2Seq):
    """A model that appends every batch that it has translated to a file, one line each."""

    def __init__(self, model: str, log: str) -> None:
        super().__init__(model, 1)
        self._log = log

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str | None]:
        found = super().translate(texts, source, target)
        with open(self._log, "a", encoding="utf-8") as file:
            file.write(json.dumps(list(texts)) + "\n")
        return found


def __getattr__(name: str) -> Logged:
    """`LOGGED`, of the model and log that the environment names."""
    if name != "LOGGED":
        raise AttributeError(name)
    return Logged(os.environ["TRANSLATION_MODEL"], os.environ["TRANSLATION_LOG"])
