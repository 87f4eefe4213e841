"""The tables of a report, as rows of cells that the pages, TensorBoard and the tests read alike.

    table = main_table(entries, ("xtreme", targets))
    table.rows[1][3].text()       # "76.1 / 60.3 (+1.2 / +0.4)"

The first cell of a row is its head. No cell is empty: what is lacking is named in the cell and explained in a note.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.metrics import aggregate
from eval.official import GROUPS
from eval.report import compare
from eval.report.compare import Lacking, Value, View
from eval.report.families import language
from eval.report.inputs import Entry
from eval.suites import OFFICIAL, Target


@dataclass(frozen=True)
class Cell:
    """`values`: figures, or one text; `halves` of their intervals and `deltas` from the baseline, or (); `notes`:

    numbers of the table's notes; `title`: what an abbreviation means; `prose`: a text of many words.
    """

    values: tuple[str, ...]
    halves: tuple[str, ...] = ()
    deltas: tuple[str, ...] = ()
    notes: tuple[int, ...] = ()
    title: str = ""
    prose: bool = False

    def text(self) -> str:
        halves = self.halves or ("",) * len(self.values)
        text = " / ".join(f"{v} ± {h}" if h else v for v, h in zip(self.values, halves, strict=True))
        if self.deltas:
            text += f" ({' / '.join(self.deltas)})"
        return text + "".join(f" [{number}]" for number in self.notes)


@dataclass
class Table:
    """`header` and every row have the same length; `spans`: (label, columns) of a row above the header, if any;

    `texts`: cells hold sentences rather than figures; `long`: so many rows that each should be one line; `foot`:

    how many of the last rows sum the others up; `places`: of its figures after the point; `low`: lower is better.
    """

    caption: str
    header: list[Cell]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)
    spans: list[tuple[str, int]] = field(default_factory=list)
    texts: bool = False
    long: bool = False
    foot: int = 0
    places: int = 1
    low: bool = False

    def note(self, text: str) -> int:
        """The number of a note, from 1; the same text has one number."""
        if text not in self.notes:
            self.notes.append(text)
        return self.notes.index(text) + 1


def number(value: float, places: int = 1) -> str:
    return f"{round(value, places) + 0.0:.{places}f}"  # never -0.0


def delta(value: float, first: float, places: int = 1) -> str:
    """With its sign; the difference of the exact figures, rounded."""
    return f"{round(value - first, places) + 0.0:+.{places}f}"


def texts(*cells: str) -> list[Cell]:
    return [Cell((cell,)) for cell in cells]


def figures(table: Table, values: Sequence[Value | Lacking], firsts: Sequence[Value | Lacking] | None) -> Cell:
    """One cell of one or several figures; with `firsts`, the baseline's, also the differences."""
    lacking = dict.fromkeys(value for value in values if isinstance(value, str))
    if lacking:
        words = dict.fromkeys(value.split(":")[0].split(" for ")[0] for value in lacking)
        return Cell((", ".join(words),), notes=tuple(table.note(value) for value in lacking))
    there = [value for value in values if isinstance(value, Value)]
    halves = tuple("" if value.half is None else number(value.half, table.places) for value in there)
    deltas: tuple[str, ...] = ()
    if firsts is not None and all(isinstance(first, Value) for first in firsts):
        pairs = [(v, f) for v, f in zip(there, firsts, strict=True) if isinstance(f, Value)]
        deltas = tuple(delta(v.mean, f.mean, table.places) for v, f in pairs)
    shown = tuple(number(value.mean, table.places) for value in there)
    return Cell(shown, halves if any(halves) else (), deltas)


def across(table: Table, columns: Sequence[Sequence[Value | Lacking]]) -> list[Cell]:
    """One row over all entries, without its head: `columns` has each entry's figures, the baseline first."""
    return [figures(table, values, columns[0] if i else None) for i, values in enumerate(columns)]


# The table of the paper


