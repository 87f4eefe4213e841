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

from eval.metrics.items import CHUNKS, Metric, Outcomes, counts

Sentences = Sequence[Sequence[str]]
Predicted = Sequence[Sequence[str | None]]
_Word = tuple[str | None, bool]  # chunk type of the word, and whether it always starts a new chunk
_Reader = Callable[[str | None], _Word]


def entities(predictions: Predicted, golds: Sentences) -> Outcomes:
    """ "f1", "precision" and "recall" of entities in IOB2 tags (O, B-TYPE, I-TYPE) by sentence; None: not predicted."""
    return counts(CHUNKS, _chunk_counts(predictions, golds, _iob))


def pos(predictions: Predicted, golds: Sentences) -> Outcomes:
    """ "f1", "precision", "recall" and "accuracy": the official chunk F1 (see the module) and token accuracy.

    Tags are `common.labels.UPOS` or "_" (untagged in the treebank); None: not predicted.
    """
    right = [sum(a == b for a, b in zip(p, g, strict=True)) for p, g in zip(predictions, golds, strict=True)]
    columns = {**_chunk_counts(predictions, golds, _upos), "correct_words": right, "words": [len(g) for g in golds]}
    return counts({**CHUNKS, "accuracy": Metric(("correct_words",), ("words",))}, columns)


def _iob(tag: str | None) -> _Word:
    if tag is None or tag == "O":
        return None, False
    return tag[2:], tag[0] == "B"


def _upos(tag: str | None) -> _Word:
    return tag, tag is not None and tag[0] == "S"


def _chunks(tags: Sequence[str | None], word: _Reader) -> set[tuple[int, int, str]]:
    """(first word, last word, type) of every chunk of a sentence: a run of one type, split at new starts."""
    found = set()
    first, inside = 0, None
    for index, (kind, begins) in enumerate([*map(word, tags), (None, False)]):
        if kind != inside or begins:
            if inside is not None:
                found.add((first, index - 1, inside))
            first, inside = index, kind
    return found


def _chunk_counts(predictions: Predicted, golds: Sentences, word: _Reader) -> dict[str, list[int]]:
    """By sentence: chunks predicted with type and both boundaries right, predicted, and in the gold."""
    chunks = [(_chunks(p, word), _chunks(g, word)) for p, g in zip(predictions, golds, strict=True)]
    return {
        "correct": [len(predicted & gold) for predicted, gold in chunks],
        "predicted": [len(predicted) for predicted, _ in chunks],
        "gold": [len(gold) for _, gold in chunks],
    }
