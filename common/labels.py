"""Label sets in id order. The order fixes the label ids everywhere: prepared data, heads, predictions, submissions."""

NLI = ("entailment", "neutral", "contradiction")
QQP = ("not_duplicate", "duplicate")
PAWSX = ("not_paraphrase", "paraphrase")
UPOS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ",
    "SYM", "VERB", "X",
)  # fmt: skip
NER = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
