"""The figures of a report, recomputed from scores.json by the definitions; what is missing is named."""

import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.languages import ALL
from eval.report import compare, families, tables
from eval.report.inputs import Entry, Run
from eval.report.terminal import overview, terminal_table
from eval.suites import TARGETS, resolve_suite
from tests.support import scores_files

T_975 = {1: 12.7062, 2: 4.3027}  # Student's t by degrees of freedom, from a printed table
QA = ("xquad", "mlqa", "tydiqa")


def entry(*results: dict[str, Any]) -> Entry:
    return Entry(results[0]["name"], tuple(Run(one) for one in results))


def mean(record: dict[str, Any], figure: str) -> float:
    return statistics.fmean(one[figure] for one in record["details"].values())


def headline(target: str) -> list[str]:
    return ["f1", "em"] if target in QA else ["en->xx"] if target == "tatoeba" else [TARGETS[target].metric]


def whole_average(result: dict[str, Any], names: tuple[str, ...]) -> float:
    """Mean over targets of the mean over figures (F1 and EM of QA) of the mean over languages."""
    return statistics.fmean(
        statistics.fmean(mean(result["targets"][name], figure) for figure in headline(name)) for name in names
    )


def columns(table: tables.Table) -> dict[str, int]:
    return {cell.values[0]: i for i, cell in enumerate(table.header)}


@pytest.mark.parametrize("suite", ["xtreme", "xtreme-r"])
def test_table_of_a_suite(suite: str) -> None:
    first, second = (scores_files.scores(f"run{seed}", suite, seed) for seed in (1, 2))
    view = resolve_suite(suite)
    table = tables.main_table([entry(first), entry(second)], view)
    place = columns(table)
    names = tuple(target.name for target in view[1])
    assert [cell.values[0] for cell in table.header] == ["run", *names, "average"]
    assert sum(n for _, n in table.spans) == len(table.header) and not table.notes
    for name in names:
        one, two = ([mean(result["targets"][name], f) for f in headline(name)] for result in (first, second))
        assert table.rows[0][place[name]].text() == " / ".join(f"{v:.1f}" for v in one)
        cell = table.rows[1][place[name]]
        assert cell.values == tuple(f"{v:.1f}" for v in two)
        assert [float(d) for d in cell.deltas] == pytest.approx(
            [b - a for a, b in zip(one, two, strict=True)], abs=0.051
        )
        assert all(d[0] in "+-" for d in cell.deltas)
    averages = [whole_average(result, names) for result in (first, second)]
    assert [row[-1].values for row in table.rows[:2]] == [(f"{v:.1f}",) for v in averages]
    assert float(table.rows[1][-1].deltas[0]) == pytest.approx(averages[1] - averages[0], abs=0.051)
    chance = statistics.fmean(one["chance"] for one in first["targets"]["xnli"]["details"].values())
    assert table.rows[2][place["xnli"]].text() == f"{chance:.1f}" and table.rows[2][place["panx"]].text() == "none"


def test_groups() -> None:
    result = scores_files.scores("a", "xtreme-r", 3)
    table = tables.group_table([entry(result)], resolve_suite("xtreme-r"))
    assert table is not None
    place = columns(table)
    for group, names in (
        ("classification", ("xnli", "xcopa")),
        ("qa", QA),
        ("retrieval", ("tatoeba", "lareqa", "mewslix")),
    ):
        assert table.rows[0][place[group]].text() == f"{whole_average(result, names):.1f}"
    assert tables.group_table([entry(result)], resolve_suite("toy")) is None


