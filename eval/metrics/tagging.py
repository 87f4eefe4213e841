"""Tagging figures in percent: entity F1 for NER; for POS the official chunk F1 and, beside it, token accuracy.

    entities([["B-PER", None, "O"]], [["B-PER", "I-PER", "O"]])    pos([["NOUN", "VERB"]], [["NOUN", "NOUN"]])

Both take one sequence of tags per sentence, a tag per word. A word without a prediction (cut off, say) is None: it ends
the chunk before it and belongs to none, so every gold chunk that it touches is missed, and for accuracy it is wrong.
Predictions and golds of another length are a `ValueError`, so no word can vanish.

Written here rather than taken from seqeval, which the official scorer calls: its figure for POS depends on the version,
and it warns once per word on tags without a prefix. The tests compare with seqeval 1.2.2.

**Entities** are CoNLL's, as `conlleval` and seqeval's default mode: an entity begins at a B-, or at an I- that follows
O, another type or the beginning of the sentence. So an I- without its B- opens an entity and costs nothing by itself;
seqeval's strict mode would leave it out. Types and both ends must be equal; precision, recall and F1 are micro.

**POS.** The official scorer (google-research/xtreme at 838c13b, `evaluate.py`) puts bare UPOS tags through the same F1.
Then a chunk is a run of words with one tag, and since a tag that begins with S is read as IOBES's "single", each word
tagged SYM or SCONJ is a chunk of its own. Up to seqeval 0.0.15 the type of a chunk is the whole tag, from 0.0.16 (30
September 2020) the tag without its first letter, so that CCONJ for SCONJ counts as right. `evaluate_test.py` expects
70.217 on the repository's mock predictions, which is the old definition (the new one gives 70.398). It was current when
XTREME was published, and it is the one here. The papers call the figure F1, in places accuracy; it is not accuracy.
"""

from collections.abc import Sequence
from typing import Any

from common.labels import UPOS

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
_Word = tuple[str | None, bool]  # type of the chunk that the word is in, and whether it begins one whatever came before


def entities(predictions: Predicted, golds: Sentences) -> dict[str, float]:
    """{"f1", "precision", "recall"}, 0-100, of entities in IOB2 tags (O, B-TYPE, I-TYPE); None: not predicted.

    0 where there is nothing to divide by. `ValueError`: another tag, or sentences of another length.
    """
    _check_lengths(predictions, golds)
    return _chunk_f1([[_iob(tag) for tag in tags] for tags in predictions], [[_iob(t) for t in tags] for tags in golds])


def pos(predictions: Predicted, golds: Sentences) -> dict[str, float]:
    """{"f1", "precision", "recall", "accuracy"}, 0-100: the official chunk F1 (see the module) and token accuracy.

    Tags are `UPOS` or "_" (a word that the treebank leaves untagged); None: not predicted. `ValueError` as `entities`,
    and where there is no word at all.
    """
    _check_lengths(predictions, golds)
    pairs = [pair for p, g in zip(predictions, golds, strict=True) for pair in zip(p, g, strict=True)]
    if not pairs:
        raise ValueError("POS: no word to score")
    chunks = _chunk_f1([[_upos(tag) for tag in tags] for tags in predictions], [[_upos(t) for t in s] for s in golds])
    return {**chunks, "accuracy": 100 * sum(p == g for p, g in pairs) / len(pairs)}


def _check_lengths(predictions: Predicted, golds: Sentences) -> None:
    if len(predictions) != len(golds):
        raise ValueError(f"{len(predictions)} predicted sentences for {len(golds)}")
    for number, (predicted, gold) in enumerate(zip(predictions, golds, strict=True)):
        if len(predicted) != len(gold):
            raise ValueError(
                f"sentence {number}: {len(predicted)} predictions for {len(gold)} words (None for a cut one)"
            )


def _iob(tag: str | None) -> _Word:
    if tag is None or tag == "O":
        return None, False
    if tag[:2] not in ("B-", "I-"):
        raise ValueError(f"tag {tag!r}: expected O, B-TYPE or I-TYPE")
    return tag[2:], tag[0] == "B"


def _upos(tag: str | None) -> _Word:
    if tag is not None and tag != "_" and tag not in UPOS:
        raise ValueError(f"tag {tag!r}: expected one of {' '.join(UPOS)}")
    return tag, tag is not None and tag[0] == "S"


def _chunks(sentences: Sequence[Sequence[_Word]]) -> set[tuple[int, int, int, str]]:
    """(sentence, first word, last word, type) of every chunk: a run of words of one type, split where one begins."""
    found = set()
    for number, words in enumerate(sentences):
        first, inside = 0, None
        for place, (kind, begins) in enumerate([*words, (None, False)]):
            if kind != inside or begins:
                if inside is not None:
                    found.add((number, first, place - 1, inside))
                first, inside = place, kind
    return found


def _chunk_f1(predictions: Sequence[Sequence[_Word]], golds: Sequence[Sequence[_Word]]) -> dict[str, float]:
    predicted, wanted = _chunks(predictions), _chunks(golds)
    right = len(predicted & wanted)
    precision = right / len(predicted) if predicted else 0.0
    recall = right / len(wanted) if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"f1": 100 * f1, "precision": 100 * precision, "recall": 100 * recall}
