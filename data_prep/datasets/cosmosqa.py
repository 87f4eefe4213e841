"""Cosmos QA (Huang et al. 2019). On the Hub it is a loading script, which is never run: its files are downloaded.

The sha256 of valid.csv was taken of the file at the commit named; that of train.csv is from the record that
huggingface/datasets kept (dataset_infos.json at d7dfbc83), as are those of the other datasets' files.
"""

from common import fields
from data_prep.datasets.schema import Dataset, Files, Hub, Task, on_github, splits
from data_prep.formats import readers
from tasks.choice.data import Choice

COLUMNS = ("id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label")
COMMIT = "b6eb99cca4e2a51dd28a9a6f562534872d851639"
SHA256 = {
    "train.csv": "d8d5ca1f9f6534b6530550718591af89372d976a8fc419360fab4158dee4d0b2",
    "valid.csv": "a6a94fc1463ca82bb10f98ef68ed535405e6f5c36e044ff8e136b5c19dea63f3",
}


def cosmosqa(row: fields.RawRow, where: str, labels: fields.Labels) -> Choice:
    context, question = fields.text(row, "context", where), fields.text(row, "question", where)
    fields.check_text(context, "context", where)
    fields.check_text(question, "question", where)
    choices = tuple(fields.text(row, f"answer{i}", where) for i in range(4))
    label = fields.number(fields.withheld(fields.get(row, "label", where), where), "label", where)
    return Choice(fields.text(row, "id", where), f"{context} {question}", choices, label)


TRAINING = Dataset(
    "cosmosqa",
    "choice",
    "CC BY 4.0",
    "https://github.com/wilburOne/cosmosqa",
    "25,262 / 2,985",
    (Hub("allenai/cosmos_qa", "default", COLUMNS, cosmosqa),),
    (Files("{split}.csv", readers.csv_quoted, cosmosqa, splits("train", "valid"), within="cosmos", sha256=SHA256),),
    published=on_github("cosmosqa", "wilburOne/cosmosqa", COMMIT, "data/", SHA256),
)
TASKS = Task("cosmosqa", "choice", "accuracy", ("cosmosqa",))