def main_table(entries: Sequence[Entry], view: View) -> Table:
    """Rows: entries; columns: targets, and for an official suite the average. The last row is chance."""
    suite, targets = view
    table = Table(f"{suite}: mean over languages, in percent", texts("run"), [])
    columns: list[list[Cell]] = []
    chances: list[Cell] = []
    for target in targets:
        found = compare.records(entries, target.name)
        if not found:
            table.header.append(Cell((target.name, "no figure")))
            lacking = [compare.not_run(entry, target.name) or "" for entry in entries]
            columns.append([figures(table, [reason], None) for reason in lacking])
            chances.append(Cell(("none",)))
            continue
        asked = compare.wanted(target, suite, found)
        codes = compare.shared(found, asked)
        names = compare.in_cell(found[0])
        metric = " / ".join(compare.title(found[0], name) for name in names)
        notes = [table.note(text) for text in column_notes(entries, target, asked, codes)]
        table.header.append(Cell((target.name, metric), notes=tuple(notes)))
        values = [[compare.value(entry, target.name, codes, name) for name in names] for entry in entries]
        columns.append(across(table, values))
        chances.append(Cell(("none",)) if found[0]["chance"] is None else Cell((number(_chance(found[0], codes)),)))
    if suite in OFFICIAL:
        table.header.append(Cell(("average",)))
        columns.append(across(table, [[compare.average(entry, view)] for entry in entries]))
        chances.append(Cell(("none",)))
    table.rows = [[head(entry), *(column[i] for column in columns)] for i, entry in enumerate(entries)]
    table.rows.append([Cell(("chance",), title="one guess among n, or always the commonest label"), *chances])
    table.foot = 1
    if suite in GROUPS:
        groups = {name: group for group, members in GROUPS[suite].items() for name in members}
        table.spans = [("", 1)]
        for target in targets:
            label = groups[target.name]
            if table.spans[-1][0] == label:
                table.spans[-1] = (label, table.spans[-1][1] + 1)
            else:
                table.spans.append((label, 1))
        table.spans.append(("", 1))
    return table


def head(entry: Entry) -> Cell:
    """The name of an entry, at the head of its row or column."""
    names = ", ".join(str(run.scores["name"]) for run in entry.runs)
    return Cell((entry.name,), title=names if len(entry.runs) > 1 else str(entry.runs[0].scores["encoder"]))


def _chance(record: dict[str, Any], codes: Sequence[str]) -> float:
    there = [record["details"][code]["chance"] for code in codes]
    return sum(there) / len(there) if there else float(record["chance"])


def column_notes(entries: Sequence[Entry], target: Target, asked: Sequence[str], codes: Sequence[str]) -> list[str]:
    """What a reader must know before comparing the figures of a target."""
    notes = []
    found = compare.records(entries, target.name)
    if len(codes) < len(asked):
        lacks: dict[str, list[str]] = {}
        for entry in entries:
            for run in entry.runs:
                if target.name in run.targets:
                    absent = [code for code in asked if code not in run.targets[target.name]["languages"]]
                    lacks.setdefault(" ".join(absent), []).append(str(run.scores["name"]))
        everyone = len(lacks) == 1
        which = "; ".join(
            f"no data for {absent}" + ("" if everyone else f" in {', '.join(names)}")
            for absent, names in lacks.items()
            if absent
        )
        notes.append(f"over {len(codes)} of {len(asked)} languages: {which}")
    limits = {str(record["protocol"]["n"]) for record in found if record["protocol"].get("n", "all") != "all"}
    if limits:
        notes.append(f"{', '.join(sorted(limits))} rows of each language only")
    untrained = [record for record in found if record["protocol"].get("training_on_target") == "none"]
    if untrained:
        some = "" if len(untrained) == len(found) else "some runs "
        notes.append(f"{some}by an intermediate head, without target training")
    notes += dict.fromkeys(sentence for record in found for sentence in record.get("supplied", ()))
    differing = aggregate.differing(found)
    if differing:
        names = ", ".join(key.replace("_", " ") for key in differing)
        notes.append(f"the runs were scored with different settings: {names} (see Protocol)")
    return notes


