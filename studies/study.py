"""The study file: a question, the variants of a run config that answer it, and what is measured and compared.

    study = read("mlm_beside")                    # configs/studies/mlm_beside.json, or a path
    study.variants["mlm_25"].config               # RunConfig: base, `common`, levels and variant merged

`studies/resolve.py` makes the runs of a study, `studies/report` its page.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from common import run_config
from common.config_fields import FolderName, NotNegative, Place, Positive, Strict, explain, nearest
from common.errors import InputError
from common.files import file_sha256, json_sha256
from common.run_config import RunConfig
from eval.metrics.aggregate import metric_names
from eval.perturb import queries
from eval.perturb.kinds import parse
from eval.suites import TARGETS, resolve_suite

FOLDER = "configs/studies"
POOL = "runs"  # beside the studies' folders: the runs of all of them
DECLARED = "sha256_at_first_run"  # in a study's folder
Export = Literal["encoder", "encoder_last", "encoder_mean"]
Hold = Literal["steps", "task_steps", "examples", "tokens", "epochs"]
STEPS = ("align", "mlm_loss")  # what may be measured beside the suite
PERTURB = "perturb:"  # the same, with what `--perturb` takes: scored with the suite
# Of each pair a config has one: giving it takes the other out.
EXCLUSIVE = {"steps": "epochs", "epochs": "steps", "tokens": "examples", "examples": "tokens"}


def _study_name(text: str) -> str:
    parts = text.split("/")
    if not all(part and part not in (".", "..") and part.isprintable() for part in parts) or parts[0] == POOL:
        raise ValueError(f"{text!r} must be a plain folder name, or several with / between, the first not `{POOL}`")
    return text


class Evaluation(Strict):
    """How every run is evaluated: options of `python -m eval`."""

    suite: str = Field(description="a suite, or names of targets with commas between")
    also: list[str] = Field([], description=f"beside the suite: {', '.join(STEPS)}, {PERTURB}typo@0.1,...")
    data: list[Place] = Field([], description="folders with test data, or `hub`; default: the study's `source`")
    direct: bool = Field(False, description="by the intermediate heads, without target training")
    examples: Positive | None = Field(None, description="only the first rows of each language")
    layer: int | None = Field(None, ge=0, description="of the sentence vectors")
    pooling: Literal["mean", "mean_no_special", "cls"] = "mean"
    centre: bool = False
    query_prefix: str = Field("", description="'query: ' for E5")
    passage_prefix: str = ""
    set: list[str] = Field([], description="KEY=VALUE: fields of every target run")
    oracle: bool = Field(False, description="evaluate every export, on dev data of the targets too; see the report")
    languages: list[str] = Field([], description="of align (default: all that the data hold) and mlm_loss")
    texts: dict[str, Place] = Field({}, description="of mlm_loss: a file of your own by language, one text a line")

    @model_validator(mode="after")
    def _known(self) -> "Evaluation":
        for step in self.also:
            if step not in STEPS and not step.startswith(PERTURB):
                raise ValueError(f"also: unknown step {step!r}; {nearest(step, (*STEPS, PERTURB))}")
        if "mlm_loss" in self.also and not self.languages and not self.texts:
            raise ValueError("also: mlm_loss needs `languages` or `texts`")
        try:
            targets = resolve_suite(self.suite)[1]
            queries.check(targets, self.perturb, {})
            if "codeswitch" in self.perturb:
                raise InputError("also: codeswitch needs lexicons; use `python -m eval --perturb codeswitch --lexicon`")
        except InputError as error:
            raise ValueError(str(error).removeprefix("--")) from None
        if self.oracle and not any(target.dev for target in targets):
            raise ValueError(f"oracle: no target of {self.suite} has dev data in its languages")
        return self

    @property
    def perturb(self) -> str:
        """The noise of all `perturb:` steps."""
        return ",".join(step.removeprefix(PERTURB) for step in self.also if step.startswith(PERTURB))

    @property
    def noises(self) -> list[str]:
        """The same, each by its name in scores.json."""
        return list(map(str, parse(self.perturb))) if self.perturb else []

    @property
    def targets(self) -> list[str]:
        """Names of the targets of the suite."""
        return [target.name for target in resolve_suite(self.suite)[1]]

    @property
    def trains(self) -> bool:
        """Whether there is target training."""
        return not self.direct and any(target.training for target in resolve_suite(self.suite)[1])


class Comparison(Strict):
    """What is claimed: declared before the first run."""

    primary: list[str] = Field(min_length=1, description="targets, or TARGET:METRIC, whose differences are the answer")
    equivalence: NotNegative = Field(0.5, description="points within which two variants count as the same")
    axis: str = Field("", description="what the variants' `at` counts; the report adds the slope over it")
    adversarial: bool = Field(False, description="show adversarial language pairs beside the rest")


class Published(Strict):
    """A line of a paper, shown beside the result."""

    text: str
    source: str


class Change(Strict, extra="allow"):
    """A variant, or a level of a factor: its own fields; all others are changes of the run config, see `merged`."""

    train: bool = Field(True, description="false: the encoder as it is, without training")
    take: Export = Field(
        "encoder", description="which export is evaluated: of the best dev score, the last step, or `export.average`"
    )
    at: float | None = Field(None, description="where it stands on the axis of the study: a number of tasks, a share")
    group: str = Field("", description="its order, draw, ...: with several, the slope's interval is over these")
    evaluation: dict[str, Any] = Field({}, description="changes of the study's `evaluate`")

    @property
    def config(self) -> dict[str, Any]:
        """The changes of the run config."""
        return dict(self.model_extra or {})


class Before(Strict, extra="allow"):
    """A run before those of the variants, with changes of its run config; `{NAME}` in a path is its run folder."""

    base: Place = Field(description="a run config: a path, or a name in configs/")


class StudyFile(Strict):
    """One study."""

    name: Annotated[str, AfterValidator(_study_name)] = Field(description="of the results' folder below OUT/studies")
    asks: str = Field(min_length=1, description="the question, in one sentence")
    notes: str = Field("", description="what the measures mean, and what the study cannot show")
    base: Place = Field(description="a run config: a path, or a name in configs/")
    common: dict[str, Any] = Field({}, description="changes of the base in all variants")
    before: dict[FolderName, Before] = Field(
        {}, description="runs that are trained first, in this order; with `dynamics` their strata are written"
    )
    source: list[Place] = Field([], description="where training data come from: folders or `hub` (default)")
    against: list[str] = Field([], description="targets whose test rows are left out of the training data")
    baseline: str = Field(description="the variant that the others are compared with")
    variants: dict[FolderName, Change] = Field(min_length=1)
    factors: dict[FolderName, dict[FolderName, Change]] = Field(
        {}, description="factor -> level -> change: every variant at every level; compared with the baseline there"
    )
    hold: Hold | None = Field(None, description="what is the same in all trained variants, see studies/hold.py")
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(min_length=1)
    evaluate: Evaluation
    compare: Comparison
    published: list[Published] = Field([], description="what papers say about it")

    @model_validator(mode="after")
    def _consistent(self) -> "StudyFile":
        if self.baseline not in self.variants:
            raise ValueError(f"baseline: no variant {self.baseline!r}; {nearest(self.baseline, self.variants)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one is given twice")
        for name in self.against:
            if name not in TARGETS:
                raise ValueError(f"against: no target {name!r}; {nearest(name, TARGETS)}")
        for name in self.compare.primary:
            target, _, metric = name.partition(":")
            if target not in self.evaluate.targets:
                known = nearest(name, self.evaluate.targets)
                raise ValueError(f"compare.primary: suite {self.evaluate.suite} has no target {name!r}; {known}")
            if metric and metric not in (names := metric_names(TARGETS[target])):
                raise ValueError(f"compare.primary: {target} has no metric {metric!r}; {nearest(metric, names)}")
        return self


@dataclass(frozen=True)
class Variant:
    """A variant at one level of every factor. `name`: VARIANT, or VARIANT/LEVEL; `baseline`: the one to compare with.

    config: its run config before `hold` has set the steps; trained: whether there is a run to train at all; own_length:
    whether the variant itself gives steps or epochs; at, group, take: see `Change`; levels: factor -> level; against:
    targets whose test rows are left out of target training, in order, none where there is no target training.
    """

    name: str
    baseline: str
    config: RunConfig
    trained: bool
    evaluation: Evaluation
    take: Export = "encoder"
    own_length: bool = False
    at: float | None = None
    group: str = ""
    levels: dict[str, str] = field(default_factory=dict)
    against: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """A study file, checked.

    sha256: of its bytes, or of those of it and its base; before: the run configs of `StudyFile.before`.
    """

    path: Path
    sha256: str
    file: StudyFile
    variants: dict[str, Variant]
    before: dict[str, RunConfig] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def primaries(self) -> list[str]:
        """Targets, or TARGET:METRIC, whose comparisons are the answer."""
        return self.file.compare.primary

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """(variant, its baseline) of all that are compared."""
        return [(v.name, v.baseline) for v in self.variants.values() if v.name != v.baseline]

    def scored(self, variant: Variant, primary: str) -> bool:
        """Whether a variant can have it: an encoder as it is has no intermediate head to predict by."""
        target = TARGETS[primary.partition(":")[0]]
        headless = variant.evaluation.direct and not variant.trained
        return not (headless and target.training and not target.retrieval)

    @property
    def declared(self) -> list[tuple[str, str, str]]:
        """(variant, its baseline, primary) of all comparisons that are the answer, whether run or not."""
        both = ((self.variants[b], self.variants[a]) for b, a in self.comparisons)
        every = itertools.product(both, self.primaries)
        return [(b.name, a.name, name) for (b, a), name in every if self.scored(b, name) and self.scored(a, name)]


def read(name: str) -> Study:
    """The study `name`: a path, or the name of a file of configs/studies. `InputError` names file, field, variant.

    A file with `base_study` has the fields of that study where it gives none of its own.
    """
    path = run_config.find_file("study", name, FOLDER)
    values, sha256 = run_config.read_json(path), file_sha256(path)
    if "base_study" in values:
        if "name" not in values:
            raise InputError(f"{path}: with `base_study` give a `name` of its own: the results of two studies go there")
        other_path = run_config.find_file("study", str(values.pop("base_study")), FOLDER)
        values, sha256 = {**run_config.read_json(other_path), **values}, json_sha256([file_sha256(other_path), sha256])
    try:
        file = StudyFile.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error)}") from None
    base = run_config.read_json(run_config.find_config(file.base))
    variants = {}
    for variant, *levels in itertools.product(file.variants, *file.factors.values()):
        with _named(path, f"variant {'/'.join([variant, *levels])}"):
            made = _variant(file, base, variant, dict(zip(file.factors, levels, strict=True)))
            variants[made.name] = made
    before = {}
    for name, change in file.before.items():
        with _named(path, f"before.{name}"):
            values = run_config.read_json(run_config.find_config(change.base))
            before[name] = RunConfig.model_validate(merged(values, dict(change.model_extra or {})))
    return Study(path, sha256, file, variants, before)


@contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    """Errors say in which part of the file they are."""
    try:
        yield
    except ValidationError as error:
        raise InputError(f"{path}: {what}: {explain(error)}") from None
    except InputError as error:
        raise InputError(f"{path}: {what}: {error}") from None


def _variant(file: StudyFile, base: dict[str, Any], variant: str, levels: dict[str, str]) -> Variant:
    own = file.variants[variant]
    changes = [*(file.factors[factor][level] for factor, level in levels.items()), own]
    values, evaluation = merged(base, file.common), file.evaluate.model_dump()
    for change in changes:
        values, evaluation = merged(values, change.config), merged(evaluation, change.evaluation)
    config, checked = RunConfig.model_validate(values), Evaluation.model_validate(evaluation)
    trained = all(change.train for change in changes)
    if checked.targets != file.evaluate.targets:
        raise InputError("`evaluation` may not change the suite")
    if not trained and not isinstance(config.encoder, str):
        raise InputError("`train` false: an encoder with random weights cannot be evaluated as it is")
    return Variant(
        name="/".join([variant, *levels.values()]),
        baseline="/".join([file.baseline, *levels.values()]),
        config=config,
        trained=trained,
        evaluation=checked,
        take=own.take,
        own_length=not {"steps", "epochs"}.isdisjoint(own.config),
        at=next((change.at for change in reversed(changes) if change.at is not None), None),
        group=next((change.group for change in reversed(changes) if change.group), ""),
        levels=levels,
        against=tuple(sorted(file.against)) if checked.trains else (),
    )


def merged(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`values` with a change: nested keys are merged, `tasks+` and `tasks-` change a list, anything else is replaced.

    merged({"steps": 100, "optimizer": {"lr": 1e-5, "warmup": 0.1}, "tasks": ["mnli"]},
           {"epochs": 2, "optimizer": {"lr": 2e-5}, "tasks+": ["qqp"], "tasks-": ["mnli"]})
    {"epochs": 2, "optimizer": {"lr": 2e-5, "warmup": 0.1}, "tasks": ["qqp"]}

    Neither is altered. `InputError` for what `KEY-` does not find, or no list.
    """
    result = dict(values)
    for key, value in change.items():
        name, sign = (key[:-1], key[-1]) if key[-1:] in ("+", "-") else (key, "")
        old = result.get(name)
        if not sign:
            if value is not None:
                result.pop(EXCLUSIVE.get(key, ""), None)
            result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        elif not isinstance(value, list) or not isinstance(old, list):
            raise InputError(f"`{key}`: both `{name}` and what is to change in it must be lists")
        elif sign == "+":
            result[name] = [*old, *value]
        else:
            there = [_name(item) for item in old]
            if absent := [item for item in value if item not in there]:
                raise InputError(f"`{key}`: there is no {absent[0]!r} in {', '.join(map(str, there))}")
            result[name] = [item for item in old if _name(item) not in value]
    return result


def _name(item: Any) -> Any:
    return item.get("name") or item.get("task") if isinstance(item, dict) else item
