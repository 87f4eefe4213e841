"""Token classification metrics in percent: entity F1 for NER; the official chunk F1 and token accuracy for POS.

    entities([["B-PER", None, "O"]], [["B-PER", "I-PER", "O"]])    pos([["NOUN", "VERB"]], [["NOUN", "NOUN"]])

Both take one sequence of tags per sentence, one tag per word. A word without a prediction (truncated, say) is None: it
ends the previous chunk and belongs to none, so every gold chunk that it touches is missed, and it counts as wrong for
accuracy.

seqeval, which the official scorer calls, is not used: its POS score depends on the version, and it warns once per word
on tags without a prefix. The tests compare with seqeval 1.2.2.

**Entities** are those of CoNLL (`conlleval`, seqeval's default mode): an entity starts at a B-, or at an I- that
follows O, another type or the start of the sentence. An I- without B- thus starts an entity, which seqeval's strict
mode would drop. Type and both boundaries must match; precision, recall and F1 are micro-averaged.

**POS.** The official scorer (google-research/xtreme at 838c13b, `evaluate.py`) puts bare UPOS tags through the same F1.
Then a chunk is a run of words with one tag, and since a tag that begins with S is read as IOBES's "single", each word
tagged SYM or SCONJ is a chunk of its own. Up to seqeval 0.0.15 the type of a chunk is the whole tag, from 0.0.16 (30
September 2020) the tag without its first letter, so that CCONJ for SCONJ counts as right. `evaluate_test.py` expects
70.217 on the repository's mock predictions, the old definition (the new one gives 70.398), which was current when
XTREME was published and is used here. The papers call the score F1, sometimes accuracy; it is not accuracy.
"""

from collections.abc import Callable, Sequence
from typing import Any

NER_PROTOCOL: dict[str, Any] = {
    "metric": "entity F1, micro (CoNLL; seqeval, default mode)",
    "I- without B-": "opens an entity",
    "word without prediction": "in no entity",
}
POS_PROTOCOL: dict[str, Any] = {
    "metric": "f1: chunk F1 on bare UPOS tags (official; seqeval up to 0.0.15); accuracy: share of words",
    "word without prediction": "in no chunk; wrong for accuracy",
}

Sentences = Sequence[Sequence[str]]
Predicted = Sequence[Sequence[str | None]]
_Word = tuple[str | None, bool]  # chunk type of the word, and whether it always starts a new chunk
_Reader = Callable[[str | None], _Word]


def entities(predictions: Predicted, golds: Sentences) -> dict[str, float]:
    """{"f1", "precision", "recall"}, 0-100, of entities in IOB2 tags (O, B-TYPE, I-TYPE); None: not predicted.

    0 instead of division by zero.
    """
    return _chunk_f1(predictions, golds, _iob)


def pos(predictions: Predicted, golds: Sentences) -> dict[str, float]:
    """{"f1", "precision", "recall", "accuracy"}, 0-100: the official chunk F1 (see the module) and token accuracy.

    Tags are `common.labels.UPOS` or "_" (untagged in the treebank); None: not predicted.
    """
    pairs = [pair for p, g in zip(predictions, golds, strict=True) for pair in zip(p, g, strict=True)]
    return {**_chunk_f1(predictions, golds, _upos), "accuracy": 100 * sum(p == g for p, g in pairs) / len(pairs)}


def _iob(tag: str | None) -> _Word:
    if tag is None or tag == "O":
        return None, False
    return tag[2:], tag[0] == "B"


def _upos(tag: str | None) -> _Word:
    return tag, tag is not None and tag[0] == "S"


def _chunks(sentences: Predicted, word: _Reader) -> set[tuple[int, int, int, str]]:
    """(sentence, first word, last word, type) of every chunk: a run of one type, split at new starts."""
    found = set()
    for number, tags in enumerate(sentences):
        first, inside = 0, None
        for index, (kind, begins) in enumerate([*map(word, tags), (None, False)]):
            if kind != inside or begins:
                if inside is not None:
                    found.add((number, first, index - 1, inside))
                first, inside = index, kind
    return found


def _chunk_f1(predictions: Predicted, golds: Sentences, word: _Reader) -> dict[str, float]:
    predicted, wanted = _chunks(predictions, word), _chunks(golds, word)
    right = len(predicted & wanted)
    precision = right / len(predicted) if predicted else 0.0
    recall = right / len(wanted) if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}
