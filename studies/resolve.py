"""Makes the runs of a study: its configs with the folders and steps that are known by now, and their identities.

made = resolve(study, Path("runs"))
made.before, made.runs        # of `before`, in order; of every variant and seed
made.unprepared               # configs whose data have to be prepared first
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import json_sha256
from common.run_config import RunConfig
from data_prep import run_tasks
from data_prep.storage.store import NotPrepared
from mtl.data.plan import Plan
from mtl.model.weight_files import weight_files
from mtl.run import setup as setups
from mtl.run.setup import Setup
from studies.hold import steps_of
from studies.runs import Run, evaluation_name
from studies.study import POOL, Study, Variant

# Fields that do not change what is learned, or whose content stands in `Setup.identity`.
_IRRELEVANT = {
    "name", "output", "data", "notes", "encoder", "tasks", "seed", "steps", "epochs", "deepspeed", "checkpoint",
    "micro_tokens", "gradient_checkpointing", "log_every", "silence",
}  # fmt: skip
_PATHS = {"train", "dev", "head", "subset"}


@dataclass
class Resolved:
    """Runs without identity wait for the runs before, for data (`unprepared`: title -> config), or for an encoder.

    setups: of the runs whose data are prepared, by the name of their variant.
    """

    before: list[Run] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    setups: dict[str, Setup] = field(default_factory=dict)
    unprepared: dict[str, RunConfig] = field(default_factory=dict)


def resolve(study: Study, out: Path) -> Resolved:
    """The runs as far as they are known; nothing is written. `InputError` for a config that cannot be run."""
    made, pool = Resolved(), out / "studies" / POOL
    folders: dict[str, Path | None] = {}
    opened: dict[str, Setup | None] = {}

    def open_setup(name: str, config: RunConfig | None) -> Setup | None:
        if config is None:
            return None
        key = config.model_dump_json(exclude={"seed"})
        if key not in opened:
            opened[key] = _open(study, name, config)
        if opened[key] is None:
            made.unprepared[name] = config
        return opened[key]

    for name, config in study.before.items():
        known = _substituted(config, folders)
        variant = Variant(name, name, config, True, study.file.evaluate)
        setup = open_setup(name, known)
        run = _run(variant, config.seed, known or config, pool, _identity(setup, config.seed), measured=False)
        made.before.append(run)
        folders[name] = run.folder.resolve() if run.identity and run.trained and not run.steps else None
        made.setups |= {name: setup} if setup else {}

    configs = {variant.name: _substituted(variant.config, folders) for variant in study.variants.values()}
    for name, variant in study.variants.items():
        if variant.trained and (setup := open_setup(name, configs[name])) is not None:
            made.setups[name] = setup
    plans = {name: made.setups[name].plan for name in study.variants if name in made.setups}
    steps = steps_of(study, plans)
    for name, variant in study.variants.items():
        config, setup, count = configs[name] or variant.config, made.setups.get(name), steps.get(name)
        if count is not None:
            config = RunConfig.model_validate({**config.model_dump(), "steps": count, "epochs": None})
            made.setups |= {name: replace(setup, run=config, plan=Plan(config, setup.tasks))} if setup else {}
        known_length = study.file.hold in (None, "epochs") or count is not None
        ready = made.setups.get(name) if known_length else None
        for seed in study.file.seeds:
            untrained = _untrained(variant, seed, config) if not variant.trained and configs[name] is not None else ""
            identity = _identity(ready, seed) if variant.trained else untrained
            made.runs.append(_run(variant, seed, config, pool, identity))
    return made


def _substituted(config: RunConfig, folders: dict[str, Path | None]) -> RunConfig | None:
    """The config with the folders of the runs before in place of `{NAME}`; None if one that it names is not known."""
    text = config.model_dump_json()
    for name, folder in folders.items():
        if f"{{{name}}}" in text:
            if folder is None:
                return None
            text = text.replace(f"{{{name}}}", json.dumps(str(folder))[1:-1])
    return RunConfig.model_validate_json(text)


def _open(study: Study, name: str, config: RunConfig) -> Setup | None:
    try:
        tasks = run_tasks.resolve(config)
        if isinstance(config.encoder, str) and not Path(config.encoder).is_dir() and not weight_files(config.encoder):
            return None  # downloaded with the data
        setup = setups.of_config(config, tasks, f"python -m studies {study.name} run")
    except NotPrepared:
        return None
    except InputError as error:
        raise InputError(f"{study.path}: {name}: {error}") from None
    # Those of another study, with more or fewer rows left out, are prepared again, which is to find them again.
    same = (set(p.manifest.get("against", ())) == set(study.file.against) for t in setup.tasks for p in t.prepared)
    return setup if all(same) else None


def _untrained(variant: Variant, seed: int, config: RunConfig) -> str:
    """The identity of an encoder as it is; without target training all seeds are the same run."""
    weights = setups.encoder_identity(str(config.encoder))["weights"]
    drawn = seed if variant.evaluation.trains else None
    return json_sha256({"untrained": weights, "seed": drawn})[:16] if weights else ""


def _run(variant: Variant, seed: int, config: RunConfig, pool: Path, identity: str, measured: bool = True) -> Run:
    placed = config.model_copy(update={"seed": seed, "name": identity or config.name, "output": str(pool)})
    if not identity:
        return Run(variant, seed, placed, measured=measured)
    folder = pool / identity
    evaluation = folder / evaluation_name(variant)
    return Run(variant, seed, placed, identity, folder, evaluation, measured)


def _identity(setup: Setup | None, seed: int) -> str:
    """16 hex digits of the sha256 of all that the weights of a run depend on; "" while its data are not prepared."""
    if setup is None:
        return ""
    # Without defaults, so that a field that a later version adds changes no identity.
    config = setup.run.model_dump(mode="json", exclude=_IRRELEVANT, exclude_defaults=True)
    if setup.run.export.average:  # of the checkpoints, which are as far apart as that
        config["checkpoint"] = setup.run.checkpoint.every
    entries = [entry.model_dump(mode="json", exclude=_PATHS, exclude_defaults=True) for entry in setup.run.tasks]
    parts: dict[str, Any] = {**setup.identity(), "seed": seed, "config": config, "tasks of config": entries}
    del parts["compile"]  # of this machine, not of the config
    if isinstance(setup.run.encoder, str):
        parts["encoder"] = parts["encoder"]["weights"]
    data = [[info["sha256"] for info in p.manifest["files"].values()] for task in setup.tasks for p in task.prepared]
    return json_sha256([parts, data])[:16]
