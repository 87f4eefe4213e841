"""The report as sections of sentences, tables and plots, in reading order; `render` and `board` only set them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

import eval.report.tables as tables
from eval.metrics.aggregate import TO_ENGLISH, TO_OTHER
from eval.report.alignment import MEASURES, aligned, heat_maps, layer_table
from eval.report.compare import Classes, Comparison, headline, title
from eval.report.differences import Differences, difference_table, not_compared
from eval.report.perturbed import drop_blocks
from eval.report.plots import Plot, bars, heat
from eval.report.tables import Table
from eval.suites import Target

_TOGETHER = ("f1", "em", TO_OTHER, TO_ENGLISH, "accuracy")  # metrics that share the cells of one table by language


@dataclass
class Section:
    """A heading and what stands below it: sentences, tables, plots, and sections that are folded away because only some

    readers want them.
    """

    title: str
    blocks: list["Block"] = field(default_factory=list)

    def content(self) -> Iterator[str | Table | Plot]:
        """The blocks one after another, without folds."""
        for block in self.blocks:
            if isinstance(block, Section):
                yield from block.content()
            else:
                yield block


Block = str | Table | Plot | Section


def build(comparison: Comparison, differences: Mapping[str, Differences]) -> list[Section]:
    """All sections; every target of the views that any entry has gets one of its own. differences: by view."""
    sections = []
    for view in comparison.views:
        sections.append(Section(view[0], [*tables.suite_tables(comparison, view)]))
        if differences[view[0]]:
            sections[-1].blocks.append(difference_table(comparison, view, differences[view[0]]))
        if lacking := not_compared(comparison, view, differences[view[0]]):
            sections[-1].blocks.append(lacking)
    parts = [_classes(comparison), _retrieval(comparison), alignment(comparison)]
    sections += [section for section in parts if section.blocks]
    sections += [_target(comparison, target) for target in comparison.scored]
    return [*sections, Section("Runs", [tables.runs_table(comparison)])]


def _by_class(comparison: Comparison, targets: Sequence[Target]) -> dict[str, Classes]:
    return {kind: comparison.by_class(targets, kind) for kind in ("family", "script")}


def _class_bars(comparison: Comparison, by_class: dict[str, Classes], name: str, caption: str) -> list[Block]:
    labels = [entry.name for entry in comparison.entries]
    plots: list[Block] = []
    for kind, classes in by_class.items():
        rows = {one: values for one, (values, _) in classes.items()}
        plots.append(bars(f"{name}_{kind}", caption.format(kind), labels, rows))
    return plots


def _classes(comparison: Comparison) -> Section:
    """Means by family and by script over all targets; nothing where no target has a language besides English."""
    section = Section("By family and script")
    every = [t for t in comparison.scored if not any(comparison.not_run(e, t.name) for e in comparison.entries)]
    by_class = _by_class(comparison, every)
    if by_class["family"]:
        text = (
            f"Mean over targets ({', '.join(target.name for target in every)}) of the mean over the languages of a"
            " family or script, English left out. Families have different targets, so compare runs within a row, not"
            " rows."
        )
        folded = [tables.class_table(comparison, classes, kind) for kind, classes in by_class.items()]
        drawn = _class_bars(comparison, by_class, "all", "By {}, mean over targets")
        section.blocks += [text, *drawn, Section("The same as tables", list(folded))]
    return section


def _retrieval(comparison: Comparison) -> Section:
    """Heat maps, runs x languages, of the targets that are retrieved or mined."""
    section = Section("Retrieval")
    for target in comparison.scored:
        if target.retrieval:
            record = comparison.records(target.name)[0]
            caption = f"{target.name}: {title(record, headline(record))} by language, in percent (×: no result)"
            rows = comparison.by_language(target.name)
            means = pd.DataFrame({code: [value.mean for value in values] for code, values in rows.items()})
            means.index = pd.Index([entry.name for entry in comparison.entries])
            section.blocks.append(heat(f"{target.name}_heat", caption, means, (0.0, 100.0), ".0f"))
    return section


def alignment(comparison: Comparison) -> Section:
    """Heat maps and means by layer of the entries that have an align.json; nothing where there are none."""
    section = Section("Alignment by layer")
    entries = [entry for entry in comparison.entries if aligned(entry)]
    absent = [entry.name for entry in comparison.entries if not aligned(entry)]
    if not entries:
        return section
    text = (
        "How close the vectors of translations are, layer by layer (0: the embeddings), each language with English."
        f" The last column of a table is the same score over wrong pairs, by {entries[0].name}. All depend on n,"
        " the number of pairs."
    )
    section.blocks.append(f"{text} Not there for {', '.join(absent)}." if absent else text)
    for measure in MEASURES:
        parts: list[Block] = [*heat_maps(entries, measure), layer_table(entries, measure)]
        section.blocks += parts if measure is MEASURES[0] else [Section(measure.title, parts)]
    return section


def _target(comparison: Comparison, target: Target) -> Section:
    name = target.name
    record = comparison.records(name)[0]
    caption = f"{name}: {title(record, headline(record))} by language"
    labels = [entry.name for entry in comparison.entries]
    section = Section(name, [bars(name, caption, labels, comparison.by_language(name), chance=record["chance"])])
    # Pairs of metrics that belong together share cells, the others have a table of their own.
    main = [metric for metric in _TOGETHER if metric in record["scores"]] or [headline(record)]
    section.blocks.append(tables.language_table(comparison, name, main))
    if (distances := tables.rank_distance_table(comparison, name)) is not None:
        section.blocks.append(distances)
    if drops := drop_blocks(comparison, name):
        section.blocks.append(Section("Noise in the queries", [*drops]))
    by_class = _by_class(comparison, [target])
    if len(by_class["family"]) > 1:
        section.blocks += _class_bars(comparison, by_class, name, name + " by {}, without English")
    if others := [metric for metric in record["scores"] if metric not in main]:
        section.blocks.append(Section("More metrics", [tables.language_table(comparison, name, others)]))
    section.blocks.append(Section("Protocol", [tables.protocol_table(comparison, name)]))
    return section
