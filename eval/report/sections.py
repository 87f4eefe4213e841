"""The report as sections of sentences, tables and plots, in reading order; `render` and `board` only set them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from eval.metrics.aggregate import TO_ENGLISH, TO_OTHER
from eval.official import GROUPS
from eval.report.alignment import MEASURES, aligned, heat_maps, layer_table
from eval.report.compare import Comparison, headline, title
from eval.report.plots import Plot, bars, heat
from eval.report.tables import (
    Table,
    class_table,
    group_table,
    language_table,
    languages_table,
    main_table,
    protocol_table,
    rank_distance_table,
    runs_table,
    threshold_table,
)
from eval.suites import Target

_TOGETHER = ("f1", "em", TO_OTHER, TO_ENGLISH, "accuracy")  # figures that share the cells of one table by language
_RETRIEVED = ("translation", "mining", "answers", "entities")  # kinds of targets that get a heat map


@dataclass
class Section:
    """A heading and what stands below it: sentences, tables, plots, pairs of plots that stand side by side where there

    is room, and sections that are folded away because only some readers want them.
    """

    title: str
    blocks: list["Block"] = field(default_factory=list)

    def content(self) -> Iterator[str | Table | Plot]:
        """The blocks one after another, without pairs and folds."""
        for block in self.blocks:
            if isinstance(block, Section):
                yield from block.content()
            elif isinstance(block, tuple):
                yield from block
            else:
                yield block


Block = str | Table | Plot | tuple[Plot, Plot] | Section


def intro(comparison: Comparison) -> str:
    """How the figures are to be read."""
    text = (
        "All scores are percentages. A target's score is the unweighted mean over its languages; what is trained on a"
        " target is trained on English only. Question answering shows F1 / EM and enters averages as (F1 + EM) / 2."
        " Chance is one guess among all candidates, or always the commonest label; other figures have none."
    )
    if len(comparison.entries) > 1:
        text += (
            f" The baseline is {comparison.entries[0].name}; signed figures are differences from it, taken before"
            " rounding and over the same languages."
        )
    if len(comparison.runs) > len(comparison.entries):
        text += (
            " Runs that differ only in their seed are one row: mean ± half of the 95 % interval of the mean (Student's"
            " t). A difference smaller than the intervals around it says nothing."
        )
    return text


def build(comparison: Comparison) -> list[Section]:
    """All sections; every target of the views that any entry has gets one of its own."""
    sections = []
    for view in comparison.views:
        sections.append(Section(view[0], [main_table(comparison, view)]))
        if view[0] in GROUPS:
            sections[-1].blocks.append(group_table(comparison, view))
    parts = [_classes(comparison), _retrieval(comparison), _alignment(comparison)]
    sections += [section for section in parts if section.blocks]
    sections += [_target(comparison, target) for target in comparison.scored]
    return [*sections, Section("Runs and languages", [runs_table(comparison), languages_table(comparison)])]


def _class_bars(
    comparison: Comparison, targets: Sequence[Target], name: str, caption: str
) -> tuple[tuple[Plot, Plot], list[Table]] | None:
    """Bars by family and by script with the same as tables; None where all results are English ones."""
    plots, tables = [], []
    labels = [entry.name for entry in comparison.entries]
    for kind in ("family", "script"):
        classes = comparison.by_class(targets, kind)
        if not classes:
            return None
        rows = {one: values for one, (values, _) in classes.items()}
        plots.append(bars(f"{name}_{kind}", caption.format(kind), labels, rows, upright=False))
        tables.append(class_table(comparison, classes, kind))
    return (plots[0], plots[1]), tables


def _classes(comparison: Comparison) -> Section:
    """Means by family and by script over all targets; nothing where no target has a language besides English."""
    section = Section("By family and script")
    every = [t for t in comparison.scored if not any(comparison.not_run(e, t.name) for e in comparison.entries)]
    drawn = _class_bars(comparison, every, "all", "By {}, mean over targets") if every else None
    if drawn is not None:
        text = (
            f"Mean over targets ({', '.join(target.name for target in every)}) of the mean over the languages of a"
            " family or script, English left out. Families have different targets, so compare runs within a row, not"
            " rows."
        )
        left_out = [target.name for target in comparison.scored if target not in every]
        if left_out:
            text += f" Not in it, because not all runs have them: {', '.join(left_out)}."
        section.blocks += [text, drawn[0], Section("The same as tables", list(drawn[1]))]
    return section


def _retrieval(comparison: Comparison) -> Section:
    """Heat maps, runs x languages, of the targets that are retrieved or mined."""
    section = Section("Retrieval")
    for target in comparison.scored:
        if target.kind in _RETRIEVED:
            record = comparison.records(target.name)[0]
            caption = f"{target.name}: {title(record, headline(record))} by language, in percent (×: no figure)"
            rows = comparison.by_language(target.name)
            means = pd.DataFrame({code: [value.mean for value in values] for code, values in rows.items()})
            means.index = pd.Index([entry.name for entry in comparison.entries])
            section.blocks.append(heat(f"{target.name}_heat", caption, means, (0.0, 100.0), ".0f"))
    return section


def _alignment(comparison: Comparison) -> Section:
    """Heat maps and means by layer of the entries that have an align.json; nothing for scores that lie nowhere yet."""
    section = Section("Alignment by layer")
    if any(run.folder is None for run in comparison.runs):
        return section
    entries = [entry for entry in comparison.entries if aligned(entry)]
    absent = [entry.name for entry in comparison.entries if not aligned(entry)]
    text = "No run has alignment scores."
    if entries:
        text = (
            "How close the vectors of translations are, layer by layer (0: the embeddings), each language with English."
            f" The last column of a table is the same score over wrong pairs, by {entries[0].name}. All depend on n,"
            " the number of pairs."
        )
    if absent:
        text += f" Not there for {', '.join(absent)}: python -m eval align writes align.json beside the scores."
    section.blocks.append(text)
    for measure in MEASURES if entries else ():
        parts: list[Block] = [*heat_maps(entries, measure), layer_table(entries, measure)]
        section.blocks += parts if measure is MEASURES[0] else [Section(measure.title, parts)]
    return section


def _target(comparison: Comparison, target: Target) -> Section:
    name = target.name
    record = comparison.records(name)[0]
    caption = f"{name}: {title(record, headline(record))} by language"
    labels = [entry.name for entry in comparison.entries]
    section = Section(name, [bars(name, caption, labels, comparison.by_language(name), chance=record["chance"])])
    # Pairs of figures that belong together share cells, the others have a table of their own.
    main = [figure for figure in _TOGETHER if figure in record["scores"]] or [headline(record)]
    section.blocks.append(language_table(comparison, name, main))
    extra = [rank_distance_table(comparison, name), threshold_table(comparison, name)]
    section.blocks += [table for table in extra if table is not None]
    if len(comparison.by_class([target], "family")) > 1:
        drawn = _class_bars(comparison, [target], name, name + " by {}, without English")
        section.blocks += [drawn[0]] if drawn is not None else []
    others = [figure for figure in record["scores"] if figure not in main]
    if others:
        section.blocks.append(Section("More figures", [language_table(comparison, name, others)]))
    section.blocks.append(Section("Protocol", [protocol_table(comparison, name)]))
    return section
