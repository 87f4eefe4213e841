"""The scores of one or more encoders as report.md, report.html (self-contained), plots, and a table for the terminal.

    write(scores, Path("runs/demo/eval"))

`scores` are the objects of scores.json; the first encoder is the one that differences are taken from.
"""

import base64
import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.targets import OFFICIAL, resolve_suite

Scores = dict[str, Any]
_COLOURS = ("#8c96a3", "#1f6fb2", "#d9822b", "#3a9d5d", "#a04fa5", "#c0392b")
_LABELS = {"f1": "F1", "em": "EM", "accuracy": "accuracy", "en->xx": "en→xx", "xx->en": "xx→en", "map@20": "mAP@20"}


def write(scores: Sequence[Scores], folder: Path) -> list[Path]:
    """Writes report.md, report.html and plots/TARGET.png into `folder`; returns the paths of the two reports."""
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, Path] = {}
    for target in _targets(scores):
        plots[target] = folder / "plots" / f"{target}.png"
        plots[target].parent.mkdir(exist_ok=True)
        _plot(scores, target, plots[target])
    sections = _sections(scores)
    markdown, page = folder / "report.md", folder / "report.html"
    markdown.write_text(_markdown(sections, plots, folder), encoding="utf-8")
    page.write_text(_html(sections, plots), encoding="utf-8")
    return [markdown, page]


def terminal_table(scores: Sequence[Scores]) -> str:
    """The overview as plain text with aligned columns, what was not run below it."""
    header, *rows = _overview(scores)
    table = [header, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in [*lines, *_notes(scores)])


# Tables: lists of rows of strings, the first row is the header


def _targets(scores: Sequence[Scores]) -> list[str]:
    """Targets of the suite that any encoder has; scores.json may hold others, of earlier calls."""
    _, targets = resolve_suite(scores[0]["suite"])
    return [target.name for target in targets if any(target.name in s["targets"] for s in scores)]


def _overview(scores: Sequence[Scores]) -> list[list[str]]:
    rows = [["target", "metric", *_columns(scores), "chance", "languages"]]
    for target in _targets(scores):
        records = [s["targets"].get(target) for s in scores]
        record = next(r for r in records if r)
        values = [_over_shared(records, r) for r in records]
        count, missing = len(record["languages"]), len(record["missing_languages"])
        rows.append(
            [
                target,
                _LABELS[record["metric"]] + (" en→xx" if "en->xx" in record["scores"] else ""),
                *_cells(values),
                _number(record["chance"]),
                f"{count} of {count + missing}" if missing else str(count),
            ]
        )
        for key in record["scores"]:
            if key not in ("en->xx", record["metric"]):
                values = [r["scores"][key] if r else None for r in records]
                rows.append(["", _LABELS[key], *_cells(values), "", ""])
        if any(r and "score_without_english" in r for r in records):
            values = [r.get("score_without_english") if r else None for r in records]
            rows.append(["", f"{_LABELS[record['metric']]} without en", *_cells(values), "", ""])
    if any(s["average"]["score"] is not None for s in scores):
        rows.append([f"average {scores[0]['suite']}", "", *_cells([s["average"]["score"] for s in scores]), "", ""])
    return rows


def _over_shared(records: Sequence[Any], record: Any) -> float | None:
    """Mean over the languages that all encoders have, so that a difference never compares other sets."""
    if record is None:
        return None
    shared = set.intersection(*(set(r["languages"]) for r in records if r))
    return sum(record["languages"][code] for code in shared) / len(shared) if shared else None


def _by_language(scores: Sequence[Scores], target: str) -> list[list[str]]:
    """Language x encoder, with every figure that the target has."""
    records = [s["targets"].get(target) for s in scores]
    record = next(r for r in records if r)
    keys = list(record["scores"])
    header = ["language", "n"]
    for key in keys:
        header += [f"{column} {_LABELS[key]}" if len(keys) > 1 else column for column in _columns(scores)]
    rows = [[*header, "chance"]]
    for code in sorted({code for r in records if r for code in r["languages"]}):
        details = [r["details"].get(code) if r else None for r in records]
        one = next(d for d in details if d)
        cells = [cell for key in keys for cell in _cells([d[key] if d else None for d in details])]
        rows.append([code, str(one["n"]), *cells, _number(one.get("chance"))])
    means = [cell for key in keys for cell in _cells([r["scores"][key] if r else None for r in records])]
    rows.append(["mean", "", *means, _number(record["chance"])])
    return rows


