"""What a report is made of: runs as they lie on disk, checked, and runs that are seeds of one another put together.

runs = read(["runs/baseline_s1", "runs/baseline_s2", "runs/mtl/eval/scores.json"])
entries = group(runs)       # the first two as one entry, if their configs differ only in the seed
"""

import itertools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common import jsontext
from common.errors import InputError
from eval.metrics import aggregate
from eval.metrics.aggregate import TO_OTHER
from eval.suites import TARGETS, resolve_suite

Scores = dict[str, Any]
FILE = "scores.json"
_SEED_FIELDS = ("seed", "name", "output")  # fields of a run's config that two seeds of one thing may differ in

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _Stage(BaseModel):
    """One training of a target's protocol."""

    model_config = ConfigDict(strict=True)

    seed: int
    overrides: list[str]


class _Protocol(BaseModel):
    model_config = ConfigDict(strict=True)

    training: list[_Stage] = []


class _Record(BaseModel):
    """A target of scores.json, as far as a report reads it."""

    model_config = ConfigDict(strict=True)

    metric: str
    score: _Number
    languages: Annotated[dict[str, _Number], Field(min_length=1)]
    missing_languages: list[str]
    scores: dict[str, _Number]
    chance: _Number | None
    details: dict[str, dict[str, _Number]]
    protocol: _Protocol
    truncated: dict[str, int]
    notes: list[str]
    supplied: list[str] = []
    dev: list[str] = []
    # Of LAReQA and of BUCC alone.
    rank_distance: _Number = 0.0
    pool: int = 0
    threshold: dict[str, _Number] = {}
    threshold_from: dict[str, str] = {}
    scored_on: dict[str, str] = {}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.details.keys() != self.languages.keys():
            raise ValueError("`details` and `languages` have other languages")
        for code, figures in self.details.items():
            wanted = [*self.scores, "n", *(["chance"] if self.chance is not None else [])]
            lacking = [key for key in wanted if key not in figures]
            if lacking:
                raise ValueError(f"details.{code} has no {lacking[0]!r}")
        if self.metric not in self.scores and TO_OTHER not in self.scores:
            raise ValueError(f"`scores` has no {self.metric!r}")
        for one, needed in (("rank_distance", ("pool",)), ("threshold", ("threshold_from", "scored_on"))):
            absent = [name for name in needed if one in self.model_fields_set and name not in self.model_fields_set]
            if absent:
                raise ValueError(f"{one} without {absent[0]}")
        return self


class _File(BaseModel):
    model_config = ConfigDict(strict=True)

    encoder: str
    name: str
    fingerprint: str
    suite: str
    targets: dict[str, _Record]
    not_run: dict[str, str]


class _Scored(BaseModel):
    score: _Number | None
    random: _Number | None


class _Language(BaseModel):
    n: int
    layers: dict[str, dict[str, _Scored]]


class _Encoder(BaseModel):
    fingerprint: str
    layers: list[int]
    languages: Annotated[dict[str, _Language], Field(min_length=1)]


class _Alignment(BaseModel):
    """align.json, as far as a report reads it."""

    model_config = ConfigDict(strict=True)

    encoders: list[_Encoder]


