"""The runs of a report, read from disk, and runs that are seeds of one another put together.

runs = read(["runs/baseline_s1", "runs/baseline_s2", "runs/mtl/eval/scores.json"])
entries = group(runs)       # the first two as one entry, if their configs differ only in the seed
"""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.run_config import read_json
from eval.metrics import aggregate
from eval.suites import TARGETS

Scores = dict[str, Any]
FILE = "scores.json"
_SEED_FIELDS = ("seed", "name", "output")  # fields of a run's config that may differ between its seeds

_KEYS = ("encoder", "name", "fingerprint", "suite", "targets", "not_run")  # of scores.json


@dataclass(frozen=True)
class Run:
    """One scores.json.

    folder: where the file lies; None if it was never written. config: the config of the run that the encoder comes
    from, if any. alignment: the results for the same weights in an align.json, if any.
    """

    scores: Scores
    folder: Path | None = None
    config: dict[str, Any] | None = None
    alignment: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return str(self.scores["name"])

    @property
    def targets(self) -> dict[str, Any]:
        return self.scores["targets"]

    @cached_property
    def overlap(self) -> dict[str, Any]:
        """By training dataset what was checked for test rows, from the run.json of the run that made the encoder."""
        for folder in (Path(self.scores["encoder"]).parent, *(self.folder.parents[:2] if self.folder else ())):
            if (folder / "run.json").is_file():
                return read_json(folder / "run.json").get("overlap", {})
        return {}

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seed of the run and those of the target training."""
        own = [] if self.config is None else [self.config["seed"]]
        stages = [stage for record in self.targets.values() for stage in record["protocol"].get("training", ())]
        return (*own, *(stage["seed"] for stage in stages))


@dataclass(frozen=True)
class Entry:
    """One row of the table: a run, or several seeds of one."""

    name: str
    runs: tuple[Run, ...]


def read(paths: Sequence[str]) -> list[Run]:
    """The runs at `paths` (run folders, eval folders or scores.json files), each once, in their order.

    `InputError` for a path without scores and for a file that `python -m eval` has not written.
    """
    files = dict.fromkeys(_find(path).resolve() for path in paths)
    aligned: dict[str, dict[str, Any]] = {}
    for file in files:  # one align.json may hold the encoders of several runs
        path = file.with_name("align.json")
        if path.is_file():
            for encoder in read_json(path)["encoders"]:
                if encoder["languages"]:
                    aligned.setdefault(encoder["fingerprint"], encoder)
    return [replace(run, alignment=aligned.get(run.scores["fingerprint"])) for run in map(_read, files)]


def _find(place: str) -> Path:
    path = Path(place)
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{place}: no such run; give a run folder, its eval folder or a scores.json")
    for file in (path / FILE, path / "eval" / FILE):
        if file.is_file():
            return file
    raise InputError(f"{place}: no {FILE} there or in eval/; score it with `python -m eval --encoder ...` first")


def _read(file: Path) -> Run:
    scores = read_json(file)
    if absent := [key for key in _KEYS if key not in scores]:
        raise InputError(f"{file}: no {', '.join(absent)}, not of this `python -m eval`; evaluate that encoder again")
    for name in scores["targets"]:
        if name not in TARGETS:
            raise InputError(f"{file}: targets.{name}: unknown target; known: {', '.join(TARGETS)}")
    if not scores["targets"] and not scores["not_run"]:
        raise InputError(f"{file}: no target was scored; evaluate that encoder first")
    return Run(scores, file.parent, _config(file))


def _config(file: Path) -> dict[str, Any] | None:
    """The config.json of the run: runs/NAME for runs/NAME/eval and runs/NAME/eval/encoder_last, else none."""
    for folder in (file.parent.parent, file.parent.parent.parent):
        if (folder / "config.json").is_file() and "eval" in (file.parent.name, file.parent.parent.name):
            return _run_config(folder)
    return None


def _run_config(folder: Path) -> dict[str, Any] | None:
    """The config of a run; None if it is that of a transformers model, which has no seed."""
    config = read_json(folder / "config.json")
    return config if "seed" in config else None


# Names and seeds


def single_entries(scores: Sequence[Scores]) -> list[Entry]:
    """Every scores.json as an entry of its own."""
    runs = [Run(one) for one in scores]
    return [Entry(name, (run,)) for name, run in zip(names_of(runs), runs, strict=True)]


def names_of(runs: Sequence[Run]) -> list[str]:
    """Short names; the encoder's path where two are the same, then the folder of the scores."""
    each = [(run.name, str(run.scores["encoder"]), str(run.folder or run.scores["encoder"])) for run in runs]
    counts = [Counter(column) for column in zip(*each, strict=True)]
    return [next((name for name, n in zip(names, counts, strict=True) if n[name] == 1), names[-1]) for names in each]


def group(runs: Sequence[Run]) -> list[Entry]:
    """Entries in the order of their first runs.

    Seeds of one entry: runs of one config, but for its seed, name and output (those of the runs that it starts from
    set aside as well), or of the same weights where there is no config; scored with the same settings, but for the
    seeds of the target training; no two with the same seeds.
    """
    names = names_of(runs)
    groups: list[list[int]] = []
    for i, run in enumerate(runs):
        same = (members for members in groups if all(_is_seed_of(run, runs[other]) for other in members))
        if (members := next(same, None)) is None:
            groups.append(members := [])
        members.append(i)
    titles = [names[some[0]] if len(some) == 1 else _common([runs[i].name for i in some]) for some in groups]
    return [
        Entry(title if titles.count(title) == 1 else " + ".join(names[i] for i in some), tuple(runs[i] for i in some))
        for title, some in zip(titles, groups, strict=True)
    ]


def _is_seed_of(one: Run, other: Run) -> bool:
    if one.seeds == other.seeds or _identity(one) != _identity(other):
        return False
    shared = one.targets.keys() & other.targets.keys()
    return not any(aggregate.differing([one.targets[name], other.targets[name]]) for name in shared)


def _identity(run: Run) -> Any:
    """What all seeds of a run have in common."""
    if run.config is None:
        return run.scores["fingerprint"]
    which = Path(run.scores["encoder"]).name  # encoder or encoder_last
    return [which, _without_seed(run.config, 0)]


def _without_seed(config: dict[str, Any], depth: int) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in _SEED_FIELDS}
    encoder = kept.get("encoder")
    if isinstance(encoder, str) and depth < 10 and (Path(encoder).parent / "config.json").is_file():
        before = _run_config(Path(encoder).parent)
        if before is not None:
            kept["encoder"] = [Path(encoder).name, _without_seed(before, depth + 1)]
    return kept


def _common(names: Sequence[str]) -> str:
    """mtl_s1, mtl_s2, mtl_s3 -> mtl (3 seeds)."""
    pairs = zip(min(names), max(names), strict=False)
    start = "".join(a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    if len(set(names)) > 1:
        start = re.sub(r"[-_. /]+(seed|s)?[-_. ]*\d*$", "", start) or f"{names[0]} and others"
    return f"{start} ({len(names)} seeds)"