def group_table(entries: Sequence[Entry], view: View) -> Table | None:
    """Averages of the groups of a suite, None for a suite without groups."""
    suite, _ = view
    if suite not in GROUPS:
        return None
    table = Table(f"{suite}: averages of the groups", texts("run", *GROUPS[suite]), [])
    columns = [across(table, [[compare.average(entry, view, group)] for entry in entries]) for group in GROUPS[suite]]
    table.rows = [[head(entry), *(column[i] for column in columns)] for i, entry in enumerate(entries)]
    return table


# Languages


def language_table(entries: Sequence[Entry], target: str, names: Sequence[str]) -> Table:
    """Rows: languages in alphabetical order, then means; columns: entries, each with the figures `names`."""
    found = compare.records(entries, target)
    metric = " / ".join(compare.title(found[0], name) for name in names)
    table = Table(f"{target}: {metric} by language, in percent", texts("language", "n"), [], long=True)
    has_chance = any(record["chance"] is not None for record in found)
    table.header += [head(entry) for entry in entries] + texts("chance") * has_chance
    everything = sorted({code for record in found for code in record["languages"]})
    for code in everything:
        details = [record["details"][code] for record in found if code in record["details"]]
        sizes = dict.fromkeys(f"{detail['n']:.0f}" for detail in details)
        columns = [[compare.of_language(entry, target, code, name) for name in names] for entry in entries]
        row = [Cell((code,), title=language(code).name), Cell((" | ".join(sizes),)), *across(table, columns)]
        table.rows.append(row + texts(*(number(details[0]["chance"]) for _ in range(has_chance))))
    codes = compare.shared(found, everything)
    table.foot = 1
    table.rows.append(_mean_row(table, entries, target, names, codes, f"mean of {len(codes)}"))
    if "en" in codes and len(codes) > 1:
        foreign = [code for code in codes if code != "en"]
        table.rows.append(_mean_row(table, entries, target, names, foreign, "mean without en"))
        table.foot += 1
    return table


def _mean_row(
    table: Table, entries: Sequence[Entry], target: str, names: Sequence[str], codes: Sequence[str], head: str
) -> list[Cell]:
    columns = [[compare.value(entry, target, codes, name) for name in names] for entry in entries]
    record = compare.records(entries, target)[0]
    chance = [] if record["chance"] is None else texts(number(_chance(record, codes)))
    return [*texts(head, "all"), *across(table, columns), *chance]


def class_table(entries: Sequence[Entry], classes: dict[str, Any], kind: str) -> Table:
    """The figures of the bars by family or script."""
    table = Table(f"By {kind}, in percent", texts(kind), [], long=True)
    table.header += [head(entry) for entry in entries] + [Cell(("languages",), prose=True)]
    for name, (values, codes) in classes.items():
        listed = Cell((" ".join(codes),), prose=True)
        table.rows.append([*texts(name), *across(table, [[value] for value in values]), listed])
    return table


# What was done


def protocol_table(entries: Sequence[Entry], target: str) -> Table:
    """One row per setting; entries that differ stand one after another in it."""
    table = Table(f"{target}: protocol", texts("setting", "value"), [], texts=True)
    found = [(e.name, run, run.targets[target]) for e in entries for run in e.runs if target in run.targets]
    said: dict[str, dict[str, list[str]]] = {}  # setting -> what it is -> by whom
    for name, run, record in found:
        for key, value in _settings_in_words(record["protocol"]):
            whose = str(run.scores["name"]) if key.startswith("selected") else name
            said.setdefault(key, {}).setdefault(value, []).append(whose)
        cut = ", ".join(f"{count} ({reason})" for reason, count in record["truncated"].items()) or "none"
        said.setdefault("truncated", {}).setdefault(cut, []).append(name)
    for key, values in said.items():
        everyone = len(values) == 1 and sum(map(len, values.values())) == len(found)
        each = [v if everyone else f"{', '.join(dict.fromkeys(whose))}: {v}" for v, whose in values.items()]
        table.rows.append(texts(key, "; ".join(each)))
    for passed in dict.fromkeys(note for _, _, record in found for note in record["notes"]):
        table.rows.append(texts("passed over", passed))
    return table


