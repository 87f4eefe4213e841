"""The files of every item's outcome: the scores of all targets, computed again from their columns alone."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import feather

from eval.metrics import items, score_target
from eval.rows import Candidate, Corpora, Loaded, Query, Translation
from eval.suites import TARGETS
from tasks.choice.data import Choice
from tasks.classify.data import Classify
from tasks.span.data import Span
from tasks.tag.data import Tag
from tests.unit.eval.test_eval_figures import scored

LANGUAGES, N = ("de", "en", "sw"), 30
TAGS = {"udpos": ("NOUN", "VERB", "SCONJ", "SYM"), "panx": ("O", "B-PER", "I-PER", "B-LOC")}
WORDS = ["the house", "house", "a red house", "river", "the red river"]
PARALLEL = ("classify", "choice", "span", "answers")


def drawn(target: str, rng: random.Random, noise: np.random.Generator) -> tuple[Loaded, dict[str, Any]]:
    """Rows of three languages and finished artifacts, some right and some wrong."""
    kind, loaded, found = TARGETS[target].kind, Loaded("test", {}, {}), {}
    if kind in ("answers", "entities"):
        loaded.pool = [Candidate(f"c{i}", f"text {i}", LANGUAGES[i % 3]) for i in range(N)]
        found["pool"] = noise.normal(size=(N, 8))
    for code in LANGUAGES:
        rows: list[Any]
        if kind in ("classify", "choice"):
            count = len(score_target.labels_of(TARGETS[target])) if kind == "classify" else 2
            gold = [rng.randrange(count) for _ in range(N)]
            said: Any = [rng.choice([label, rng.randrange(count)]) for label in gold]
            if kind == "classify":
                rows = [Classify("", "a", "b", label) for label in gold]
                said = [score_target.labels_of(TARGETS[target])[label] for label in said]
            else:
                rows = [Choice(str(i), "a", ("b", "c"), label) for i, label in enumerate(gold)]
        elif kind == "span":
            rows = [Span(f"q{i}", "?", "x", ((rng.choice(WORDS), 0), (rng.choice(WORDS), 0))) for i in range(N)]
            said = [rng.choice([rng.choice(WORDS), row.answers[0][0]]) for row in rows]
        elif kind == "tag":
            lengths = [rng.randrange(1, 9) for _ in range(N)]
            rows = [Tag("", ("w",) * n, tuple(rng.choices(TAGS[target], k=n))) for n in lengths]
            said = [[rng.choice([tag, tag, None, *TAGS[target]]) for tag in row.tags] for row in rows]
        elif kind == "translation":
            rows, x = [Translation(f"{code} {i}", "x") for i in range(N)], noise.normal(size=(N, 8))
            found |= {f"{code}.en": x, f"{code}.xx": x + 0.7 * noise.normal(size=x.shape)}
        elif kind == "mining":
            ids, x = tuple(f"s{i}" for i in range(N)), noise.normal(size=(N, 8))
            texts = tuple(f"{code} {i}" for i in range(N))
            rows = [Corpora("test", ids, texts, ids, texts, tuple((one, one) for one in ids[: N // 2]))]
            found |= {f"{code}.test.en": x, f"{code}.test.xx": x + 0.7 * noise.normal(size=x.shape)}
        else:
            rows = [
                Query(f"q{i}_{code}", "?", tuple(f"c{n}" for n in rng.sample(range(N), 1 + (kind == "answers"))))
                for i in range(N)
            ]
            said = found["pool"][[int(row.gold[0][1:]) for row in rows]] + noise.normal(size=(N, 8))
        loaded.rows[code] = rows
        if kind not in ("translation", "mining"):
            found[code] = said
    return loaded, found


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_scores_are_those_of_the_files(target: str, tmp_path: Path) -> None:
    """Means of a column, and F1, precision, recall and shares from sums of counts; ids of translations are the same."""
    loaded, found = drawn(target, random.Random(target), np.random.default_rng(0))
    names = {label: label for label in score_target.labels_of(TARGETS[target])}
    scores = scored(target, loaded, tmp_path, found, names)
    items.write(tmp_path / "out", target, {"xx": scores.items["de"]}, "of an earlier run")
    items.write(tmp_path / "out", target, scores.items, "f")
    folder = tmp_path / "out/items" / target
    assert sorted(path.name for path in folder.iterdir()) == [f"{code}.arrow" for code in LANGUAGES]

    ids = []
    for code in LANGUAGES:
        table = feather.read_table(folder / f"{code}.arrow")
        columns = {name: table[name].to_numpy() for name in table.column_names}
        ids.append(columns.pop("id").tolist())
        if "correct" in columns:
            right, said, gold = (columns[name].sum() for name in ("correct", "predicted", "gold"))
            expected = {
                "f1": 200 * right / (said + gold),
                "precision": 100 * right / said,
                "recall": 100 * right / gold,
            }
            if target == "udpos":
                expected["accuracy"] = 100 * columns["correct_words"].sum() / columns["words"].sum()
        elif target == "pawsx":
            expected = {"accuracy": 100 * columns["accuracy"].mean()}
            for part in ("distractor", "other"):
                expected[f"{part}_accuracy"] = 100 * columns[f"{part}_right"].sum() / columns[part].sum()
        else:
            expected = {name: 100 * column.mean() for name, column in columns.items()}
        details = {name: value for name, value in scores.details[code].items() if name not in ("n", "chance")}
        assert details == pytest.approx(expected, abs=1e-9) and 0 < details[next(iter(details))] < 100
        assert set(json.loads(table.schema.metadata[b"metrics"])) == set(details)
        whole = items.read(tmp_path / "out", target, code, "f")
        assert whole is not None and whole.scores() == pytest.approx(expected, abs=1e-9)
        assert items.read(tmp_path / "out", target, code, "other scores") is None
    if TARGETS[target].kind in PARALLEL:
        assert ids[0] == ids[1] == ids[2] and len(set(ids[0])) == N
    else:
        assert not set(ids[0]) & set(ids[1])