def _columns(scores: Sequence[Scores]) -> list[str]:
    names = names_of(scores)
    return [names[0]] + [column for name in names[1:] for column in (name, "Δ")]


def names_of(scores: Sequence[Scores]) -> list[str]:
    """Short names of the encoders; the whole path where two are the same."""
    names = [str(s["name"]) for s in scores]
    return [name if names.count(name) == 1 else str(s["encoder"]) for name, s in zip(names, scores, strict=True)]


def _cells(values: Sequence[float | None]) -> list[str]:
    """The first value, then each further one with its difference from the first."""
    first = values[0]
    cells = [_number(first)]
    for value in values[1:]:
        cells += [_number(value), "–" if value is None or first is None else f"{round(value - first, 1) + 0.0:+.1f}"]
    return cells


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.1f}"


def _notes(scores: Sequence[Scores]) -> list[str]:
    """What was not run and why (the encoders are named where it does not hold for all), and what is incomplete."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, one in zip(names_of(scores), scores, strict=True):
        for target, reason in one["not_run"].items():
            reasons.setdefault((target, reason), []).append(name)
    grouped: dict[tuple[str, str], list[str]] = {}
    for (target, reason), names in reasons.items():
        whom = "" if len(names) == len(scores) else f" for {', '.join(names)}"
        grouped.setdefault((whom, reason), []).append(target)
    lines = [f"not run{whom}: {', '.join(targets)} ({reason})" for (whom, reason), targets in grouped.items()]
    for target in _targets(scores):
        missing = next(s["targets"][target] for s in scores if target in s["targets"])["missing_languages"]
        if missing:
            lines.append(f"{target}: no data for {' '.join(missing)}; its score is over the other languages only")
    one = scores[0]
    if one["suite"] in OFFICIAL and all(s["average"]["score"] is None for s in scores):
        lines.append(f"no average for {one['suite']}: it is taken over all of its targets with all of their languages")
    return lines


def _protocol(scores: Sequence[Scores], target: str) -> list[list[str]]:
    """What was done, one line per setting; encoders that differ stand side by side."""
    protocols = [s["targets"][target]["protocol"] for s in scores if target in s["targets"]]
    rows = [["setting", "value"]]
    for key in protocols[0]:
        values = list(dict.fromkeys(str(p.get(key)) for p in protocols))
        rows.append([key.replace("_", " "), " | ".join(values)])
    cut: dict[str, int] = {}
    for one in scores:
        for reason, count in one["targets"].get(target, {}).get("truncated", {}).items():
            cut[reason] = max(count, cut.get(reason, 0))
    if cut:
        rows.append(["truncated", ", ".join(f"{count} ({reason})" for reason, count in cut.items())])
    return rows


def _sections(scores: Sequence[Scores]) -> dict[str, Any]:
    encoders = [["name", "encoder", "weights (sha256)"]]
    encoders += [[n, str(s["encoder"]), s["fingerprint"][:12]] for n, s in zip(names_of(scores), scores, strict=True)]
    return {
        "encoders": encoders,
        "overview": _overview(scores),
        "notes": _notes(scores),
        "targets": {t: (_by_language(scores, t), _protocol(scores, t)) for t in _targets(scores)},
    }


# Pages


def _intro() -> str:
    return (
        "Scores are percentages, means over languages without weights. Δ is the difference from the first encoder; "
        "chance is 1/n for retrieval and the commonest label for classification."
    )


def _markdown(sections: dict[str, Any], plots: dict[str, Path], folder: Path) -> str:
    parts = ["# Zero-shot scores", _intro(), _pipes(sections["overview"])]
    if sections["notes"]:
        parts.append("\n".join(f"- {line}" for line in sections["notes"]))
    for target, (table, protocol) in sections["targets"].items():
        picture = plots[target].relative_to(folder).as_posix()
        parts += [f"## {target}", f"![{target} by language]({picture})", _pipes(table), "Protocol:", _pipes(protocol)]
    parts += ["## Encoders", _pipes(sections["encoders"])]
    return "\n\n".join(parts) + "\n"


def _pipes(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("---:" if i > 1 else "---" for i in range(len(rows[0]))) + "|")
    return "\n".join(lines)


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2530;max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2.5rem;border-top:1px solid #dde2e8;padding-top:1.2rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;margin:.8rem 0;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;border-bottom:1px solid #e6eaee;text-align:right;white-space:nowrap}
th{border-bottom:2px solid #b8c1cb}td:first-child,th:first-child{text-align:left}
table.text td,table.text th{text-align:left;white-space:normal}tr.mean td{font-weight:600;border-top:2px solid #b8c1cb}
tr.sub td{color:#5b6673}.up{color:#1e7d3c}.down{color:#b3261e}img{max-width:100%;height:auto}
.note{color:#5b6673}details summary{cursor:pointer;color:#1f6fb2}
"""