@dataclass(frozen=True)
class Run:
    """One scores.json. `folder` is where it lies (None: never written), `config` the run config of the encoder, if it

    comes from a run, `alignment` what an align.json says of the same weights.
    """

    scores: Scores
    folder: Path | None = None
    config: dict[str, Any] | None = None
    alignment: dict[str, Any] | None = None

    @property
    def targets(self) -> dict[str, Any]:
        return self.scores["targets"]

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seed of the run and those of the target training."""
        own = [] if self.config is None else [self.config["seed"]]
        stages = [stage for record in self.targets.values() for stage in record["protocol"].get("training", ())]
        return (*own, *(stage["seed"] for stage in stages))


@dataclass(frozen=True)
class Entry:
    """One row of the table: a run, or the seeds of one."""

    name: str
    runs: tuple[Run, ...]


def read(places: Sequence[str]) -> list[Run]:
    """The runs at `places` (run folders, eval folders or scores.json files), each once, in their order.

    `InputError` for a place without scores and for a file that is not as `python -m eval` writes it.
    """
    files = dict.fromkeys(_find(place).resolve() for place in places)
    aligned: dict[str, dict[str, Any]] = {}
    for file in files:  # one align.json may hold the encoders of several runs
        for encoder in _alignments(file.with_name("align.json")):
            aligned.setdefault(encoder["fingerprint"], encoder)
    runs = [_read(file) for file in files]
    return [replace(run, alignment=aligned.get(run.scores["fingerprint"])) for run in runs]


def _find(place: str) -> Path:
    path = Path(place)
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{place}: no such run; give a run folder, its eval folder or a scores.json")
    for file in (path / FILE, path / "eval" / FILE):
        if file.is_file():
            return file
    deeper = sorted(path.glob(f"*/{FILE}")) + sorted(path.glob(f"eval/*/{FILE}"))
    hint = f"did you mean {deeper[0].parent}?" if deeper else "score it with `python -m eval --encoder ...` first"
    raise InputError(f"{place}: no {FILE} there or in eval/; {hint}")


def _read(file: Path) -> Run:
    scores = _object(file)
    if "baseline" in scores and "runs" in scores:
        raise InputError(f"{file}: these are the combined scores of a report; give the runs themselves")
    _check(_File, scores, file, "evaluate that encoder again")
    for name in scores["targets"]:
        if name not in TARGETS:
            raise InputError(f"{file}: targets.{name}: unknown target; known: {', '.join(TARGETS)}")
    try:
        resolve_suite(scores["suite"])
    except InputError:
        raise InputError(f"{file}: suite: {scores['suite']!r} is neither a suite nor names of targets") from None
    if not scores["targets"] and not scores["not_run"]:
        raise InputError(f"{file}: no target was scored; evaluate that encoder first")
    return Run(scores, file.parent, _config(file))


def _object(file: Path) -> dict[str, Any]:
    try:
        found = jsontext.parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from None
    except UnicodeError:
        raise InputError(f"{file}: not UTF-8 text; write it again") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{file}, line {error.lineno}: not JSON ({error.msg}); write it again") from None
    if not isinstance(found, dict):
        raise InputError(f"{file}: expected a JSON object")
    return found


def _config(file: Path) -> dict[str, Any] | None:
    """The config.json of the run: runs/NAME for runs/NAME/eval and runs/NAME/eval/encoder_last, else none."""
    for folder in (file.parent.parent, file.parent.parent.parent):
        if (folder / "config.json").is_file() and "eval" in (file.parent.name, file.parent.parent.name):
            return _run_config(folder)
    return None


def _run_config(folder: Path) -> dict[str, Any] | None:
    """The config of a run; None if it is that of a transformers model, which has no seed."""
    config = _object(folder / "config.json")
    if "model_type" in config and "seed" not in config:
        return None
    if not isinstance(config.get("seed"), int):
        raise InputError(f"{folder / 'config.json'}: no `seed`; is it the config of a run?")
    return config


def _alignments(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    found = _object(path)
    _check(_Alignment, found, path, "run `python -m eval align` again")
    return list(found["encoders"])


def _check(model: type[BaseModel], found: dict[str, Any], file: Path, remedy: str) -> None:
    try:
        model.model_validate(found)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        what = problem["msg"].removeprefix("Value error, ")
        raise InputError(f"{file}: {where}: {what}; {remedy}") from None


# Names and seeds


def names_of(runs: Sequence[Run]) -> list[str]:
    """Short names; the encoder's path where two are the same, then the folder of the scores."""
    short = [str(run.scores["name"]) for run in runs]
    longer = [str(run.scores["encoder"]) for run in runs]
    names = []
    for i, run in enumerate(runs):
        if short.count(short[i]) == 1:
            names.append(short[i])
        elif longer.count(longer[i]) == 1 or run.folder is None:
            names.append(longer[i])
        else:
            names.append(_relative(run.folder))
    return names


def _relative(path: Path) -> str:
    """As seen from here if it lies below."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def group(runs: Sequence[Run]) -> list[Entry]:
    """Entries in the order of their first runs.

    Seeds of one thing: runs of one config, but for its seed, name and output (those of the runs that it starts from
    set aside as well), or of the same weights where there is no config; scored with the same settings, but for the
    seeds of the target training; no two with the same seeds.
    """
    names = names_of(runs)
    groups: list[list[int]] = []
    for i, run in enumerate(runs):
        for members in groups:
            if all(_seed_of(run, runs[other]) for other in members):
                members.append(i)
                break
        else:
            groups.append([i])
    entries = [
        Entry(names[some[0]] if len(some) == 1 else _common([str(runs[i].scores["name"]) for i in some]), members)
        for some in groups
        for members in [tuple(runs[i] for i in some)]
    ]
    titles = [entry.name for entry in entries]
    return [
        entry if titles.count(entry.name) == 1 else Entry(" + ".join(names[i] for i in some), entry.runs)
        for entry, some in zip(entries, groups, strict=True)
    ]


def _seed_of(one: Run, other: Run) -> bool:
    if one.seeds == other.seeds or _identity(one) != _identity(other):
        return False
    shared = one.targets.keys() & other.targets.keys()
    return not any(aggregate.differing([one.targets[name], other.targets[name]]) for name in shared)


def _identity(run: Run) -> Any:
    """What is the same for all seeds of a thing."""
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
