"""What each item of a target contributes to its metrics: the one place from which scores and intervals are computed.

    outcomes = accuracy(["a", "b"], ["a", "a"])
    outcomes.scores()                                    {"accuracy": 50.0}

An item is what is drawn anew in another test set: an example, a question, a query, a sentence with its tags. They are
kept beside scores.json, in one file a language:

    items/xnli/de.arrow      column `id`, and those of `Outcomes`

Arrow's file format (Feather), which pandas, polars and R read too. The schema's metadata hold `metrics`, JSON
{metric: {"numerator": columns, "denominator": columns}} as in `Metric`, and `fingerprint`, that of the target's record
in scores.json.
"""

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import feather

from common import files

FOLDER = "items"


@dataclass(frozen=True)
class Metric:
    """100 * the sum of the columns `numerator` / that of the columns `denominator`, without any the number of items.

    A column that is named twice counts twice: F1 is 2 * correct / (predicted + gold). 0 where the denominator is 0.
    """

    numerator: tuple[str, ...]
    denominator: tuple[str, ...] = ()


CHUNKS = {
    "f1": Metric(("correct", "correct"), ("predicted", "gold")),
    "precision": Metric(("correct",), ("predicted",)),
    "recall": Metric(("correct",), ("gold",)),
}


@dataclass(frozen=True)
class Outcomes:
    """columns: int64 or float64 [items] by name; metrics: how each metric of the target comes from them.

    ids: of the items, () before they have any; items of several languages with one id are translations of each other,
    so that they are drawn together.
    """

    columns: Mapping[str, np.ndarray]
    metrics: Mapping[str, Metric]
    ids: Sequence[str] = ()

    def sums(self, names: Sequence[str]) -> np.ndarray:
        """[items]: the sum of some columns; ones where none is named."""
        if not names:
            return np.ones(len(next(iter(self.columns.values()))))
        return np.sum([self.columns[name] for name in names], axis=0)

    def scores(self) -> dict[str, float]:
        """Every metric, 0-100."""
        found = {}
        for name, metric in self.metrics.items():
            whole = self.sums(metric.denominator).sum()
            found[name] = float(100 * self.sums(metric.numerator).sum() / whole) if whole else 0.0
        return found

    def named(self, ids: Sequence[str]) -> "Outcomes":
        """The same with ids."""
        return replace(self, ids=ids)


def means(columns: Mapping[str, Sequence[float]]) -> Outcomes:
    """Of metrics that are the mean of one column each, in [0, 1], of the same name."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    return Outcomes(arrays, {name: Metric((name,)) for name in arrays})


def counts(metrics: Mapping[str, Metric], columns: Mapping[str, Sequence[int]]) -> Outcomes:
    """Of metrics that are ratios of counts."""
    return Outcomes({name: np.asarray(values, dtype=np.int64) for name, values in columns.items()}, metrics)


def write(folder: Path, target: str, outcomes: Mapping[str, Outcomes], fingerprint: str) -> None:
    """Replaces a target's files below `folder`; `outcomes` by language, with ids."""
    place = folder / FOLDER / target
    shutil.rmtree(place, ignore_errors=True)
    for language, one in outcomes.items():
        place.mkdir(parents=True, exist_ok=True)
        said = {"metrics": json.dumps({k: asdict(v) for k, v in one.metrics.items()}), "fingerprint": fingerprint}
        table = pa.table({"id": pa.array(one.ids, pa.string()), **one.columns}, metadata=said)
        content = io.BytesIO()
        feather.write_feather(table, content, compression="zstd")
        files.write_bytes(place / f"{language}.arrow", content.getvalue())


def read(folder: Path, target: str, language: str, fingerprint: str) -> Outcomes | None:
    """What `write` wrote; None if there is no such file or it belongs to other scores than those of `fingerprint`."""
    path = folder / FOLDER / target / f"{language}.arrow"
    if not path.is_file():
        return None
    table = feather.read_table(path)
    said = table.schema.metadata
    if said[b"fingerprint"].decode() != fingerprint:
        return None
    metrics = {name: Metric(*map(tuple, one.values())) for name, one in json.loads(said[b"metrics"]).items()}
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "id"}
    return Outcomes(columns, metrics, table["id"].to_pylist())
