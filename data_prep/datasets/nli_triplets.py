"""NLI as contrastive triplets, as in SimCSE (Gao et al. 2021): a premise, what follows from it, what contradicts it.

Of MNLI, SNLI and ANLI as they are read for classification. A premise's k-th entailed hypothesis goes with its k-th
contradicted one, in the order of the files, so that none is used twice; SimCSE draws one of each. Triplets of one
premise are a group.
"""

from dataclasses import replace
from typing import Any

from common import fields
from common.labels import NLI
from data_prep.datasets import anli, mnli, snli
from data_prep.datasets.schema import Convert, Dataset, Dropped, Task
from data_prep.formats.readers import Rows
from tasks.pair.data import Pair

NO_PARTNER = "no hypothesis of the other label for this premise"


def triplets(rows: Rows, convert: Convert) -> Rows:
    """The triplets in the order of their second hypothesis, then a row for each row that is in none, with the reason.

    Holds the hypotheses that wait for a partner: at most those of the whole split.
    """
    waiting: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for where, row in rows:
        try:
            example: Any = convert(row, where, NLI)
        except Dropped as reason:
            yield where, {"dropped": str(reason)}
            continue
        label = NLI[example.label]
        if label == "neutral":
            yield where, {"dropped": "neutral"}
            continue
        other = "contradiction" if label == "entailment" else "entailment"
        hypotheses = waiting.setdefault(example.text_a, {"entailment": [], "contradiction": []})
        hypotheses[label].append((where, example.text_b))
        if hypotheses[other]:
            found = {name: hypotheses[name].pop(0)[1] for name in (label, other)}
            yield where, {"premise": example.text_a, **found}
    for hypotheses in waiting.values():
        yield from ((where, {"dropped": NO_PARTNER}) for some in hypotheses.values() for where, _ in some)


def triplet(row: fields.RawRow, where: str, labels: fields.Labels) -> Pair:
    if "dropped" in row:
        raise Dropped(row["dropped"])
    premise = row["premise"]
    return Pair("", premise, row["entailment"], row["contradiction"], premise)


def _of(source: Dataset) -> Dataset:
    rows = "premises with both labels"
    return replace(source, name=f"{source.name}_triplets", kind="pair", rows=rows, regroup=(triplets, triplet))


TRAINING = tuple(_of(source) for source in (mnli.TRAINING, snli.TRAINING, anli.TRAINING))
TASKS = Task("nli_triplets", "pair", "map@20", tuple(dataset.name for dataset in TRAINING))
