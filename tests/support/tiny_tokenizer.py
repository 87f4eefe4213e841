"""A tokenizer of a few hundred pieces in XLM-R's layout, trained here."""

from pathlib import Path

# Written for these tests; several scripts, so that awkward text meets pieces of its own script.
LINES = [
    "the small dog runs to the old house near the river",
    "a teacher reads a long letter in the garden every morning",
    "stone bread music window winter summer horse silver doctor market island yellow quiet early heavy narrow",
    "open close carry follow answer between under always never because before after about without",
    "der kleine Hund läuft zum alten Haus am Fluss",
    "el perro pequeño corre a la casa vieja cerca del río",
    "маленькая собака бежит к старому дому у реки",
    "छोटा कुत्ता नदी के पास पुराने घर की ओर दौड़ता है",
    "小さい犬が川の近くの古い家に走る",
    "小狗跑到河边的老房子",
    "الكلب الصغير يركض إلى البيت القديم",
    "mbwa mdogo anakimbia kwenda nyumba ya zamani",
    "0 1 2 3 4 5 6 7 8 9 10 1999 2024 . , ; : ! ? ( ) - ' \"",
]


def make_tokenizer(folder: Path) -> Path:
    """A Unigram tokenizer of a few hundred pieces in XLM-R's layout, trained here, as a Hugging Face folder."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import XLMRobertaTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    inner = Tokenizer(models.Unigram())
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
    inner.train_from_iterator(LINES * 3, trainer)
    inner.add_special_tokens(["<mask>"])
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    XLMRobertaTokenizerFast(tokenizer_object=inner, model_max_length=512).save_pretrained(folder)
    return folder
