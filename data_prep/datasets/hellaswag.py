"""HellaSwag (Zellers et al. 2019)."""

from common import fields
from data_prep.datasets.schema import Dataset, Files, Hub, Task, splits
from data_prep.formats import readers
from tasks.choice.data import Choice

SHA256 = {
    "hellaswag_train.jsonl": "dae5e69249868cb9fe4e23ff925c60b66169564cfb7072d793cd7356a2b69f8d",
    "hellaswag_val.jsonl": "0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588",
}
COLUMNS = ("ind", "ctx_a", "ctx_b", "endings", "label")


def hellaswag(row: fields.RawRow, where: str, labels: fields.Labels) -> Choice:
    """Hub (label "0" to "3") and upstream (0 to 3) alike: ctx_a is the prompt, ctx_b opens every ending."""
    opening = fields.text(row, "ctx_b", where)
    endings = fields.texts(row, "endings", where)
    label = fields.number(fields.withheld(fields.get(row, "label", where), where), "label", where)
    if len(endings) != 4:
        raise fields.wrong(where, "endings", "4", len(endings))
    choices = tuple(f"{opening} {ending}" if opening else ending for ending in endings)
    return Choice(str(row.get("ind", "")), fields.text(row, "ctx_a", where), choices, label)


TRAINING = Dataset(
    "hellaswag",
    "choice",
    "MIT",
    "https://github.com/rowanz/hellaswag",
    "39,905 / 10,042",
    (Hub("Rowan/hellaswag", "default", COLUMNS, hellaswag, "218ec52e09a7e7462a5400043bb9a69a41d06b76"),),
    (Files("hellaswag_{split}.jsonl", readers.jsonl, hellaswag, splits("train", "val"), sha256=SHA256),),
)
TASKS = Task("hellaswag", "choice", "accuracy", ("hellaswag",))
