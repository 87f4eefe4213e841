"""SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018), and the conversion of every dataset in its format."""

from dataclasses import replace

from common import fields
from common.errors import InputError
from common.languages import codes
from data_prep.datasets.schema import Dataset, Dropped, Files, Hub, Task
from data_prep.formats import readers
from tasks.registry import TASK_TYPES
from tasks.span.data import Span

COLUMNS = ("id", "question", "context", "answers")
SHA256 = {
    "train-v1.1.json": "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955",
    "dev-v1.1.json": "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",
    "train-v2.0.json": "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002",
    "dev-v2.0.json": "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
}


hub_squad = TASK_TYPES["span"].from_row


def upstream_squad(row: fields.RawRow, where: str, labels: fields.Labels) -> Span:
    """SQuAD 1.1 and 2.0; in 2.0 `is_impossible` goes with an empty list of answers."""
    span, impossible = hub_squad(row, where, labels), row.get("is_impossible")
    if impossible is not None and bool(impossible) != (not span.answers):
        raise InputError(f"{where}: field `is_impossible` is {impossible}, but there are {len(span.answers)} answers")
    return span


def stripped_squad(row: fields.RawRow, where: str, labels: fields.Labels) -> Span:
    """`hub_squad` of a copy that has lost spaces around contexts and answers, while its offsets still count them.

    The scripts that made the Hub's TyDiQA, XQuAD and XTREME did this (`strip()`). An answer that does not stand where
    it should is looked for nearby: the nearest occurrence counts, the one to the left of two.
    """
    return _searched(hub_squad(row, where, labels))


def translated_squad(row: fields.RawRow, where: str, labels: fields.Labels) -> Span:
    """A row of a machine translation (of SQuAD 1.1), in which an answer may have been lost or moved."""
    span = _searched(upstream_squad(row, where, labels))
    found = (answer.strip() and span.context.startswith(answer, start) for answer, start in span.answers)
    if not (span.answers and all(found)):
        raise Dropped("answer not in the translated context")
    return span


def _searched(span: Span) -> Span:
    """Each answer where it occurs next to its offset."""
    answers = []
    for answer, start in span.answers:
        if answer and not span.context.startswith(answer, start):
            left, right = span.context.rfind(answer, 0, start + len(answer)), span.context.find(answer, start)
            starts = [found for found in (left, right) if found >= 0]
            start = min(starts, key=lambda found: abs(found - start), default=start)
        answers.append((answer, start))
    return replace(span, answers=tuple(answers))


V1 = Dataset(
    "squad_v1",
    "span",
    "CC BY-SA 4.0",
    "https://rajpurkar.github.io/SQuAD-explorer/",
    "87,599 / 10,570",
    (Hub("rajpurkar/squad", "plain_text", COLUMNS, hub_squad, "7b6d24c440a36b6815f21b70d25016731768db1f"),),
    (Files("{split}-v1.1.json", readers.squad_json, upstream_squad, sha256=SHA256),),
)
V2 = replace(
    V1,
    name="squad_v2",
    rows="130,319 / 11,873",
    hub=(Hub("rajpurkar/squad_v2", "squad_v2", COLUMNS, hub_squad, "3ffb306f725f7d2ce8394bc1873b24868140c412"),),
    files=(replace(V1.files[0], path="{split}-v2.0.json"),),
)
TRAINING = (V1, V2)
TRANSLATED = codes("ar de es hi vi zh")  # by MLQA, see mlqa.py
TASKS = (
    Task("squad_v1", "span", "squad", ("squad_v1",), others={code: (f"squad_v1.{code}",) for code in TRANSLATED}),
    Task("squad_v2", "span", "squad_v2", ("squad_v2",)),
)
