"""Social IQa (Sap et al. 2019); XCOPA trains on it before COPA."""

from common import fields
from data_prep.datasets.schema import Dataset, Files, Hub, Task, splits
from data_prep.formats import readers
from tasks.choice.data import Choice

COLUMNS = ("context", "question", "answerA", "answerB", "answerC", "label")
LETTERS = {"A": 0, "B": 1, "C": 2, "1": 0, "2": 1, "3": 2}


def siqa(row: fields.RawRow, where: str, labels: fields.Labels) -> Choice:
    """The Hub (`label` "1" to "3") and v1.4 (`correct` "A" to "C"). Prompt: context and question."""
    name = "correct" if "correct" in row else "label"
    value = str(fields.withheld(row.get(name), where))
    if value not in LETTERS:
        raise fields.wrong(where, name, "A to C or 1 to 3", value)
    prompt = f"{fields.text(row, 'context', where)} {fields.text(row, 'question', where)}"
    choices = tuple(fields.text(row, f"answer{letter}", where) for letter in "ABC")
    return Choice("", prompt, choices, LETTERS[value])


TRAINING = Dataset(
    "siqa",
    "choice",
    "CC BY 4.0",
    "https://maartensap.com/social-iqa",
    "33,410 / 1,954",
    (Hub("lighteval/siqa", "default", COLUMNS, siqa),),
    (Files("socialIQa_v1.4_{split}.jsonl", readers.jsonl, siqa, splits("trn", "dev")),),
)
TASKS = Task("siqa", "choice", "accuracy", ("siqa",))
