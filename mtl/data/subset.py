"""The rows that `subset` of a task entry names: a text file with one id of a training example a line.

Ids, not row numbers: they stay valid when the data are prepared again for another tokenizer or length, or without the
rows of a test (`TaskType.row_id`). All rows of an example, and all examples with an id, are meant.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.errors import InputError
from data_prep.storage import store


def chosen_rows(task: str, path: str, prepared: Sequence[store.Prepared]) -> np.ndarray:
    """Ascending int64: the training rows of these folders, counted over all, whose ids stand in the file.

    Raises `InputError` for a file that cannot be read or is empty, and for an id that no row has.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{task}: subset {path}: cannot be read ({error})") from None
    wanted = pa.array([line for line in lines if line], pa.string())
    ids = store.row_ids(prepared)
    unknown = wanted.filter(pc.invert(pc.is_in(wanted, value_set=ids)))
    if not len(wanted):
        raise InputError(f"{task}: subset {path}: empty; expected the id of a training example a line")
    if len(unknown):
        raise InputError(
            f"{task}: subset {path}: {len(unknown)} of {len(wanted)} ids, {unknown[0]} the first, are those of no "
            f"training row of {', '.join(str(p.path) for p in prepared)}: prepare the data that the list was made of"
        )
    return np.flatnonzero(pc.is_in(ids, value_set=wanted).to_numpy(zero_copy_only=False))
