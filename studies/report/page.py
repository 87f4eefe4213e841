"""The page of a study, set by eval/report's template: a sentence per question first, then what it rests on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

import eval.report.render as render
import studies.report.noise as noise
import studies.report.tables as tables
from common import files
from eval.report.alignment import aligned
from eval.report.compare import Comparison
from eval.report.differences import spoken
from eval.report.plots import Plot, forest, heat
from eval.report.sections import Section, alignment
from eval.report.statistics import discoveries
from eval.report.tables import class_table, number, signed, suite_tables
from eval.suites import OFFICIAL, resolve_suite
from studies.report.results import Compared, Results, Slope, gather
from studies.runs import Run
from studies.study import DECLARED, Study

ENOUGH = 5  # seeds of a claim
_ONE_SEED = " One seed: this covers other test items, not run-to-run variation."


def write(study: Study, runs: Sequence[Run], folder: Path) -> list[Path]:
    """Writes report.html, report.md, plots/ and study.json into `folder` and returns the paths of the files."""
    results, declared = gather(study, runs), folder / DECLARED
    folder.mkdir(parents=True, exist_ok=True)
    first = declared.read_text("utf-8") if declared.is_file() else study.sha256
    changed = f"The study file has changed since its first run, when its sha256 was {first[:16]}. "
    files.write_json(folder / "study.json", results.plain())
    intro = (
        f"Study {study.name} ({study.path}, sha256 {study.sha256[:16]}), seeds"
        f" {', '.join(map(str, study.file.seeds))}. {changed * (first != study.sha256)}Scores are percentages, means"
        " over languages; differences are in points, with the 95 % interval for another seed and other test items."
        " Selected by dev in English, or in a task's own languages if these lack English. Tables by suite, family and"
        " script have half of Student's 95 % interval over seeds (±), and differences from the first variant."
    )
    pages = render.write(folder, study.file.asks, intro, sections(results))
    return [*pages, folder / "study.json"]


def sections(results: Results) -> list[Section]:
    """All sections, in reading order."""
    study, primary = results.study, [one for one in results.compared if one.primary]
    answer = Section("Answer", [*map(sentence, primary)])
    if not primary:
        answer.blocks.append("No primary target has been scored, with its items, for a variant and its baseline yet.")
    elif min(one.found.of.seeds for one in primary) < ENOUGH:
        answer.blocks.append(f"Fewer than {ENOUGH} seeds: a lead, not a claim.")
    known = {(one.b, one.a, one.target) for one in results.compared}
    if absent := [f"{b} - {a} on {name}" for b, a, name in study.declared if (b, a, name) not in known]:
        answer.blocks.append(f"No comparison yet, or no seed, language or items in common: {', '.join(absent)}.")
    answer.blocks += [slope_sentence(one, study.file.compare.axis) for one in results.slopes]
    answer.blocks += [f"Published: {line.text} ({line.source})" for line in study.file.published]
    answer.blocks += [study.file.notes] if study.file.notes else []
    answer.blocks += [_forest(primary)] if primary else []
    found, comparisons = [answer], list(_by_baseline(results))
    view = resolve_suite(study.file.evaluate.suite)
    for one in comparisons if view[0] in OFFICIAL else ():
        found.append(Section(f"{view[0]}, against {one.entries[0].name}", [*suite_tables(one, view)]))
    if results.compared:
        found.append(Section("All comparisons", [tables.difference_table(results)]))
        found.append(Section("By language", list(_heat_maps(results))))
    pools = [tables.pools_table(results, target) for target in results.targets]
    found.append(Section("Within and across languages", [table for table in pools if table.rows]))
    found += [_groups(results, one) for one in comparisons]
    robust = [tables.robustness_table(results, target) for target in results.targets]
    found.append(Section("Robustness", [table for table in robust if table.rows]))
    found.append(noise.section(results))
    not_run, settings = tables.not_run_table(results), tables.settings_table(results)
    if study.file.compare.adversarial and (pairs := tables.adversarial_table(results)).rows:
        found.append(Section("Adversarial language pairs", [pairs]))
    if (forgotten := tables.forgetting_table(results)) is not None:
        found.append(Section("Forgetting", [forgotten]))
    found.append(Section("Not run", [not_run if not_run.rows else "Every run has scores of every target."]))
    found.append(Section("Settings", [settings if settings.rows else "No setting of the configs differs."]))
    return [*[section for section in found if section.blocks], Section("Runs", [tables.provenance_table(results)])]


def sentence(one: Compared) -> str:
    """mlm_25 - english on tatoeba: +0.4 [-0.6, +1.5], 3 seeds, 36 languages: not distinguishable; could have ..."""
    of, count = one.found.of, len(one.found.languages)
    text = f"{one.b} - {one.a} on {one.target}: {signed(of.difference)}"
    sizes = f"{of.seeds} seed{'s' * (of.seeds > 1)}, {count} language{'s' * (count > 1)}"
    verdict = one.verdict.replace("indistinguishable", "not distinguishable")
    text += f" {spoken(of.interval)}, {sizes}: {verdict}; could have seen {number(of.visible)}."
    return text + _ONE_SEED * (of.seeds == 1)


def slope_sentence(one: Slope, axis: str) -> str:
    """Such as "Slope over steps on tatoeba: +0.41 points [-0.62, +1.53], 3 seeds."."""
    at, of = f" at {one.levels}" if one.levels else "", one.found
    text = f"Slope over {axis} on {one.target}{at}"
    if of is None:
        return f"{text}: none, until all variants on the axis have a seed, languages and items of it in common."
    text += f": {signed(of.difference, 2)} points {spoken(of.interval, 2)}"
    return f"{text}, {one.over}.{_ONE_SEED * (of.seeds == 1)}"


def _forest(primary: Sequence[Compared]) -> Plot:
    found = {f"{one.b} - {one.a}, {one.target}": one.found.of for one in primary}
    rows, margin = {name: (of.difference, *of.interval) for name, of in found.items()}, primary[0].margin
    caption = f"Primary targets: difference and 95 % interval; shaded: ± {margin:g}, equivalent"
    return forest("primaries", caption, rows, margin)


def _heat_maps(results: Results) -> Sequence[Plot]:
    """Variants x languages of each target: scores, and differences, coloured where they are discoveries."""
    plots = []
    for target in results.targets:
        scores = {
            name: v["targets"][target]["languages"] for name, v in results.variants.items() if target in v["targets"]
        }
        grid = pd.DataFrame.from_dict(scores, orient="index").sort_index(axis=1)
        caption = f"{target}: score by language, mean over seeds"
        plots.append(heat(f"{target}_scores", caption, grid, (0.0, 100.0), ".1f"))
        some = {f"{one.b} - {one.a}": one.found for one in results.compared if one.target == target}
        rows = {name: {c: e.difference for c, e in found.languages.items()} for name, found in some.items()}
        ps = {name: {c: e.p for c, e in found.languages.items()} for name, found in some.items()}
        values, p = (pd.DataFrame.from_dict(one, orient="index").sort_index(axis=1) for one in (rows, ps))
        if values.size:
            most = max(0.1, float(values.abs().max(axis=None)))
            caption = f"{target}: difference by language; coloured: false discovery rate of 5 % (Benjamini-Hochberg)"
            marked = discoveries(p.to_numpy(dtype=float))
            plots.append(
                heat(f"{target}_differences", caption, values.round(1) + 0.0, (-most, most), "+.1f", marked=marked)
            )
    return plots


def _by_baseline(results: Results) -> Iterator[Comparison]:
    """Those that have scores: each baseline first, and after it the variants that are compared with it."""
    of = {name: results.study.variants[name].baseline for name in results.entries}
    for baseline in [name for name in dict.fromkeys(of.values()) if name in of]:
        names = sorted((name for name in of if of[name] == baseline), key=lambda name: name != baseline)
        yield Comparison([results.entries[name] for name in names], everything=True)


def _groups(results: Results, comparison: Comparison) -> Section:
    """The primary targets by family and script, a baseline first."""
    primary = [
        target
        for target in comparison.scored
        if target.name in results.study.primaries
        and not any(comparison.not_run(e, target.name) for e in comparison.entries)
    ]
    names = ", ".join(target.name for target in primary)
    section = Section(f"By family and script ({names}), against {comparison.entries[0].name}")
    for kind in ("family", "script"):
        if classes := comparison.by_class(primary, kind):
            section.blocks.append(class_table(comparison, classes, kind))
    if any(map(aligned, comparison.entries)):
        section.blocks.append(Section("Alignment by layer", alignment(comparison).blocks))
    return section
