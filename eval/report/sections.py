"""The report as sections of sentences, tables and plots, in reading order; the pages only set them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from eval.metrics.aggregate import TO_ENGLISH, TO_OTHER
from eval.report import alignment, compare, plots, tables
from eval.report.compare import Value, View
from eval.report.inputs import Entry
from eval.report.plots import Plot
from eval.report.tables import Table
from eval.suites import Target

_TOGETHER = ("f1", "em", TO_OTHER, TO_ENGLISH, "accuracy")  # figures that stand in one cell of a table by language
RETRIEVAL = ("translation", "mining", "answers", "entities")  # kinds of targets that get a heat map


@dataclass(frozen=True)
class Pair:
    """Two plots side by side where there is room."""

    left: Plot
    right: Plot


@dataclass(frozen=True)
class Folded:
    """What only some readers want."""

    title: str
    blocks: Sequence[Table | Plot]


@dataclass
class Section:
    title: str
    blocks: list[str | Table | Plot | Pair | Folded] = field(default_factory=list)

    def plots(self) -> list[Plot]:
        return [block for block in self._flat() if isinstance(block, Plot)]

    def tables(self) -> list[Table]:
        return [block for block in self._flat() if isinstance(block, Table)]

    def _flat(self) -> list[str | Table | Plot]:
        flat: list[str | Table | Plot] = []
        for block in self.blocks:
            if isinstance(block, Pair):
                flat += [block.left, block.right]
            elif isinstance(block, Folded):
                flat += block.blocks
            else:
                flat.append(block)
        return flat


def intro(entries: Sequence[Entry]) -> str:
    """How the figures are to be read."""
    text = (
        "All scores are percentages. A target's score is the unweighted mean over its languages; what is trained on a"
        " target is trained on English only. Question answering shows F1 / EM and enters averages as (F1 + EM) / 2."
        " Chance is one guess among all candidates, or always the commonest label; other figures have none."
    )
    if len(entries) > 1:
        text += (
            f" The baseline is {entries[0].name}; signed figures are differences from it, taken before rounding and"
            " over the same languages."
        )
    if any(len(entry.runs) > 1 for entry in entries):
        text += (
            " Runs that differ only in their seed are one row: mean ± half of the 95 % interval of the mean (Student's"
            " t). A difference smaller than the intervals around it says nothing."
        )
    return text


def build(entries: Sequence[Entry], views: Sequence[View]) -> list[Section]:
    """All sections; every target of the views that any entry has gets one of its own."""
    sections = []
    for view in views:
        blocks = [tables.main_table(entries, view), tables.group_table(entries, view)]
        sections.append(Section(view[0], [block for block in blocks if block is not None]))
    scored = [target for target in compare.everywhere(views) if compare.records(entries, target.name)]
    sections += _families(entries, scored)
    sections += _retrieval(entries, scored)
    sections += _alignment(entries)
    sections += [_target(entries, target) for target in scored]
    sections.append(Section("Runs and languages", [tables.runs_table(entries), tables.languages_table(entries)]))
    return sections


def _families(entries: Sequence[Entry], scored: Sequence[Target]) -> list[Section]:
    """Means by family and by script over all targets; nothing where no target has a language besides English."""
    both = [target for target in scored if not any(compare.not_run(entry, target.name) for entry in entries)]
    if not both:
        return []
    said = (
        f"Mean over targets ({', '.join(target.name for target in both)}) of the mean over the languages of a family or"
        " script, English left out. Families have different targets, so compare runs within a row, not rows."
    )
    left_out = [target.name for target in scored if target not in both]
    if left_out:
        said += f" Not in it, because not all runs have them: {', '.join(left_out)}."
    classes = {kind: compare.by_class(entries, both, kind) for kind in ("family", "script")}
    if not classes["family"]:
        return []
    drawn = [
        plots.lying_bars(f"all_{kind}", f"By {kind}, mean over targets", entries, {k: v for k, (v, _) in some.items()})
        for kind, some in classes.items()
    ]
    folded = Folded("The same as tables", [tables.class_table(entries, some, k) for k, some in classes.items()])
    return [Section("By family and script", [said, Pair(drawn[0], drawn[1]), folded])]


def _retrieval(entries: Sequence[Entry], scored: Sequence[Target]) -> list[Section]:
    """Heat maps, runs x languages, of the targets that are retrieved or mined."""
    blocks: list[str | Table | Plot | Pair | Folded] = []
    for target in scored:
        if target.kind in RETRIEVAL:
            rows = compare.by_language(entries, target.name)
            values = [
                [value.mean if isinstance(value := column[i], Value) else None for column in rows.values()]
                for i in range(len(entries))
            ]
            first = compare.records(entries, target.name)[0]
            metric = compare.title(first, compare.headline(first))
            caption = f"{target.name}: {metric} by language, in percent (×: no figure)"
            names = [entry.name for entry in entries]
            blocks.append(plots.heat(f"{target.name}_heat", caption, names, list(rows), values, (0.0, 100.0), ".0f"))
    return [Section("Retrieval", blocks)] if blocks else []


def _alignment(entries: Sequence[Entry]) -> list[Section]:
    """Heat maps and means by layer of the entries that have an align.json; nothing for scores that lie nowhere yet."""
    if any(run.folder is None for entry in entries for run in entry.runs):
        return []
    there = [entry for entry in entries if alignment.aligned(entry)]
    absent = [entry.name for entry in entries if not alignment.aligned(entry)]
    said = "No run has alignment scores."
    if there:
        said = (
            "How close the vectors of translations are, layer by layer (0: the embeddings), each language with English."
            f" The last column of a table is the same score over wrong pairs, by {there[0].name}. All depend on n, the"
            " number of pairs."
        )
    if absent:
        said += f" Not there for {', '.join(absent)}: python -m eval align writes align.json beside the scores."
    section = Section("Alignment by layer", [said])
    for measure in alignment.MEASURES if there else ():
        parts: list[Table | Plot] = [*alignment.heat_maps(there, measure), alignment.table(there, measure)]
        section.blocks += parts if measure is alignment.MEASURES[0] else [Folded(measure.title, parts)]
    return [section]


def _target(entries: Sequence[Entry], target: Target) -> Section:
    found = compare.records(entries, target.name)
    first = compare.headline(found[0])
    section = Section(target.name)
    rows = compare.by_language(entries, target.name)
    chance = found[0]["chance"]
    caption = f"{target.name}: {compare.title(found[0], first)} by language"
    section.blocks.append(plots.bars(target.name, caption, entries, rows, chance))
    # The pairs that belong together stand in one cell, other figures in a table of their own.
    figures = list(found[0]["scores"])
    main = [name for name in _TOGETHER if name in figures] or [first]
    section.blocks.append(tables.language_table(entries, target.name, main))
    section.blocks += tables.extra_tables(entries, target.name)
    classes = {kind: compare.by_class(entries, [target], kind) for kind in ("family", "script")}
    if len(classes["family"]) > 1:
        drawn = [
            plots.lying_bars(
                f"{target.name}_{kind}", f"{target.name} by {kind}, without English", entries,
                {name: values for name, (values, _) in some.items()},
            )
            for kind, some in classes.items()
        ]  # fmt: skip
        section.blocks.append(Pair(drawn[0], drawn[1]))
    others = [name for name in figures if name not in main]
    if others:
        section.blocks.append(Folded("More figures", [tables.language_table(entries, target.name, others)]))
    section.blocks.append(Folded("Protocol", [tables.protocol_table(entries, target.name)]))
    return section