@pytest.mark.parametrize("seeds", [(1, 2), (1, 2, 3)])
def test_mean_and_interval_over_seeds(seeds: tuple[int, ...]) -> None:
    base = scores_files.scores("base", "xtreme", 9)
    results = [scores_files.scores(f"s{seed}", "xtreme", seed) for seed in seeds]
    view = resolve_suite("xtreme")
    table = tables.main_table([entry(base), entry(*results)], view)

    def expected(values: list[float]) -> str:
        half = T_975[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
        return f"{statistics.fmean(values):.1f} ± {half:.1f}"

    place = columns(table)
    for name in ("xnli", "bucc", "udpos"):
        (figure,) = headline(name)
        values = [mean(result["targets"][name], figure) for result in results]
        difference = statistics.fmean(values) - mean(base["targets"][name], figure)
        assert table.rows[1][place[name]].text() == f"{expected(values)} ({difference:+.1f})"
    averages = [whole_average(result, tuple(target.name for target in view[1])) for result in results]
    assert table.rows[1][-1].text().startswith(expected(averages) + " (")
    german = [result["targets"]["xnli"]["details"]["de"]["accuracy"] for result in results]
    by_language = tables.language_table([entry(*results)], "xnli", ["accuracy"])
    assert {row[0].values[0]: row[2].text() for row in by_language.rows}["de"] == expected(german)


def test_language_table() -> None:
    first, second = (scores_files.scores(name, "xnli", seed) for name, seed in (("a", 1), ("b", 2)))
    table = tables.language_table([entry(first), entry(second)], "xnli", ["accuracy"])
    codes = [row[0].values[0] for row in table.rows]
    assert codes == [*sorted(first["targets"]["xnli"]["languages"]), "mean of 15", "mean without en"]
    one, two = (result["targets"]["xnli"]["details"] for result in (first, second))
    for row in table.rows[:15]:
        code = row[0].values[0]
        assert row[1].text() == f"{one[code]['n']} | {two[code]['n']}"
        assert row[2].text() == f"{one[code]['accuracy']:.1f}" and row[4].text() == f"{one[code]['chance']:.1f}"
        assert row[3].text() == f"{two[code]['accuracy']:.1f} ({two[code]['accuracy'] - one[code]['accuracy']:+.1f})"
    foreign = statistics.fmean(v["accuracy"] for code, v in two.items() if code != "en")
    assert table.rows[-1][3].values == (f"{foreign:.1f}",)


def test_headline_figures_the_other_way_round() -> None:
    result = scores_files.scores("a", "xtreme", 5)
    each = {t.name: compare.by_language([entry(result)], t.name) for t in resolve_suite("xtreme")[1]}
    assert all(list(rows) == sorted(rows) for rows in each.values())
    assert {name for name, rows in each.items() if "th" in rows} == {"xnli", "udpos", "panx", "xquad", "tatoeba"}
    (thai,) = each["xquad"]["th"]
    assert thai == compare.Value(result["targets"]["xquad"]["details"]["th"]["f1"], None, 1)


def test_what_is_missing_is_named() -> None:
    whole = scores_files.scores("whole", "xtreme", 1)
    lacks = {t.name: t.of_suite("xtreme") for t in resolve_suite("xtreme")[1] if t.name not in ("bucc", "mlqa")}
    lacks["udpos"] = tuple(code for code in lacks["udpos"] if code not in ("kk", "yo"))
    part = scores_files.scores("part", "xtreme", 2, lacks, {"bucc": "no data of BUCC in DIR"})
    view = resolve_suite("xtreme")
    table = tables.main_table([entry(whole), entry(part)], view)
    place = columns(table)

    def notes(cell: tables.Cell) -> str:
        return " ".join(table.notes[number - 1] for number in cell.notes)

    row = table.rows[1]
    assert row[place["bucc"]].values == ("not run",) and notes(row[place["bucc"]]) == "not run: no data of BUCC in DIR"
    assert "not finished yet" in notes(row[place["mlqa"]])
    assert notes(row[-1]) == "no average: mlqa, bucc not run; udpos without kk yo" and row[-1].values == ("no average",)
    # Where languages differ, both rows are over the shared ones, and the head of the column says so.
    assert notes(table.header[place["udpos"]]) == "over 31 of 33 languages: no data for kk yo in part"
    shared = [one["f1"] for code, one in whole["targets"]["udpos"]["details"].items() if code not in ("kk", "yo")]
    assert table.rows[0][place["udpos"]].values == (f"{statistics.fmean(shared):.1f}",)
    by_language = tables.language_table([entry(whole), entry(part)], "udpos", ["f1"])
    (kazakh,) = (row for row in by_language.rows if row[0].values[0] == "kk")
    assert kazakh[3].values == ("no data",) and not kazakh[3].deltas
    for some in (table, by_language, tables.group_table([entry(whole), entry(part)], view)):
        assert some is not None and all(
            value for row in [some.header, *some.rows] for cell in row for value in cell.values
        )
    text = overview([entry(whole), entry(part)], view)
    assert "not run for part: bucc (no data of BUCC in DIR)" in text
    assert "udpos: over 31 of 33 languages: no data for kk yo in part" in text


def test_a_seed_without_a_target_leaves_no_mean_over_the_others() -> None:
    one, two = scores_files.scores("s1", "xtreme", 1), scores_files.scores("s2", "xtreme", 2, None, {"bucc": "why"})
    table = tables.main_table([entry(one, two)], resolve_suite("xtreme"))
    cell = table.rows[0][columns(table)["bucc"]]
    assert cell.text() == "not run [1]" and table.notes[0] == "not run for s2: why"


def test_remarks_on_settings() -> None:
    one = scores_files.scores("a", "bucc,tatoeba,xnli", 1)
    other = scores_files.scores("b", "bucc,tatoeba,xnli", 2, layer=7)
    other["targets"]["xnli"]["protocol"]["n"] = "first 50"
    table = tables.main_table([entry(one), entry(other)], resolve_suite("bucc,tatoeba,xnli"))
    said = {cell.values[0]: " ".join(table.notes[n - 1] for n in cell.notes) for cell in table.header}
    assert "different settings: layer" in said["bucc"] and "different settings: layer" in said["tatoeba"]
    assert "first 50 rows of each language only" in said["xnli"] and "training" not in said["xnli"]
    protocol = tables.protocol_table([entry(one), entry(other)], "tatoeba")
    rows = {row[0].values[0]: row[1].values[0] for row in protocol.rows}
    assert rows["layer"] == "a: 14; b: 7" and rows["depth"] == "24" and rows["truncated"] == "3 (too long)"
    rows = {row[0].values[0]: row[1].values[0] for row in tables.protocol_table([entry(one)], "xnli").rows}
    assert (
        "configs/targets/xnli.json" in rows["training"] and rows["selected"] == "seed: 1, selected at step: 10, dev: 51"
    )


def test_every_figure_has_a_label() -> None:
    for names in scores_files.FIGURES.values():
        for name in names:
            assert compare.label(name) not in ("", name) or name in ("accuracy", "precision", "recall")
    assert compare.label("mean_rank") == "mean rank"
    for target in TARGETS:
        if not target.startswith("toy"):
            assert target in terminal_table([scores_files.scores("a", target, 1)])


def test_extras() -> None:
    results = [scores_files.scores(f"s{seed}", "xtreme-r", seed) for seed in (1, 2)]
    (table,) = tables.extra_tables([entry(*results)], "lareqa")
    assert table.rows[0][1].text() == f"101.5 ± {T_975[1] * statistics.stdev([101, 102]) / 2**0.5:.1f}"
    (table,) = tables.extra_tables([entry(scores_files.scores("a", "xtreme", 1))], "bucc")
    assert [cell.text() for cell in table.rows[0]] == ["a", "validation", "test", *["1.0625"] * 4]
    assert tables.extra_tables([entry(results[0])], "xnli") == []


# Families and scripts


def test_every_language_has_family_and_script() -> None:
    assert set(families.LANGUAGES) == set(ALL) and len(ALL) == 50
    assert len({one.name for one in families.LANGUAGES.values()}) == 50
    # XTREME-R counts 14 families and two isolates (Ruder et al. 2021).
    assert len({one.family.split(":")[0] for one in families.LANGUAGES.values()}) == 16
    assert families.language("xx") == ("xx", "unknown", "unknown")


def test_means_by_family() -> None:
    results = [scores_files.scores(f"s{seed}", "xtreme", seed) for seed in (1, 2)]
    entries = [entry(results[0]), entry(results[1])]
    found = compare.by_class(entries, [TARGETS["xnli"], TARGETS["xquad"], TARGETS["tatoeba"]], "family")
    values, codes = found["IE: Germanic"]
    assert codes == ["af", "de", "nl"]  # not English
    of = results[1]["targets"]
    expected = statistics.fmean(
        [of["xnli"]["languages"]["de"], of["xquad"]["languages"]["de"],
         statistics.fmean(of["tatoeba"]["languages"][code] for code in ("af", "de", "nl"))]
    )  # fmt: skip
    assert isinstance(values[1], compare.Value) and values[1].mean == pytest.approx(expected)
    scripts = compare.by_class(entries, [TARGETS["xnli"]], "script")
    assert scripts["Devanagari"][1] == ["hi"] and scripts["Latin"][1] == ["de", "es", "fr", "sw", "tr", "vi"]


FIGURE = st.floats(0, 100, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["ar", "bg", "de", "en"]), FIGURE, min_size=1), min_size=1, max_size=4))
def test_means_are_over_the_languages_that_all_have(each: list[dict[str, float]]) -> None:
    entries = []
    for number, languages in enumerate(each):
        record = {"metric": "accuracy", "scores": {"accuracy": 0.0}, "languages": languages, "details": {}}
        entries.append(entry({"name": str(number), "targets": {"xnli": record}, "not_run": {}}))
    codes = compare.shared(compare.records(entries, "xnli"), compare.wanted(TARGETS["xnli"], "xnli", []))
    assert set(codes) == set.intersection(*(set(one) for one in each))
    for one, languages in zip(entries, each, strict=True):
        value = compare.value(one, "xnli", codes, "accuracy")
        if codes:
            assert isinstance(value, compare.Value) and value.mean == pytest.approx(
                statistics.fmean(languages[code] for code in codes)
            )
        else:
            assert value == "no language that all runs have"


