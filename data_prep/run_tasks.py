"""The tasks of a run config: entries of the table by name, and a user's own."""

from dataclasses import replace
from pathlib import Path

from common import run_config
from common.config_fields import nearest
from common.errors import InputError
from common.run_config import RunConfig, TaskEntry
from data_prep.datasets import TASKS
from data_prep.datasets.schema import Task
from data_prep.sources.licence import TRANSLATION_FILE
from tasks.registry import TASK_TYPES


def load(name: str, overrides: list[str] | None = None) -> tuple[RunConfig, list[Task]]:
    """The run config `name` (see `common.run_config.load`) and its tasks; `InputError` names the file."""
    config = run_config.load(name, overrides)
    try:
        return config, resolve(config)
    except InputError as error:
        raise InputError(f"{run_config.find_config(name)}: {error}") from None


def resolve(config: RunConfig) -> list[Task]:
    """The tasks of a run, in the order of the config; `InputError` for an incomplete or contradictory entry."""
    return [_resolve(entry) for entry in config.tasks]


def _resolve(entry: TaskEntry) -> Task:
    if entry.called is None:
        raise InputError("tasks: an entry has a `task` (one of the table) or a `name` (your own)")
    task = _own(entry, str(entry.name)) if entry.task is None else _known(entry, entry.task)
    for field in ("pooling", "temperature", "hybrid"):
        if getattr(entry, field) is not None and task.kind != "pair":
            raise InputError(f"tasks: {task.name}: `{field}` is for tasks of kind pair, and this one is of {task.kind}")
    if entry.hybrid is not None and len(set(task.codes)) < 2:
        raise InputError(f"tasks: {task.name}: `hybrid` needs two `languages` or more")
    return task


def _known(entry: TaskEntry, name: str) -> Task:
    if name not in TASKS:
        raise InputError(f"tasks: unknown task {name!r}; {nearest(name, TASKS)}")
    for field in ("kind", "labels", "metric"):
        if getattr(entry, field) is not None:
            raise InputError(f"tasks: {name}: `{field}` is fixed by the table; use `name` for your own task")
    known = TASKS[name]
    if entry.name is not None:
        _check_name(entry.name)
        known = replace(known, name=entry.name)
    if entry.language is not None or entry.languages is not None:
        return _in_languages(known, entry)
    if entry.train is None and entry.dev is None:
        return known
    if len(known.datasets) > 1:
        raise InputError(f"tasks: {name}: it is made of {', '.join(known.datasets)}; give no own files")
    if entry.train is None or entry.dev is None:
        raise InputError(f"tasks: {name}: give both `train` and `dev`, or neither")
    return replace(known, files={known.datasets[0]: (entry.train, entry.dev)})


def _in_languages(task: Task, entry: TaskEntry) -> Task:
    """`task` with the datasets in the languages of its entry."""
    known, files = task.by_language, {}
    if entry.translated is not None:
        # Written last, so the rows beside it are complete.
        found = sorted(path.parent for path in Path(entry.translated, str(entry.task)).glob(f"*/{TRANSLATION_FILE}"))
        names = {folder.name: f"{entry.task}.{folder.name}-translated" for folder in found}
        files = {names[folder.name]: (str(folder / "train.jsonl"), str(folder / "dev.jsonl")) for folder in found}
        known = {task.language: task.datasets, **{code: (name,) for code, name in names.items()}}
    codes = [entry.language] if entry.language is not None else known if entry.languages == "all" else entry.languages
    missing = [str(code) for code in codes or () if code not in known]
    if missing:
        below = f" in {Path(entry.translated, str(entry.task))}/" if entry.translated is not None else ""
        what = f"{', '.join(missing)}{below}; there: {' '.join(known)}"
        raise InputError(f"tasks: {entry.task}: no training data in {what}")
    if entry.train is not None or entry.dev is not None:
        raise InputError(f"tasks: {entry.task}: own files have no languages; give no `train` and `dev`")
    pairs = [(str(code), dataset) for code in codes or () for dataset in known[str(code)]]
    datasets, languages = tuple(name for _, name in pairs), tuple(code for code, _ in pairs)
    return replace(task, datasets=datasets, codes=languages, files=files)


def _check_name(name: str) -> None:
    if name in TASKS:
        raise InputError(f"tasks: {name!r} is a task of the table; choose another name for your own")
    if not name.replace("_", "").replace("-", "").isalnum() or len(name.encode()) > 100:
        raise InputError(f"tasks: name {name!r}: letters, digits, - and _ only, at most 100 bytes (it names folders)")


def _own(entry: TaskEntry, name: str) -> Task:
    _check_name(name)
    missing = [field for field in ("kind", "train", "dev") if getattr(entry, field) is None]
    if missing:
        raise InputError(f"tasks: {name}: an own task needs {', '.join('`' + m + '`' for m in missing)}")
    kind = str(entry.kind)
    if kind not in TASK_TYPES:
        raise InputError(f"tasks: {name}: unknown kind {kind!r}; known: {', '.join(TASK_TYPES)}")
    task_type = TASK_TYPES[kind]
    if entry.labels and (len(set(entry.labels)) < len(entry.labels) or not all(map(str.strip, entry.labels))):
        raise InputError(f"tasks: {name}: `labels` must be different and not empty")
    if task_type.labels == "required" and not entry.labels:
        raise InputError(f"tasks: {name}: a `{kind}` task needs `labels`, the label names in id order")
    if task_type.labels == "none" and entry.labels:
        raise InputError(f"tasks: {name}: kind `{kind}` has no labels")
    metric = entry.metric or task_type.metrics[0]
    if metric not in task_type.metrics:
        known = ", ".join(task_type.metrics)
        raise InputError(f"tasks: {name}: metric {metric!r} is not one of {known} (kind {kind})")
    labels = tuple(entry.labels) if entry.labels else None
    paths = (str(entry.train), str(entry.dev))
    task = Task(name, kind, metric, (name,), labels, entry.language or "en", files={name: paths})
    return task if entry.languages is None else _own_languages(task, entry, paths)


def _own_languages(task: Task, entry: TaskEntry, paths: tuple[str, str]) -> Task:
    """`task` with files of each language, whose code stands for `{language}` in their names."""
    if entry.languages == "all" or not all("{language}" in path for path in paths):
        raise InputError(
            f"tasks: {task.name}: `languages` of your own files: name them, and write {{language}} for the code in the "
            "paths of `train` and `dev`"
        )
    files = {}
    for code in entry.languages or ():
        _check_name(f"{task.name}-{code}")
        train, dev = (path.replace("{language}", code) for path in paths)
        if entry.hybrid is not None and "{" in train:
            raise InputError(
                f"tasks: {task.name}: `hybrid` needs rows whose query and passage are of one language, with a `group`; "
                f"{train} is text in two languages"
            )
        files[f"{task.name}.{code}"] = (train, dev)
    return replace(task, datasets=tuple(files), codes=tuple(entry.languages or ()), files=files)
