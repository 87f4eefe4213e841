"""What a study will cost: `python -m studies NAME plan`.

Hours come from runs of the same encoder in the pool, where there are any: their tokens per second, and the seconds of
their evaluations. Else from the cost model of docs/scaling.md for one H100: 6 FLOPs per parameter of the blocks and
token at a model FLOPs utilisation of 0.53 of 793 TFLOP/s, without evaluation.
"""

import json
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.table import table
from mtl.run.memory_estimate import GIB, parameters
from mtl.run.setup import Setup
from studies.hold import tokens_per_step
from studies.report.results import gather
from studies.resolve import Resolved
from studies.runs import Run
from studies.study import POOL, Study

H100 = 0.53 * 793e12  # FLOP/s, measured on one (bench/README.md)


def render(study: Study, made: Resolved, out: Path) -> str:
    """The plan of a study as text."""
    speeds, evaluations = _measured(out / "studies" / POOL)
    lines = [["", "variant", "seed", "state", "steps", "million tokens", "hours", "run folder"]]
    hours, unknown = 0.0, 0
    counted: set[object] = set()  # identities, of which each is trained once, and keys
    models: set[str] = set()
    for about, run in _runs(made):
        setup = made.setups.get(run.variant.name) if run.identity and run.variant.trained else None
        tokens = tokens_per_step(setup.plan) * setup.plan.steps if setup else None
        speed = statistics.median(speeds.get(json.dumps(run.config.model_dump(mode="json")["encoder"])) or [0.0])
        training = None if run.variant.trained or not run.identity else 0.0
        if setup and tokens is not None:
            training = tokens / speed if speed else 6 * _in_blocks(setup) * tokens / H100
            models.add("tokens per second of earlier runs" if speed else "the cost model for one H100")
        evaluation = statistics.median(evaluations or [0.0]) * (run.measured and run.key not in counted)
        if training is None:
            unknown += run.key not in counted
        else:
            training *= run.identity not in counted
            hours += (training * (not run.trained) + evaluation * bool(run.steps)) / 3600
        counted |= {run.identity, run.key}
        spent = "" if training is None else f"{(training + evaluation) / 3600:.2f}"
        lines.append([*about, _steps(run), "" if tokens is None else f"{tokens / 1e6:,.1f}", spent, run.folder.name])
    summary = _summary(study, made, hours, unknown, models, evaluations)
    return "\n".join([table(lines, right=(0, 2, 4, 5, 6)), "", *summary])


def status(made: Resolved) -> str:
    """The state of every run, as text."""
    lines = [["", "variant", "seed", "state", "step", "run folder", ""]]
    for about, run in _runs(made):
        lines.append([*about, f"{run.step} of {_steps(run)}" if run.step else "", run.folder.name, run.failure])
    return table(lines, right=(0, 2))


def _runs(made: Resolved) -> Iterator[tuple[list[str], Run]]:
    """Every run, and its number, variant, seed and state as text."""
    for number, run in enumerate([*made.before, *made.runs], 1 - len(made.before)):
        which = [str(number), run.variant.name, str(run.seed)] if number > 0 else ["before", run.variant.name, ""]
        yield [*which, _state(run, made)], run


def _state(run: Run, made: Resolved) -> str:
    waits = any(f"{{{one.variant.name}}}" in run.config.model_dump_json() for one in made.before)
    return run.state if run.identity else "waiting" if waits else "to be prepared"


def _summary(
    study: Study, made: Resolved, hours: float, unknown: int, models: set[str], evaluations: Sequence[float]
) -> list[str]:
    distinct = {run.key: run for run in made.runs}
    states = Counter(_state(run, made) for run in distinct.values())
    lines = [
        f"{len(made.runs)} runs, {len(distinct)} of them different: "
        + ", ".join(f"{count} {state if state != 'done' else 'done, used again'}" for state, count in states.items()),
        f"hold {study.file.hold}; primary: {', '.join(study.primaries)}; baseline {study.file.baseline}",
    ]
    how = f", by {' and '.join(sorted(models))}" if models else ""
    counted = "with" if evaluations else "without"
    known = f"{'at least ' * bool(unknown)}{hours:.2f} hours on the hardware of one run, {counted} evaluation{how}"
    lines.append(f"left to do: {known if hours or not unknown else 'unknown'}")
    if unknown:
        lines.append(f"not counted: {unknown} runs whose data are to be prepared, or that wait for a run before them")
    primary = (one.found.of for one in gather(study, made.runs).compared if one.primary)
    planned = len(study.file.seeds)
    known = "unknown, until two variants have two seeds with scores"
    if visible := max(((one.visible_with(planned), one.seeds) for one in primary if one.seeds > 1), default=None):
        known = f"{visible[0]:.1f} points with {planned} seeds, by the variances of the {visible[1]} that are done"
    lines.append(f"smallest difference it could see: {known}")
    every = {run.identity or run.key: run.variant.name for run in (*made.before, *made.runs)}
    if sizes := [_bytes(made.setups[name]) for name in every.values() if name in made.setups]:
        kept, training = sum(kept for kept, _ in sizes), max(training for _, training in sizes)
        lines.append(f"disk: {kept / GIB:.2f} GiB, and {training / GIB:.2f} GiB of checkpoints while a run trains")
    return lines


def _steps(run: Run) -> str:
    if not run.variant.trained:
        return "0"
    return f"{run.config.steps:,}" if run.config.steps else f"{run.config.epochs:g} epochs"


def _in_blocks(setup: Setup) -> int:
    return parameters(setup)[0] - setup.vocabulary.trained * setup.source.hidden_size


def _bytes(setup: Setup) -> tuple[float, float]:
    """(bytes that a finished run keeps, those of its checkpoints while it trains)."""
    encoder, heads = parameters(setup)
    whole = encoder + heads + (setup.vocabulary.rows - setup.vocabulary.trained) * setup.source.hidden_size
    exports = 2 + (setup.run.export.average is not None)
    return 4.0 * whole * exports, 16.0 * (encoder + heads) * (setup.run.checkpoint.keep + 2)


def _measured(pool: Path) -> tuple[dict[str, list[float]], list[float]]:
    """(encoder, as JSON -> tokens per second of each run in the pool, seconds of each evaluation)."""
    speeds: dict[str, list[float]] = {}
    for path in pool.glob("*/metrics.jsonl"):
        config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if '"all"' in line]
        values = [line["tokens_per_second"] for line in found if line["kind"] == "train"]
        speeds.setdefault(json.dumps(config["encoder"]), []).extend(values[-1:])
    seconds = []
    for path in pool.glob("*/eval-*/scores.json"):
        targets = json.loads(path.read_text(encoding="utf-8"))["targets"]
        seconds.append(sum(one["seconds"] for one in targets.values()))
    return speeds, seconds
