"""A task in several languages: one head, rows of each language with its share, English dev data."""

import json
from pathlib import Path

import numpy as np
import pytest

from mtl.data import loader
from mtl.run import setup
from mtl.run.checkpoint import State
from mtl.run.export import model_card
from tests.support.small import LANGUAGE_ROWS, dry_run, write_pawsx, write_uniform


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> str:
    folder = tmp_path_factory.mktemp("languages")
    return str(write_uniform(folder, tiny_tokenizer_dir, write_pawsx(folder), steps=400))


def entry(**fields: object) -> str:
    return f"tasks.0={json.dumps({'task': 'pawsx', **fields})}"


def language_of(made: setup.Setup, split: str, rows: np.ndarray) -> list[str]:
    """By what the rows hold."""
    encoded = getattr(made.tasks[0], split).take(rows)
    found = [made.tokenizer.decode(row["input_ids"][1:]).split()[0] for row in encoded]
    assert set(found) <= set(LANGUAGE_ROWS)
    return found


@pytest.mark.parametrize("batches", ["mixed", "by_task"])
@pytest.mark.parametrize(
    ("fields", "shares"),
    [
        ({"languages": {"en": 2, "de": 1, "ja": 1}}, {"en": 0.5, "de": 0.25, "ja": 0.25}),
        ({"languages": {"en": 0.9, "de": 0, "ja": 0.1}}, {"en": 0.9, "ja": 0.1}),
        ({"languages": "all", "exponent": 0.5}, None),
        ({"languages": ["ja", "de"]}, {"ja": 0.5, "de": 0.5}),
        ({"language": "de"}, {"de": 1.0}),
    ],
)
def test_rows_of_each_language_with_its_share(config: str, batches: str, fields: dict, shares: dict | None) -> None:
    if shares is None:
        fields = {**fields, "languages": list(LANGUAGE_ROWS)}
        roots = {code: rows**0.5 for code, rows in LANGUAGE_ROWS.items()}
        shares = {code: root / sum(roots.values()) for code, root in roots.items()}
    made = setup.read(config, [entry(**fields), f"mixture.batches={batches}"])
    counts = dict.fromkeys(shares, 0)
    for step in loader.steps_from(made.plan, 0):
        found = language_of(made, "train", step.row[step.task == 0]) if step.counts[0] else []
        assert len(set(found)) <= 1 or batches == "mixed"
        for code in found:
            counts[code] += 1
    total, draws = sum(counts.values()), 400 * (8 if batches == "mixed" else 1)
    for code, share in shares.items():  # within four standard deviations, that of whole steps for by_task
        assert abs(counts[code] / total - share) < 4 * (share * (1 - share) / (draws / 2)) ** 0.5 + 1e-12
    (line, _) = made.plan.expected()
    found = {part["language"]: part["probability"] for part in line["languages"] if part["probability"]}
    assert found == pytest.approx({code: share / 2 for code, share in shares.items()})


@pytest.mark.parametrize(
    ("fields", "codes"),
    [
        ({"languages": ["de", "en"]}, {"en"}),
        ({"language": "de"}, {"de"}),
        ({"languages": ["de", "ja"]}, {"de", "ja"}),
        ({}, {"en"}),
    ],
)
def test_dev_is_english_where_english_is_trained_on(config: str, fields: dict, codes: set[str]) -> None:
    made = setup.read(config, [entry(**fields)])
    rows = np.arange(len(made.tasks[0].dev))
    assert set(language_of(made, "dev", rows)) == codes and len(rows) == 7 * len(codes)


def test_two_heads_by_name_and_the_plan_knows_languages(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    values = json.loads(Path(config).read_text())
    two = [{"task": "pawsx", "language": "de", "name": "pawsx_de"}, "pawsx", *values["tasks"][1:]]
    made = setup.read(config, [f"tasks={json.dumps(two)}", "tasks.pawsx_de.cap=5"])
    assert made.names == ["pawsx_de", "pawsx", "my_classify"] and made.run.tasks[0].cap == 5
    one = setup.read(config, []).plan
    other = setup.read(config, [entry(languages={"en": 1, "de": 2, "ja": 1})]).plan
    assert one.fingerprint() != other.fingerprint()
    assert other.parts()["tasks"]["pawsx"]["languages"] == {"en": 0.25, "de": 0.5, "ja": 0.25}
    assert dry_run(["--config", config]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in lines if line[:1] == ["pawsx"]] == [["pawsx", "140", "140"]]
    assert [line[:3] for line in lines if line[:1] == ["ja"]] == [["ja", "10", "0.1250"]]


def test_an_epoch_is_one_of_the_tasks_without_a_share(config: str) -> None:
    """So that a task with a share adds its steps to theirs."""
    sets = ["mixture.kind=proportional", "batch.examples=1"]
    alone = setup.read(
        config, [*sets, "epochs=3", "tasks=" + json.dumps(json.loads(Path(config).read_text())["tasks"][1:])]
    )
    beside = setup.read(config, [*sets, "epochs=3", "tasks.pawsx.share=0.25"])
    assert beside.plan.steps * 0.75 == alone.plan.steps
    assert [line["probability"] for line in beside.plan.expected()] == [0.25, 0.75]


def test_the_model_card_names_languages_and_translation(config: str) -> None:
    made = setup.read(config, [])
    card = model_card(made.run, made.tasks, 1, State(1, made.identity()).dev)
    assert "| pawsx (en 0.5, de 0.25, ja 0.25) | classify | 140 | PAWS licence" in card
    assert "machine-translated (Google, 2019; dev by people)" in card
