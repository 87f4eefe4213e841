"""Strata of a run's training examples by difficulty, from the training dynamics that it kept (`"dynamics": true`).

    python -m studies difficulty RUN [--out DIR] [--visits 3] [--seed 1]      # RUN/dynamics/strata/TASK.STRATUM.txt

A file has one id a line, for `subset` of a task entry: --set tasks.mnli.subset=RUN/dynamics/strata/mnli.hard.txt. By
the mean probability of the gold label `easy`, `medium` and `hard` are the highest, middle and lowest third, `ambiguous`
is the third in which it varies most (Swayamdipta et al. 2020, arXiv 2009.10795); `random` is a third to compare with.
Thirds are taken within each label, so that all strata of a task have the same size and the same labels. Windows and
parts of one example count as one.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from common import files
from common.errors import InputError, writing
from common.run_config import read_json
from common.table import table

STRATA = ("easy", "medium", "hard", "ambiguous", "random")


def main(arguments: Sequence[str]) -> int:
    """Writes the files and prints what is in them: the exit code 0; `InputError` for a run without dynamics."""
    parser = argparse.ArgumentParser("python -m studies difficulty", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run folder with dynamics/")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: RUN/dynamics/strata")
    parser.add_argument("--visits", type=int, default=3, help="leave out examples visited less often (default: 3)")
    parser.add_argument("--seed", type=int, default=1, help="of the stratum `random` (default: 1)")
    options = parser.parse_args(arguments)
    if not (found := sorted((options.run / "dynamics").glob("*.arrow"))):
        raise InputError(f'{options.run}: no dynamics/*.arrow; train with "dynamics": true to the end first')
    out = options.out or options.run / "dynamics" / "strata"
    lines = [["task", "stratum", "examples", "confidence", "variability", "correctness", "file"]]
    remarks = []
    for path in found:
        everything = read(path)
        examples = everything[everything["visits"] >= options.visits]
        if few := len(everything) - len(examples):
            share = f"{few:,} of {len(everything):,} examples"
            remarks.append(f"{path.stem}: {share} have fewer than {options.visits} visits and are in no stratum")
        if len(examples) == 0 or examples["label"].value_counts().max() < 3:
            remarks.append(f"{path.stem}: {len(examples)} examples are too few for thirds")
            continue
        for name, ids in strata(examples, options.seed).items():
            file = out / f"{path.stem}.{name}.txt"
            with writing(f"--out {out}"):
                out.mkdir(parents=True, exist_ok=True)
                files.write_text(file, "".join(f"{one}\n" for one in ids))
            means = examples.loc[ids, ["confidence", "variability", "correctness"]].mean()
            lines.append([path.stem, name, f"{len(ids):,}", *(f"{value:.3f}" for value in means), str(file)])
    if len(lines) == 1:
        raise InputError(f"{options.run}: {'; '.join(remarks)}: train longer, or lower --visits")
    seed = read_json(options.run / "config.json")["seed"]
    remarks += [
        f"ranked by a run of seed {seed}: train on the strata with another, since a ranking suits the run that made it",
        "`hard` also holds rows whose gold label is wrong",
    ]
    print("\n".join([table(lines, right=range(2, 6)), *remarks]))
    return 0


def read(path: Path) -> pd.DataFrame:
    """A file of dynamics by id of the example: means over its rows, the fewest visits, the largest label."""
    how = {"label": "max", "visits": "min", "confidence": "mean", "variability": "mean", "correctness": "mean"}
    return pd.read_feather(path).groupby("id").agg(how)


def strata(examples: pd.DataFrame, seed: int) -> dict[str, pd.Index]:
    """The ids of each of `STRATA`, a third of the examples of every label; equal values in the order of their ids."""
    parts: dict[str, list[pd.Index]] = {name: [] for name in STRATA}
    for _, group in examples.sort_index().groupby("label"):
        third = len(group) // 3
        confident = group.sort_values("confidence", ascending=False, kind="stable").index
        variable = group.sort_values("variability", ascending=False, kind="stable").index
        middle = (len(group) - third) // 2
        shuffled = group.sample(third, random_state=seed).index
        found = (confident[:third], confident[middle : middle + third], confident[-third:], variable[:third], shuffled)
        for name, ids in zip(STRATA, found, strict=True):
            parts[name].append(ids[:third])
    return {name: some[0].append(some[1:]) for name, some in parts.items()}
