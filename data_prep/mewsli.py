"""Mewsli-X: the text of a mention in its sentence and of an entity, from rows in the makers' schema.

Texts are those of XTREME-R (`third_party/utils_mewslix.py`, `preprocess_mention` and `preprocess_entity_description`):

    mention   "SPAN: LEFT { SPAN } RIGHT", one sentence; pairs of braces in the sentence itself become parentheses
    entity    the sentences of its description

Both on one line. The Hub's izhx/mewsli-x holds texts that were already made like this, in the columns `mention` and
`entity` (pairs) or `description` (candidates); they are taken as they are.
"""

import re
from typing import Any

from common import fields
from common.errors import InputError
from common.fields import shorten

Span = tuple[int, int]
_BRACES = re.compile(r"\{(.*?)\}")


def mention_text(context: dict[str, Any], mention: dict[str, Any], where: str) -> str:
    """The mention in its sentence. One that crosses sentences gets all that it touches.

    Raises `InputError` where the span does not hold the text it should, for example in the copy without texts.
    """
    text = fields.text(context, "text", where)
    span = fields.get(mention, "mention_span", where)
    start, end = _span(span, len(text), where, "mention_span")
    marked = text[start:end]
    if span.get("text", marked) != marked:
        raise InputError(
            f"{where}: field `mention_span`: expected {shorten(span['text'])} at {start}, found {shorten(marked)};"
            " a copy without texts? the makers' scripts restore them"
        )
    sentences = _sentences(context, len(text), where)
    touched = [s for s in sentences if s[0] < end and start < s[1]]
    # A mention outside every sentence stands alone.
    first = min(start, *(s[0] for s in touched)) if touched else start
    last = max(end, *(s[1] for s in touched)) if touched else end
    left, right = (_BRACES.sub(r"(\1)", part) for part in (text[first:start], text[end:last]))
    return _line(f"{marked}: {left} {{ {marked} }} {right}")


def entity_text(entity: dict[str, Any], where: str) -> str:
    """The sentences of an entity's description, joined by spaces."""
    text = fields.text(entity, "description", where)
    if entity.get("sentence_spans") is None:
        return _line(text)
    return _line(" ".join(text[start:end] for start, end in _sentences(entity, len(text), where)))


def _sentences(owner: dict[str, Any], length: int, where: str) -> list[Span]:
    spans = fields.get(owner, "sentence_spans", where)
    if not isinstance(spans, list):
        raise InputError(f"{where}: field `sentence_spans`: expected a list, found {shorten(spans)}")
    return [_span(span, length, where, "sentence_spans") for span in spans]


def _span(span: Any, length: int, where: str, name: str) -> Span:
    start, end = (span.get(key) for key in ("start", "end")) if isinstance(span, dict) else (None, None)
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= length):
        raise InputError(
            f"{where}: field `{name}`: expected start and end within the text of {length} characters, found"
            f" {shorten(span)}; a copy without texts? the makers' scripts restore them"
        )
    return start, end


def _line(text: str) -> str:
    return " ".join(text.splitlines()).replace("  ", " ").strip()