def _html(sections: dict[str, Any], plots: dict[str, Path]) -> str:
    parts = ["<h1>Zero-shot scores</h1>", f'<p class="note">{html.escape(_intro())}</p>', _table(sections["overview"])]
    if sections["notes"]:
        parts.append(
            "<ul class=note>" + "".join(f"<li>{html.escape(line)}</li>" for line in sections["notes"]) + "</ul>"
        )
    for target, (table, protocol) in sections["targets"].items():
        picture = base64.b64encode(plots[target].read_bytes()).decode()
        parts += [
            f"<h2>{html.escape(target)}</h2>",
            f'<img alt="{html.escape(target)} by language" src="data:image/png;base64,{picture}">',
            _table(table),
            f"<details><summary>Protocol</summary>{_table(protocol, 'text')}</details>",
        ]
    parts += ["<h2>Encoders</h2>", _table(sections["encoders"], "text")]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
    body = "\n".join(parts)
    head += f"<title>Zero-shot scores</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>\n{body}\n</body></html>\n"


def _table(rows: list[list[str]], kind: str = "") -> str:
    header = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    lines = [f"<tr>{header}</tr>"]
    for row in rows[1:]:
        style = "mean" if row[0] == "mean" or row[0].startswith("average") else "sub" if not row[0] else ""
        cells = "".join(f"<td{_sign(cell) if not kind else ''}>{html.escape(cell.strip())}</td>" for cell in row)
        lines.append(f'<tr class="{style}">{cells}</tr>')
    return f'<div class=scroll><table class="{kind}">{"".join(lines)}</table></div>'


def _sign(cell: str) -> str:
    return ' class="up"' if cell.startswith("+") and cell != "+0.0" else ' class="down"' if cell.startswith("-") else ""


# Plots


def _plot(scores: Sequence[Scores], target: str, path: Path) -> None:
    """Grouped bars: one group per language, one bar per encoder; chance as a dashed line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = [
        (n, s["targets"][target]) for n, s in zip(names_of(scores), scores, strict=True) if target in s["targets"]
    ]
    codes = sorted({code for _, record in records for code in record["languages"]})
    metric = records[0][1]["metric"]
    slot = 0.32 + 0.09 * len(records)  # inches per language
    figure = Figure(figsize=(min(14.0, max(5.5, 1.6 + slot * len(codes))), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / len(records)
    top = 0.0
    for number, (name, record) in enumerate(records):
        at = [i - 0.4 + width * (number + 0.5) for i in range(len(codes))]
        values = [record["languages"].get(code, float("nan")) for code in codes]
        top = max([top, *record["languages"].values()])
        colour = _COLOURS[number % len(_COLOURS)] if len(records) > 1 else _COLOURS[1]
        axes.bar(at, values, width * 0.92, color=colour, label=f"{name} (mean {record['score']:.1f})", zorder=2)
    chance = records[0][1]["chance"]
    if chance is not None:
        axes.axhline(
            chance, color="#444444", linewidth=1, linestyle=(0, (4, 3)), zorder=3, label=f"chance ({chance:.1f})"
        )
    axes.set_xticks(range(len(codes)), codes)
    axes.set_xlim(-0.6, len(codes) - 0.4)
    axes.set_ylim(0, min(100.0, max(5.0, (chance or 0.0) * 1.3, top * 1.15)))
    axes.set_ylabel(f"{_LABELS[metric]} (%)")
    what = _LABELS[metric] + (" en→xx" if "en->xx" in records[0][1]["scores"] else "")
    axes.set_title(f"{target}: {what} by language", loc="left", fontsize=11)
    axes.grid(axis="y", color="#e3e7eb", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", length=0)
    handles, labels = axes.get_legend_handles_labels()
    last = sorted(range(len(labels)), key=lambda i: labels[i].startswith("chance ("))
    handles, labels = [handles[i] for i in last], [labels[i] for i in last]
    # One line if the names fit, else one below the other, and the figure grows with them.
    line = sum(0.6 + 0.08 * len(label) for label in labels) < figure.get_figwidth()
    figure.set_figheight(3.6 if line else 3.4 + 0.2 * len(labels))
    columns = len(labels) if line else 1
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
