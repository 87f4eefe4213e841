"""The tables of a study's page that the report of runs has not: robustness, settings, what was not run, provenance."""

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.languages import language
from common.run_config import read_json
from eval.metrics.aggregate import interval
from eval.mlm_loss import NAME
from eval.report.alignment import MEASURES, measured
from eval.report.compare import Value, headline
from eval.report.differences import estimate_cells, outcomes_of, spoken
from eval.report.load import FILE
from eval.report.load import Run as Scored
from eval.report.statistics import Scores, estimate, of_items
from eval.report.tables import Cell, Table, number, row, run_notes, signed
from eval.suites import TARGETS, resolve_suite
from studies.report.results import Results
from studies.runs import SUITE, Run
from studies.study import EXCLUSIVE, Study

_ORACLE = (
    "mean of the export that is best by dev data of each language, out of encoder/, encoder_last/ and encoder_mean/: in"
    " no comparison, since who transfers has no such data"
)
_LOW = "low alignment"
_MEXA = next(measure for measure in MEASURES if measure.key == "mexa")
_REGRESSION = (
    "chosen by the baseline's alignment of Tatoeba's sentences: on Tatoeba a baseline that was unlucky there gains by"
    " being measured again"
)
Part = tuple[str, str, Sequence[str]]  # (name, metric, languages)
_OF_A_RUN = ("name", "output", "seed", "notes")  # fields of a run config that are no setting
_OF_ANY = ("train", "take", "encoder", "evaluation")  # settings that an encoder that is not trained has too


def difference_table(results: Results) -> Table:
    """Every variant against its baseline, by target; p of primary targets is Holm's."""
    columns = ("difference", "95 % crossed", "95 % Student", "seeds", "could have seen", "verdict", "p")
    table = Table("Differences in points", row("variant", "baseline", "target", *columns), style="long")
    for one in results.compared:
        note = (table.note("primary; p is adjusted for all primary comparisons (Holm)"),) if one.primary else ()
        p = f"{one.found.of.p:.3f}" if one.found.of.p >= 0.001 else "< 0.001"
        cells = estimate_cells(table, one.found, one.margin)
        table.rows.append(row(Cell((one.b,), notes=note), one.a, one.target, *cells, p))
    return table


def robustness_table(results: Results, target: str) -> Table:
    """Over languages without English, of each one's mean over seeds; the oracle's mean where there is any."""
    records = {name: variant["targets"].get(target, {"languages": {}}) for name, variant in results.variants.items()}
    best = {name: one["oracle"] for name, one in records.items() if "oracle" in one}
    columns = ["mean", "worst", "10th percentile", "spread (sd)", *["oracle"] * bool(best)]
    table = Table(f"{target}: over languages without English", row("variant", *columns))
    for name, record in records.items():
        if languages := {code: score for code, score in record["languages"].items() if code != "en"}:
            values = np.array(list(languages.values()))
            worst = min(languages, key=lambda code: languages[code])
            spread = number(values.std(ddof=1)) if len(values) > 1 else "one language"
            tenth = number(float(np.percentile(values, 10)))
            cells = row(name, number(values.mean()), f"{number(values.min())} ({worst})", tenth, spread)
            if best:
                known = [best[name][code] for code in languages] if name in best else []
                note = table.note(_ORACLE if known else "not trained, or not evaluated so")
                cells.append(Cell((number(statistics.fmean(known)) if known else "none",), notes=(note,)))
            table.rows.append(cells)
    for text in run_notes([run for entry in results.entries.values() for run in entry.runs], TARGETS[target]):
        table.note(text)
    return table


def pools_table(results: Results, target: str) -> Table:
    """mAP within the question's language, in one other and in all, rank distance: means over languages and seeds."""
    metrics = {"map_mono": "monolingual", "map_cross": "cross-lingual", "map_multi": "multilingual"}
    caption = f"{target}: mAP in percent by the languages that are searched, and rank distance"
    table = Table(caption, row("variant", *metrics.values(), "rank distance"))
    for name, entry in results.entries.items():
        records = [run.targets[target] for run in entry.runs if target in run.targets]
        details = [one for record in records for one in record["details"].values()]
        if details and all(metric in one for metric in metrics for one in details):
            cells = [number(statistics.fmean(one[metric] for one in details)) for metric in metrics]
            places = [record["rank_distance"] for record in records if "rank_distance" in record]
            notes = [table.note(text) for one in records if (text := one.get("rank_distance_over"))]
            distance = number(statistics.fmean(places)) if places else "none"
            table.rows.append(row(name, *cells, Cell((distance,), notes=tuple(notes[:1]))))
    return table


