"""CommonsenseQA (Talmor et al. 2019), the random split."""

from common import fields
from data_prep.datasets.schema import Dataset, Files, Hub, Task
from data_prep.formats import readers
from tasks.choice.data import Choice

COLUMNS = ("id", "question", "choices", "answerKey")


def commonsenseqa(row: fields.RawRow, where: str, labels: fields.Labels) -> Choice:
    """The Hub's rows, with choices {label: [...], text: [...]}, and upstream's, whose `question` holds a list."""
    inner = row.get("question")
    nested = inner if isinstance(inner, dict) else row
    choices = fields.get(nested, "choices", where)
    if isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
        choices = {key: [choice.get(key) for choice in choices] for key in ("label", "text")}
    if not isinstance(choices, dict):
        raise fields.wrong(where, "choices", "`label` and `text` of each", choices)
    letters, texts = fields.texts(choices, "label", where), fields.texts(choices, "text", where)
    if len(letters) != 5 or len(texts) != 5:
        raise fields.wrong(where, "choices", "5", len(texts))
    answer = fields.withheld(row.get("answerKey"), where)
    if answer not in letters:
        raise fields.wrong(where, "answerKey", f"one of {', '.join(letters)}", answer)
    stem = fields.text(nested, "question" if nested is row else "stem", where)
    return Choice(fields.text(row, "id", where), stem, tuple(texts), letters.index(answer))


TRAINING = Dataset(
    "commonsenseqa",
    "choice",
    "MIT",
    "https://www.tau-nlp.org/commonsenseqa",
    "9,741 / 1,221",
    (Hub("tau/commonsense_qa", "default", COLUMNS, commonsenseqa, "94630fe30dad47192a8546eb75f094926d47e155"),),
    (Files("{split}_rand_split.jsonl", readers.jsonl, commonsenseqa),),
)
TASKS = Task("commonsenseqa", "choice", "accuracy", ("commonsenseqa",))
