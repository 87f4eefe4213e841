"""Robustness curves: each variant's score over the rate of noise in the queries, from none on."""

from eval.report.compare import label
from eval.report.differences import spoken
from eval.report.perturbed import FALLS, NO_DROP, drop_of, falls_of, noises
from eval.report.plots import lines
from eval.report.sections import Section
from eval.report.tables import Table, number, row
from studies.report.results import Results


def section(results: Results) -> Section:
    """For each target, kind of noise and metric a curve and a table; no blocks where nothing was scored with noise."""
    section = Section("Noise in the queries")
    for target in results.targets:
        # The folders of a run may hold the noise of other studies as well.
        asked = {name: results.study.variants[name].evaluation.noises for name in results.entries}
        found = {
            name: [(noise, metric) for noise, metric in noises(entry.runs, target) if noise in asked[name]]
            for name, entry in results.entries.items()
        }
        every = dict.fromkeys(key for some in found.values() for key in some)
        for kind, metric in dict.fromkeys((noise.partition("@")[0], metric) for noise, metric in every):
            same = [noise for noise, m in every if m == metric and noise.partition("@")[0] == kind]
            rates = dict(sorted((float(noise.partition("@")[2] or 1), noise) for noise in same))
            caption = f"{target}, {label(metric)}: score by share of units with noise ({kind})"
            columns = (*(number(rate, 2) for rate in rates), "relative drop at the last, %", "95 % crossed", *FALLS)
            table, curves = Table(caption, row("variant", "clean", *columns)), {}
            for name, entry in results.entries.items():
                there = {rate: noise for rate, noise in rates.items() if (noise, metric) in found[name]}
                each = {rate: drop_of(entry.runs, target, noise, metric) for rate, noise in there.items()}
                drops = {rate: one for rate, one in each.items() if one is not None}
                if len(drops) < len(rates):
                    continue
                last = drops[max(drops)]
                curves[name] = {0.0: last.clean, **{rate: one.noisy for rate, one in drops.items()}}
                scores = map(number, (*curves[name].values(), last.drop))
                falls = falls_of(entry.runs, target, rates[max(drops)], metric, last.drop)
                table.rows.append(row(name, *scores, spoken(last.interval), *falls))
            if curves:
                section.blocks += [lines(f"{target}_{kind}_{metric.replace('->', '_')}", caption, curves), table]
            if left := [name for name, some in asked.items() if set(some) & set(same) and name not in curves]:
                section.blocks.append(f"{caption}: left out {', '.join(left)}: not all of it scored, or {NO_DROP}.")
    return section
