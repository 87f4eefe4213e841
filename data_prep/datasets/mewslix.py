"""Mewsli-X (Ruder et al. 2021): retrieval of entities for mentions in WikiNews, trained on pairs of Wikipedia.

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
from data_prep.datasets.schema import Dataset, Files, Hub, Task, no_example
from data_prep.formats import readers
from tasks.pair.data import Pair

LANGUAGES = ("ar", "de", "en", "es", "fa", "ja", "pl", "ro", "ta", "tr", "uk")
REVISION = "7e3723faa15c6d84cfd56d66cf6cd347be8ad00e"
OBTAIN = "https://github.com/google-research/google-research/tree/master/dense_representations_for_entity_retrieval/mel"
_BRACES = re.compile(r"\{(.*?)\}")
_TEMPLATE = re.compile(r"(?P<span>.+?)(:) (?:.* )?(\{) (?P=span) (\})(?: |$)", re.DOTALL)


def mewslix(row: fields.RawRow, where: str, labels: fields.Labels) -> Pair:
    """Upstream rows, {contextual_mention: {context, mention}, entity}, or the Hub's, with texts already made."""
    if "contextual_mention" not in row:
        name = str(row.get("example_id") or "")
        return Pair(name, fields.text(row, "mention", where), fields.text(row, "entity", where))
    match row:
        case {
            "contextual_mention": {"context": dict() as context, "mention": dict() as mention},
            "entity": dict() as one,
        }:
            query = mention_text(context, mention, where)
            return Pair(fields.text(mention, "example_id", where), query, entity_text(one, where))
    expected = "{contextual_mention: {context, mention}, entity}"
    raise InputError(f"{where}: expected {expected}, found {fields.shorten(row)}")


def mention_text(context: dict[str, Any], mention: dict[str, Any], where: str) -> str:
    """The mention in its sentence. One that crosses sentences gets all that it touches.

    Raises `InputError` where the span does not hold the text it should, for example in the copy without texts.
    """
    text = fields.text(context, "text", where)
    span = fields.get(mention, "mention_span", where)
    start, end = _span(span, len(text), where, "mention_span")
    marked = text[start:end]
    if span.get("text", marked) != marked:
        expected = f"{fields.shorten(span['text'])} at {start} (a copy without texts? upstream scripts restore them)"
        raise fields.wrong(where, "mention_span", expected, marked)
    sentences = _sentences(context, len(text), where)
    touched = [s for s in sentences if s[0] < end and start < s[1]]
    # A mention outside every sentence stands alone.
    first = min(start, *(s[0] for s in touched)) if touched else start
    last = max(end, *(s[1] for s in touched)) if touched else end
    left, right = (_BRACES.sub(r"(\1)", part) for part in (text[first:start], text[end:last]))
    return _line(f"{marked}: {left} {{ {marked} }} {right}")


def template_marks(text: str) -> set[int]:
    """Where the colon and the braces of the template are in a text of `mention_text`; none in another text."""
    found = _TEMPLATE.match(text)
    return {found.start(group) for group in (2, 3, 4)} if found else set()


def entity_text(entity: dict[str, Any], where: str) -> str:
    """The sentences of an entity's description, joined by spaces."""
    text = fields.text(entity, "description", where)
    if entity.get("sentence_spans") is None:
        return _line(text)
    return _line(" ".join(text[start:end] for start, end in _sentences(entity, len(text), where)))


def _sentences(owner: dict[str, Any], length: int, where: str) -> list[tuple[int, int]]:
    spans = fields.get(owner, "sentence_spans", where)
    if not isinstance(spans, list):
        raise fields.wrong(where, "sentence_spans", "a list", spans)
    return [_span(span, length, where, "sentence_spans") for span in spans]


def _span(span: Any, length: int, where: str, name: str) -> tuple[int, int]:
    start, end = (span.get(key) for key in ("start", "end")) if isinstance(span, dict) else (None, None)
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= length):
        expected = f"start and end within {length} characters (a copy without texts? upstream scripts restore them)"
        raise fields.wrong(where, name, expected, span)
    return start, end


def _line(text: str) -> str:
    return " ".join(text.splitlines()).replace("  ", " ").strip()


TRAINING = Dataset(
    "mewslix",
    "pair",
    "Apache-2.0; Wikipedia CC BY-SA 3.0",
    OBTAIN,
    "number not recorded",
    (Hub("izhx/mewsli-x", "wikipedia_pairs", ("mention", "entity"), mewslix, REVISION),),
    (Files("wikipedia_pairs-{split}.jsonl", readers.jsonl, mewslix),),
)
# XTREME's mentions, the Hub's (izhx/mewsli-x), and the upstream file, in which all languages stand together.
MENTIONS = (
    "wikinews_mentions/{split}-{code}.jsonl",
    "wikinews_mentions/{code}/{split}.jsonl",
    "wikinews_mentions-{split}.jsonl",
)
CANDIDATES = ("candidate_set_entities.jsonl", "candidate_entities.jsonl.tar.gz", "candidate_entities.jsonl")
TEST = Dataset(
    "mewslix",
    "entities",
    "Apache-2.0; WikiNews CC BY 2.5",
    OBTAIN,
    "15,000 mentions and 1,003,893 candidates in all",
    files=tuple(Files(path, readers.jsonl, no_example) for path in MENTIONS),
    splits=("test", "validation"),
    hub_files=(
        "izhx/mewsli-x",
        REVISION,
        (*(f"wikinews_mentions/{code}/test.jsonl" for code in LANGUAGES), "candidate_entities.jsonl.tar.gz"),
    ),
    layout="wikinews_mentions-{test,dev}.jsonl, candidate_set_entities.jsonl",
    suites={"xtreme-r": LANGUAGES},
)
# Mention and entity of 64 tokens each, as in XTREME-R's train_mewslix.sh.
TASKS = Task("mewslix", "pair", "map@20", ("mewslix",), query_length=64)