def _settings_in_words(protocol: dict[str, Any]) -> list[tuple[str, str]]:
    """A target's protocol; of its training, stage by stage, first what was set, then the seed and what follows."""
    rows = []
    for key, value in aggregate.settings(protocol).items():
        if key != "training":
            rows.append((key.replace("_", " "), _said(value)))
            continue
        for i, (stage, whole) in enumerate(zip(value, protocol[key], strict=True), start=1):
            which = f" {i}" if len(value) > 1 else ""
            rows.append((f"training{which}", _said(stage)))
            rows.append((f"selected{which}", _said({k: whole[k] for k in aggregate.DRAWN if k in whole})))
    return rows


def _said(value: Any) -> str:
    """A setting in words."""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        pairs = [(key.replace("_", " "), one) for key, one in value.items()]
        return ", ".join(f"{k} ({_said(v)})" if isinstance(v, dict) else f"{k}: {_said(v)}" for k, v in pairs)
    if isinstance(value, list):
        return "; ".join(_said(one) for one in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def extra_tables(entries: Sequence[Entry], target: str) -> list[Table]:
    """LAReQA's rank distance, BUCC's thresholds: what is said once of a target beside its figures."""
    found = [(entry, compare.records([entry], target)) for entry in entries]
    tables = []
    ranked = [(entry, some) for entry, some in found if some and all("rank_distance" in record for record in some)]
    if ranked:
        caption = "Rank distance: places between the first and the last translation of an answer; lower is better"
        table = Table(caption, texts("run", "places", "sentences in the pool"), [], low=True)
        spreads = [[compare.over_seeds([record["rank_distance"] for record in some])] for _, some in ranked]
        pools = [" | ".join(dict.fromkeys(str(record["pool"]) for record in some)) for _, some in ranked]
        comparable = ranked[0][0] == entries[0] and len(set(pools)) == 1
        for i, (entry, _) in enumerate(ranked):
            cell = figures(table, spreads[i], spreads[0] if i and comparable else None)
            table.rows.append([head(entry), cell, Cell((pools[i],))])
        tables.append(table)
    mined = [(entry, record) for entry, some in found for record in some if "threshold" in record]
    if mined:
        codes = sorted({code for _, record in mined for code in record["threshold"]})
        table = Table("Margin from which on a pair is taken", texts("run", "set on", "scored on", *codes), [])
        for entry, record in mined:
            margins = [f"{record['threshold'][c]:.4f}" if c in record["threshold"] else "no data" for c in codes]
            splits = [" | ".join(dict.fromkeys(record[key].values())) for key in ("threshold_from", "scored_on")]
            table.rows.append([head(entry), *texts(*splits, *margins)])
        tables.append(table)
    return tables


def runs_table(entries: Sequence[Entry]) -> Table:
    """Who is who."""
    table = Table("Runs", texts("run", "of", "seed", "encoder", "weights (sha256)"), [], texts=True)
    for entry in entries:
        for run in entry.runs:
            seed = "not from a run" if run.config is None else str(run.config["seed"])
            s = run.scores
            table.rows.append(texts(s["name"], entry.name, seed, s["encoder"], s["fingerprint"][:12]))
    return table


def languages_table(entries: Sequence[Entry]) -> Table:
    """Code, name, family and script of every language of the report."""
    table = Table("Languages", texts("code", "name", "family", "script"), [], texts=True)
    codes = {c for e in entries for run in e.runs for record in run.targets.values() for c in record["languages"]}
    table.rows = [texts(code, *language(code)) for code in sorted(codes)]
    return table
