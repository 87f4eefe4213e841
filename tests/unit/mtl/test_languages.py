"""A task in several languages: one head, rows of each language with its share, English dev data; hybrid batches."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from mtl.data import loader
from mtl.model.saved_heads import load_heads
from mtl.run import setup
from mtl.run.checkpoint import State
from mtl.run.export import export_run, model_card
from tests.support.rows import write
from tests.support.small import LANGUAGE_ROWS, dry_run, sentence, write_pawsx, write_uniform


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
    ("fields", "weights"),
    [
        ({"languages": {"en": 2, "de": 1, "ja": 1}}, {"en": 2, "de": 1, "ja": 1}),
        ({"languages": {"en": 0.9, "de": 0, "ja": 0.1}}, {"en": 0.9, "ja": 0.1}),
        ({"languages": list(LANGUAGE_ROWS), "exponent": 0.5}, {c: rows**0.5 for c, rows in LANGUAGE_ROWS.items()}),
        ({"languages": ["ja", "de"]}, {"ja": 1, "de": 1}),
        ({"language": "de"}, {"de": 1}),
    ],
)
def test_rows_of_each_language_with_its_share(config: str, batches: str, fields: dict, weights: dict) -> None:
    shares = {code: weight / sum(weights.values()) for code, weight in weights.items()}
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


def test_two_heads_by_name_and_plan_and_model_card_know_languages(config: str, capsys: Any) -> None:
    values = json.loads(Path(config).read_text())
    two = [{"task": "pawsx", "language": "de", "name": "pawsx_de"}, "pawsx", *values["tasks"][1:]]
    made = setup.read(config, [f"tasks={json.dumps(two)}", "tasks.pawsx_de.cap=5"])
    assert made.names == ["pawsx_de", "pawsx", "my_classify"] and made.run.tasks[0].cap == 5
    one = setup.read(config, [])
    card = model_card(one, 1, {})
    assert "| pawsx (en 0.5, de 0.25, ja 0.25) | classify | 140 | PAWS licence" in card
    assert "machine-translated (Google, 2019; dev by people)" in card
    other = setup.read(config, [entry(languages={"en": 1, "de": 2, "ja": 1})]).plan
    assert one.plan.fingerprint() != other.fingerprint()
    assert other.parts()["tasks"]["pawsx"]["languages"] == {"en": 0.25, "de": 0.5, "ja": 0.25}
    assert dry_run(["--config", config]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in lines if line[:1] == ["pawsx"]] == [["pawsx", "140", "140"]]
    assert [line[:3] for line in lines if line[:1] == ["ja"]] == [["ja", "10", "0.1250"]]


def test_an_epoch_is_one_of_the_tasks_without_a_share(config: str) -> None:
    """So that a task with a share adds its steps to theirs."""
    sets = ["mixture.kind=proportional", "batch.examples=1", "epochs=3"]
    others = json.loads(Path(config).read_text())["tasks"][1:]
    alone = setup.read(config, [*sets, f"tasks={json.dumps(others)}"])
    beside, none = (setup.read(config, [*sets, f"tasks.pawsx.share={share}"]) for share in (0.25, 0))
    assert beside.plan.steps * 0.75 == none.plan.steps == alone.plan.steps
    assert [line["probability"] for line in beside.plan.expected()] == [0.25, 0.75]


# Hybrid batches: the pairs of a step are of one language or of two, by groups, whatever else is in the step


CODES, GROUPS = ("en", "de", "ja"), 40
MISSING = {"en": set(), "de": set(range(35, 40)), "ja": {1}}  # groups without a row in this language


def write_pairs(folder: Path) -> dict:
    """A task whose rows say language and group in query, passage and, in every other group, hard negative."""
    rng = random.Random(0)
    for code in CODES:
        rows = []
        for group in rng.sample(sorted(set(range(GROUPS)) - MISSING[code]), GROUPS - len(MISSING[code])):
            sides = ("query", "passage", "negative")[: 2 + group % 2]
            rows.append({"group": group, **{side: f"{code} {group} {sentence(rng)}" for side in sides}})
        for split, part in (("train", rows), ("dev", rows[:7])):
            write(folder / f"{code}.{split}.jsonl", part)
    paths = {split: str(folder / f"{{language}}.{split}.jsonl") for split in ("train", "dev")}
    return {"name": "pairs", "kind": "pair", "languages": list(CODES), "hybrid": 0.4, **paths}


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> str:
    folder = tmp_path_factory.mktemp("hybrid")
    return str(write_uniform(folder, tiny_tokenizer_dir, write_pairs(folder), steps=300))


def texts(made: setup.Setup) -> dict[int, list[list[str]]]:
    """The words of each sequence of each row that can be drawn."""
    sources = made.tasks[0].sources
    numbers = np.concatenate([np.arange(source.first, source.first + source.rows) for source in sources])
    found = {}
    for number, row in zip(numbers.tolist(), made.tasks[0].train.take(numbers), strict=True):
        assert row["length"] == len(row["input_ids"]) == row["lengths"].sum()
        parts = np.split(row["input_ids"], np.cumsum(row["lengths"])[:-1])
        found[number] = [made.tokenizer.decode(part[1:-1]).split() for part in parts]
    return found


@pytest.mark.parametrize("batches", ["mixed", "by_task"])
@pytest.mark.parametrize("alpha", [0, 0.4, 1])
def test_the_pairs_of_a_step_are_of_one_language_or_of_two(hybrid: str, batches: str, alpha: float) -> None:
    made = setup.read(hybrid, [f"mixture.batches={batches}", f"tasks.pairs.hybrid={alpha}"])
    words, drawn, groups, lengths = texts(made), Counter(), {}, Counter()
    for step in loader.steps_from(made.plan, 0):
        mine = step.task == 0
        if not mine.any():
            continue
        sides = set()
        for row, length in zip(step.row[mine].tolist(), step.length[mine], strict=True):
            query, *answers = words[row]
            assert {part[1] for part in answers} == {query[1]} and len(answers) == 1 + int(query[1]) % 2
            sides.add((query[0], *{part[0] for part in answers}))
            lengths[query[0], answers[0][0]] += length
            groups.setdefault((query[0], answers[0][0]), Counter())[int(query[1])] += 1
        (side,) = sides
        drawn[side] += 1
    steps, pairs = sum(drawn.values()), [(a, b) for a in CODES for b in CODES]
    for one, other in pairs:  # within four standard deviations
        share = alpha / 3 if one == other else (1 - alpha) / 6
        assert abs(drawn[one, other] / steps - share) < 4 * (share * (1 - share) / steps) ** 0.5 + 1e-12
        if drawn[one, other]:
            assert set(groups[one, other]) == set(range(GROUPS)) - MISSING[one] - MISSING[other]
            assert max(groups[one, other].values()) - min(groups[one, other].values()) <= 1  # whole epochs
    means = {s.name: s.tokens for s in made.tasks[0].sources}
    for one, other in drawn:  # the last epoch is not whole
        name = one if one == other else f"{one} > {other}"
        assert lengths[one, other] / groups[one, other].total() == pytest.approx(means[name], rel=0.05)


def test_a_step_is_found_again_and_packed_on_any_number_of_ranks(hybrid: str) -> None:
    made = setup.read(hybrid, [])
    steps = list(loader.steps_from(made.plan, 0))
    for number in (17, 211):
        alone = made.plan.step(number)
        assert np.array_equal(alone.row, steps[number].row) and np.array_equal(alone.length, steps[number].length)
        for ranks in (1, 3):
            shares = alone.divide(ranks, 200)
            batches = [loader.micro_batches(made.plan, alone, shares, rank, made.special) for rank in range(ranks)]
            packed = [batch for mine in batches for batch in mine if len(batch.heads["pairs"].counts)]
            assert sum(len(batch.heads["pairs"].counts) for batch in packed) == alone.counts[0]
            keys = loader.pair_keys(made.plan, alone)["pairs"]
            for batch in packed:
                rows = batch.heads["pairs"]
                assert np.array_equal(rows.group.numpy(), keys[rows.labels.numpy()])


def test_what_is_printed_and_written_of_it(hybrid: str, capsys: Any) -> None:
    assert dry_run(["--config", hybrid]) == 0
    out = capsys.readouterr().out
    assert "pairs: steps with pairs of one language 0.400 (en 0.133, de 0.133, ja 0.133)" in out
    assert "pairs: steps with pairs of two languages 0.600 (6 of query and passage, 0.1000 each)" in out
    assert "en > de 5, en > ja 1, de > ja 1, ja > de 5" in out
    made, other = setup.read(hybrid, []), setup.read(hybrid, ["tasks.pairs.hybrid=0.5"])
    assert made.plan.fingerprint() != other.plan.fingerprint()
    card = model_card(made, 1, {})
    assert "| pairs (en 0.133, de 0.133, ja 0.133; query and passage in two of them 0.6) | pair | 114 |" in card


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (['tasks.pairs.languages=["en"]'], "`hybrid` needs two `languages` or more"),
        (["tasks.my_classify.hybrid=0.5"], "`hybrid` is for tasks of kind pair, and this one is of classify"),
        (["tasks.pairs.languages=all"], "write {language} for the code"),
        (['tasks.pairs.languages=["en", "../x"]'], "letters, digits"),
    ],
)
def test_what_cannot_be_hybrid(hybrid: str, sets: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        setup.read(hybrid, sets)


def test_pooling_and_temperature_reach_the_head_and_the_export(hybrid: str, tmp_path: Path) -> None:
    sets = [f"output={tmp_path}", "trim_word_embeddings=false", "tasks.pairs.pooling=first"]
    for given, learned in (({"learned": 0.05}, True), (0.05, False)):
        made = setup.read(hybrid, [*sets, f"tasks.pairs.temperature={json.dumps(given)}"])
        model = made.model()
        scale = model.head("pairs").logit_scale
        assert scale.tolist() == [20] and scale.requires_grad == learned
    export_run(made, {n: p.detach() for n, p in model.named_parameters()}, State(1, made.identity()), "", ())
    pooling = json.loads((tmp_path / "small/encoder/1_Pooling/config.json").read_text())
    assert pooling["pooling_mode_cls_token"] and not pooling["pooling_mode_mean_tokens"]
    assert "trained by `pairs` as the first token" in (tmp_path / "small/encoder/README.md").read_text()
    head = load_heads(tmp_path / "small/heads")["pairs"].module
    assert head.logit_scale.tolist() == [20] and not head.body.reads_pooler