def settings_table(results: Results) -> Table:
    """Settings of the resolved configs in which a variant differs from its baseline, and whether the file says so.

    A nested setting is named by its path. What is not the factor changes with it: steps that `hold` computes, say.
    Where one of the two is not trained, settings of the training are left out.
    """
    study = results.study
    runs = {run.variant.name: run for run in reversed(results.runs)}
    header = row("variant", "setting", "baseline", "variant", "in the study file")
    table = Table("Settings that differ from the baseline", header, style="texts")
    for b, a in study.comparisons:
        first, second = (_flat(runs[name]) for name in (a, b))
        declared, trained = _declared(study, b) | _declared(study, a), all(study.variants[v].trained for v in (a, b))
        for key in sorted(first.keys() | second.keys()):
            if first.get(key) != second.get(key) and (trained or key.partition(".")[0] in _OF_ANY):
                own = "yes" if any(f"{key}.".startswith(f"{path}.") for path in declared) else "no: beyond the factor"
                table.rows.append(row(b, key, _said(first.get(key)), _said(second.get(key)), own))
    return table


def _flat(run: Run) -> dict[str, Any]:
    config = run.config.model_dump(mode="json", exclude=set(_OF_A_RUN))
    evaluation = run.variant.evaluation.model_dump(mode="json")
    tasks = [entry.model_dump(mode="json", exclude_defaults=True) for entry in run.config.tasks]
    more = {"tasks": tasks, "train": run.variant.trained, "take": run.variant.take, "evaluation": evaluation}
    found: dict[str, Any] = pd.json_normalize({**config, **more}).to_dict("records")[0]
    return found


def _declared(study: Study, name: str) -> set[str]:
    """Paths of the settings that the file changes in a variant or in its levels, or takes out by giving others."""
    variant = study.variants[name]
    changes = [study.file.variants[name.partition("/")[0]]]
    changes += [study.file.factors[factor][level] for factor, level in variant.levels.items()]
    given = [pd.json_normalize(change.model_dump(exclude_unset=True)) for change in changes]
    paths = {str(path).rstrip("+-") for one in given for path in one}
    return paths | {p.removesuffix(key) + other for key, other in EXCLUSIVE.items() for p in paths if p.endswith(key)}


