"""The words of an answer and their F1 as SQuAD and MLQA define them, one character at a time."""

import unicodedata
from collections.abc import Collection

ASCII_PUNCTUATION = {chr(c) for c in range(33, 127) if not chr(c).isalnum()}


def slow_words(text: str, articles: Collection[str], unicode_punctuation: bool) -> list[str]:
    """Lower, punctuation away, articles become spaces, split."""
    kept = [
        c
        for c in text.lower()
        if c not in ASCII_PUNCTUATION and not (unicode_punctuation and unicodedata.category(c).startswith("P"))
    ]
    # A word, for articles, is a run of letters, digits and underscores; the rest stands between words.
    pieces, word = [], ""
    for c in [*kept, " "]:
        if c.isalnum() or c == "_":
            word += c
        else:
            pieces += [" " if word in articles else word, c]
            word = ""
    return "".join(pieces).split()


def slow_f1(predicted: list[str], gold: list[str]) -> float:
    """Harmonic mean of precision and recall of the words, each counted as often as it occurs; 0 if none is shared."""
    rest, shared = list(gold), 0
    for word in predicted:
        if word in rest:
            rest.remove(word)
            shared += 1
    return 2 * shared / (len(predicted) + len(gold)) if shared else 0.0
