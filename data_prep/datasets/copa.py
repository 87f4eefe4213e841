"""COPA (Gordon et al. 2012), on which XCOPA (Ponti et al. 2020) trains after Social IQa, and XCOPA's test data."""

from common import fields
from data_prep.datasets.schema import Dataset, Files, Hub, Task, splits
from data_prep.formats import readers
from tasks.choice.data import Choice

COLUMNS = ("premise", "choice1", "choice2", "question", "label", "idx")
SPLITS = splits("train", "val", "val", "test")


def copa(row: fields.RawRow, where: str, labels: fields.Labels) -> Choice:
    """COPA and XCOPA: two choices, `label` 0 or 1 (or their names). Prompt: "PREMISE What was the cause?".

    The prompt is XTREME's (`third_party/run_xcopa.py`).
    """
    value = fields.withheld(row.get("label"), where)
    if value in ("choice1", "choice2"):
        value = int(value == "choice2")
    asked = fields.text(row, "question", where)
    if asked not in ("cause", "effect"):
        raise fields.wrong(where, "question", "cause or effect", asked)
    prompt = f"{fields.text(row, 'premise', where)} What was the {asked}?"
    choices = (fields.text(row, "choice1", where), fields.text(row, "choice2", where))
    return Choice(str(row.get("idx", "")), prompt, choices, fields.number(value, "label", where))


TRAINING = Dataset(
    "copa",
    "choice",
    "BSD 2-clause",
    "https://super.gluebenchmark.com/tasks (COPA.zip)",
    "400 / 100",
    (Hub("aps/super_glue", "copa", COLUMNS, copa, "3de24cf8022e94f4ee4b9d55a6f539891524d646"),),
    (
        Files("COPA/{split}.jsonl", readers.jsonl, copa, SPLITS),
        Files("{split}-{code}.jsonl", readers.jsonl, copa, SPLITS, within="xcopa"),
    ),
)
TEST = Dataset(
    "xcopa",
    "choice",
    "CC BY 4.0",
    "https://github.com/cambridgeltl/xcopa",
    "500 (dev 100)",
    (Hub("cambridgeltl/xcopa", "{code}", COLUMNS, copa),),
    (
        # A clone has the rows machine-translated into English under the same names in data-gmt/.
        Files("{split}.{code}.jsonl", readers.jsonl, copa, SPLITS, within="xcopa", outside="data-gmt"),
        Files("{split}-{code}.jsonl", readers.jsonl, copa, SPLITS, within="xcopa"),
    ),
    splits=("test", "validation"),
    layout="{test,val}.xx.jsonl; XTREME's xcopa/{test,val}-xx.jsonl",
    suites={"xtreme-r": ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")},
)
TASKS = Task("copa", "choice", "accuracy", ("copa",))