def _said(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def not_run_table(results: Results) -> Table:
    """Runs without scores and their state, and targets and other steps that a run's evaluation lacks."""
    table = Table("Not run", row("variant", "what", "why", "seeds"), style="texts")
    seeds: dict[tuple[str, str, str], list[str]] = {}
    asked = [target.name for target in resolve_suite(results.study.file.evaluate.suite)[1]]
    for run in results.runs:
        why = run.failure or run.state
        reasons = {"the run": why}
        if run.evaluated:
            scores = read_json(run.evaluation / FILE)
            reasons = {name: why for name in [*asked, *run.steps] if name not in scores["targets"] and name != SUITE}
            reasons |= scores["not_run"]
        for what, why in reasons.items():
            seeds.setdefault((run.variant.name, what, why), []).append(str(run.seed))
    table.rows = [row(*key, ", ".join(some)) for key, some in seeds.items()]
    return table


def provenance_table(results: Results) -> Table:
    """Code that trained and that scored every run; `-dirty`: with changes that are in no commit."""
    table = Table("Runs", row("variant", "seed", "state", "trained by", "scored by", "run"), style="texts")
    versions: dict[str, set[str]] = {"trained": set(), "scored": set()}
    for run in results.runs:
        cells = []
        for what, path in (("trained", run.folder / "run.json"), ("scored", run.evaluation / FILE)):
            code = _commits(path) if run.identity and path.is_file() else set()
            dirty = any("-dirty" in one for one in code)
            notes = (table.note(f"{what} by code with changes that are in no commit"),) if dirty else ()
            cells.append(Cell((", ".join(sorted(code)) or f"not {what}",), notes=notes))
            versions[what] |= code
        where = str(run.folder) if run.identity else "none"
        table.rows.append(row(run.variant.name, str(run.seed), run.state, *cells, where))
    for what, codes in versions.items():
        if len(codes) > 1:
            table.note(f"the runs were {what} by {len(codes)} versions of the code: compare with care")
    return table


def _commits(path: Path) -> set[str]:
    """What run.json, or every target of scores.json, says."""
    found = read_json(path)
    return {str(one.get("commit") or "unknown") for one in found.get("targets", {"": found}).values()}


def forgetting_table(results: Results) -> Table | None:
    """What variants forgot of the languages: the MLM loss before and after training (`"also": ["mlm_loss"]`).

    Rows: languages; columns: variants, an encoder that is not trained first, from which the others differ.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for run in results.runs:
        path = run.evaluation / NAME
        if run.identity and path.is_file():
            found.setdefault(run.variant.name, []).append(read_json(path)["encoders"][0])
    if not found:
        return None
    about = results.study.variants
    names = sorted(found, key=lambda name: (about[name].trained, about[name].baseline != name))
    caption = f"MLM loss in nats a masked token, and its difference from {names[0]}; lower is better"
    table = Table(caption, row("language", *names), style="long", decimals=3, low=True)
    codes = sorted(set.intersection(*(set(one["languages"]) for some in found.values() for one in some)))
    for label, some in (*((code, [code]) for code in codes), (f"mean of {len(codes)}", codes)):
        means = [[sum(e["languages"][c]["loss"] for c in some) / len(some) for e in found[name]] for name in names]
        table.rows.append(row(label, *table.cells([Value(**interval(each)) for each in means])))
    table.foot = 1
    for name in names:
        table.note(f"{name}: LM head {', '.join(dict.fromkeys(str(one['head']) for one in found[name]))}")
    return table


def adversarial_table(results: Results) -> Table:
    """Primary targets by their headline metric: each variant against its baseline, on the hard part and on the rest.

    Adversarial language pairs are our name for what should be hard to transfer to:

    - low alignment: the third of the languages with the lowest MEXA in the baseline, mean over layers and seeds;
    - distant: the third that URIEL's syntax puts farthest from English (common/languages.csv);
    - distractors: see `with_distractors` of `eval/metrics/score.py`.
    """
    columns = ("target", "pairs", "baseline", "variant", "difference", "rest: baseline", "variant", "difference")
    header = row("variant", *columns, "languages")
    table = Table("Adversarial language pairs (our name), without English", header, style="long listed")
    for one in (compared for compared in results.compared if compared.primary and ":" not in compared.target):
        runs = one.runs
        codes = [code for code in one.found.languages if code != "en"]
        outcomes = outcomes_of(runs, one.target, codes)
        for hard, rest in _parts(one.target, runs, codes):
            cells = []
            for _, metric, some in (hard, rest):
                scores = of_items(outcomes, metric, some)
                assert scores is not None  # there is a comparison
                cells += _cells(scores)
            table.rows.append(row(one.b, one.target, hard[0], *cells, " ".join(hard[2])))
            if hard[0] == _LOW:
                table.note(_REGRESSION)
    return table


def _parts(target: str, runs: Sequence[Scored], codes: Sequence[str]) -> list[tuple[Part, Part]]:
    records = [run.targets[target] for run in runs]
    metric = headline(records[0])
    found: list[tuple[Part, Part]] = []
    distances = {code: language(code).syntax for code in codes if not math.isnan(language(code).syntax)}
    for name, hardness in ((_LOW, _misalignment(runs[: len(runs) // 2])), ("distant", distances)):
        order = sorted((code for code in codes if code in hardness), key=lambda code: -hardness[code])
        if third := len(order) // 3:
            hard, rest = sorted(order[:third]), sorted(order[third:])
            found.append(((name, metric, hard), ("", metric, rest)))
    if codes and all("distractor_accuracy" in record["details"][code] for record in records for code in codes):
        found.append((("distractors", "distractor_accuracy", codes), ("", "other_accuracy", codes)))
    return found


def _misalignment(baseline: Sequence[Scored]) -> dict[str, float]:
    each = [measured(run.alignment, _MEXA) for run in baseline if run.alignment is not None]
    means = pd.concat(each).groupby("language").mean().dropna() if each else {}
    return {str(code): -float(mean) for code, mean in means.items()}


def _cells(scores: Scores) -> list[str]:
    """Means of both over seeds, and their difference with its interval."""
    a, b = np.split(np.arange(len(scores.values)), 2)
    found = estimate(scores, list(a), list(b))
    said = f"{signed(found.difference)} {spoken(found.interval)}"
    return [number(float(scores.values[a].mean())), number(float(scores.values[b].mean())), said]
