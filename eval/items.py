"""The outcome of every item of a target, one file a language, beside scores.json.

    items/xnli/de.arrow      column `id`, and the columns of `eval/metrics/outcomes.py`

Arrow's file format (Feather), which pandas, polars and R read too. The schema's metadata hold `metrics`, JSON
{metric: {"numerator": columns, "denominator": columns}}: 100 * the sum of the first over the sum of the second, or over
the number of rows where that is empty; and `fingerprint`, that of the target's record in scores.json.
"""

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from pyarrow import feather

from common import files
from eval.metrics.outcomes import Metric, Outcomes

FOLDER = "items"


def replace(folder: Path, target: str, outcomes: Mapping[str, Outcomes], fingerprint: str) -> None:
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
    """What `replace` wrote; None if there is no such file or it belongs to other scores than those of `fingerprint`."""
    path = folder / FOLDER / target / f"{language}.arrow"
    if not path.is_file():
        return None
    table = feather.read_table(path)
    said = table.schema.metadata
    if said[b"fingerprint"].decode() != fingerprint:
        return None
    metrics = {
        name: Metric(tuple(one["numerator"]), tuple(one["denominator"]))
        for name, one in json.loads(said[b"metrics"]).items()
    }
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "id"}
    return Outcomes(columns, metrics, table["id"].to_pylist())
