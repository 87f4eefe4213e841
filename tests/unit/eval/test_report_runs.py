"""Which runs a report reads, from where, what they are called, and whose seed is whose."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from eval.report import compare, inputs, plots, program, sections
from eval.report.inputs import Run
from eval.report.plots import Plot
from tests.support import scores_files


def test_seeds_are_one_row(tmp_path: Path) -> None:
    places = [scores_files.write_run(tmp_path, scores_files.scores(f"mtl_s{s}", "xnli", s), s) for s in (1, 2, 3)]
    other = scores_files.write_run(tmp_path, scores_files.scores("hot_s1", "xnli", 1), 1, lr=1e-4)
    entries = inputs.group(inputs.read([str(places[0]), str(other), str(places[1]), str(places[2])]))
    assert [(e.name, len(e.runs)) for e in entries] == [("mtl (3 seeds)", 3), ("hot_s1", 1)]
    assert [run.scores["name"] for run in entries[0].runs] == ["mtl_s1", "mtl_s2", "mtl_s3"]


def test_what_is_no_seed(tmp_path: Path) -> None:
    """Another setting of the evaluation, the same seed again, a run without a config of other weights."""
    a = scores_files.write_run(tmp_path, scores_files.scores("a", "tatoeba", 1), 1)
    layer = scores_files.write_run(tmp_path, scores_files.scores("b", "tatoeba", 2, layer=7), 2)
    same = scores_files.write_run(tmp_path, scores_files.scores("c", "tatoeba", 3), 1)
    bare = [scores_files.write_run(tmp_path, scores_files.scores(name, "tatoeba", 4), None) for name in ("d", "e")]
    runs = inputs.read([str(place) for place in (a, layer, same, *bare)])
    assert [e.name for e in inputs.group(runs)] == ["a", "b", "c", "d", "e"]


def test_seeds_of_target_training_and_of_the_run_before(tmp_path: Path) -> None:
    # A Hub encoder has no config.json; its seeds are those of the target training.
    hub = [scores_files.scores("org/model", "xnli", seed) for seed in (1, 2)]
    files = []
    for number, one in enumerate(hub):
        files.append(tmp_path / f"out{number}" / "scores.json")
        files[-1].parent.mkdir()
        files[-1].write_text(json.dumps(one), encoding="utf-8")
    assert [e.name for e in inputs.group(inputs.read([str(f) for f in files]))] == ["org/model (2 seeds)"]
    # Phase 2 starts from phase 1 of the same seed, so its `encoder` differs too.
    chain = []
    for seed in (1, 2):
        before = scores_files.write_run(tmp_path, scores_files.scores(f"mlm{seed}", "xnli", seed), seed)
        now = scores_files.scores(f"mtl{seed}", "xnli", seed)
        chain.append(scores_files.write_run(tmp_path, now, seed, encoder=str(before / "encoder")))
    assert [len(e.runs) for e in inputs.group(inputs.read([str(p) for p in chain]))] == [2]


def test_the_config_of_a_model_is_no_run(tmp_path: Path) -> None:
    """`python -m eval --encoder MODEL --out MODEL/eval`, and a run that started from MODEL/encoder."""
    runs = []
    for seed in (1, 2):
        model = scores_files.write_run(tmp_path, scores_files.scores(f"model{seed}", "tatoeba", 1), None)
        (model / "config.json").write_text('{"model_type": "xlm-roberta"}', encoding="utf-8")
        (run,) = inputs.read([str(model)])
        assert run.config is None
        after = scores_files.scores(f"run{seed}", "tatoeba", seed)
        runs.append(scores_files.write_run(tmp_path, after, seed, encoder=str(tmp_path / "model1/encoder")))
    assert [len(e.runs) for e in inputs.group(inputs.read([str(place) for place in runs]))] == [2]


@given(st.lists(st.sampled_from("ab_-s1 2/"), min_size=1, max_size=6).map("".join), st.integers(2, 5))
def test_names_of_seeds(start: str, n: int) -> None:
    title = inputs._common([f"{start}_s{i}" for i in range(n)])
    assert title.endswith(f" ({n} seeds)") and title != f" ({n} seeds)"


def test_places_of_scores(tmp_path: Path) -> None:
    run = scores_files.write_run(tmp_path, scores_files.scores("a", "xnli", 1), 5)
    last = run / "eval" / "encoder_last"
    last.mkdir()
    (last / "scores.json").write_text(json.dumps(scores_files.scores("a/encoder_last", "xnli", 2)), encoding="utf-8")
    runs = inputs.read([str(run), str(run / "eval"), str(run / "eval" / "scores.json"), str(last)])
    assert [one.scores["name"] for one in runs] == ["a", "a/encoder_last"]  # each once
    assert [one.config and one.config["seed"] for one in runs] == [5, 5]
    with pytest.raises(InputError, match="did you mean"):
        (run / "eval" / "scores.json").unlink()
        inputs.read([str(run)])


def test_names_stay_apart(tmp_path: Path) -> None:
    results = [scores_files.scores("same", "xnli", seed) for seed in (1, 2)]
    results[1]["encoder"] = "elsewhere/same/encoder"
    assert inputs.names_of([Run(one) for one in results]) == ["runs/same/encoder", "elsewhere/same/encoder"]
    twice = [Run(results[0], tmp_path / "x"), Run(results[0], tmp_path / "y")]
    assert inputs.names_of(twice) == [str(tmp_path / "x"), str(tmp_path / "y")]


def spots(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*above, key)
        yield from spots(value[key], (*above, key))


def test_a_damaged_file_is_one_line_and_never_a_traceback(tmp_path: Path, monkeypatch) -> None:
    """Each field of scores.json taken out or given other types: refused, or reported."""
    for name in ("bars", "lying_bars", "heat"):  # drawing takes long, and is given nothing but numbers and names
        monkeypatch.setattr(plots, name, lambda *_: Plot("plot", "caption", b"", "", 1))
    langs = {"xnli": ("en",), "bucc": ("de",), "lareqa": ("de", "en")}
    runs = [scores_files.scores(name, ",".join(langs), seed, langs) for seed, name in enumerate("ab")]
    places = [str(scores_files.write_run(tmp_path, run, seed)) for seed, run in enumerate(runs)]
    whole, file = runs[1], Path(places[1]) / "eval/scores.json"
    refused = reported = 0
    for *above, last in spots(whole):
        if above and above[0] == "average":
            continue  # taken anew
        for value in (spots, None, "x", 3, [1], {}):
            damaged = copy.deepcopy(whole)
            inner: Any = damaged
            for key in above:
                inner = inner[key]
            inner[last] = value
            if value is spots:
                del inner[last]
            file.write_text(json.dumps(damaged), encoding="utf-8")
            try:
                entries = inputs.group(inputs.read(places))
                views = compare.views(entries, everything=True)
                sections.build(entries, views)
                program.combined(entries, views)
                reported += 1
            except InputError as error:
                assert str(file) in str(error)
                refused += 1
    assert refused > 500 and reported > 100