@given(FIGURE, FIGURE)
def test_differences_carry_their_sign(value: float, first: float) -> None:
    text = tables.delta(value, first)
    assert float(text) == pytest.approx(value - first, abs=0.0501)
    assert text == "+0.0" if float(text) == 0 else text[0] == ("+" if value > first else "-")


# Which suites are shown


def names(results: list[dict[str, Any]], everything: bool = True) -> list[str]:
    return [suite for suite, _ in compare.views([entry(one) for one in results], everything)]


def test_suites_that_are_shown() -> None:
    xtreme = scores_files.scores("a", "xtreme", 1)
    both = scores_files.scores("b", "xtreme-r", 2)
    assert (
        names([xtreme]) == ["xtreme"]
        and names([both]) == ["xtreme-r"]
        and names([xtreme, both]) == ["xtreme", "xtreme-r"]
    )
    both["targets"] |= {name: xtreme["targets"][name] for name in ("pawsx", "bucc")}  # of an earlier call
    assert names([both]) == ["xtreme-r", "xtreme"] and names([both], everything=False) == ["xtreme-r"]
    assert names([xtreme, scores_files.scores("c", "xnli,xquad", 3)]) == ["xtreme"]
    assert names([scores_files.scores("c", "xnli,xquad", 3)]) == ["xnli,xquad"]


def test_training_data_from_elsewhere_are_named_at_the_column() -> None:
    one = scores_files.scores("one", "xtreme", 1)
    sentence = "target training on pawsx of data/toyworld, as samples lacks it"
    one["targets"]["pawsx"]["supplied"] = [sentence]
    table = tables.main_table([entry(one)], resolve_suite("xtreme"))
    numbers = {name: table.header[place].notes for name, place in columns(table).items()}
    assert [table.notes[number - 1] for number in numbers["pawsx"]] == [sentence] and not numbers["xnli"]
    assert f"pawsx: {sentence}" in overview([entry(one)], resolve_suite("xtreme"))
