"""Hybrid batches: the pairs of a step are of one language or of two, by groups, whatever else is in the step; and the

other fields of a task of pairs.
"""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from mtl.data import loader
from mtl.model.saved_heads import load_heads
from mtl.run import setup
from mtl.run.checkpoint import State
from mtl.run.export import export_run, model_card
from tests.support.small import dry_run, sentence, write_uniform

CODES, GROUPS = ("en", "de", "ja"), 40
MISSING = {"en": set(), "de": set(range(35, 40)), "ja": {1}}  # groups without a row in this language


def write_pairs(folder: Path) -> dict:
    """A task whose rows say language and group in query, passage and, in every other group, hard negative."""
    rng = random.Random(0)
    for code in CODES:
        rows = [
            {
                "query": f"{code} {group}",
                "passage": f"{code} {group} {sentence(rng)}",
                "group": group,
                **({"negative": f"{code} {group} no {sentence(rng)}"} if group % 2 else {}),
            }
            for group in rng.sample(range(GROUPS), GROUPS)
            if group not in MISSING[code]
        ]
        for split, part in (("train", rows), ("dev", rows[:7])):
            (folder / f"{code}.{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    paths = {split: str(folder / f"{{language}}.{split}.jsonl") for split in ("train", "dev")}
    return {"name": "pairs", "kind": "pair", "languages": list(CODES), "hybrid": 0.4, **paths}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> str:
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
def test_the_pairs_of_a_step_are_of_one_language_or_of_two(config: str, batches: str, alpha: float) -> None:
    made = setup.read(config, [f"mixture.batches={batches}", f"tasks.pairs.hybrid={alpha}"])
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


def test_a_step_is_found_again_and_packed_on_any_number_of_ranks(config: str) -> None:
    made = setup.read(config, [])
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


def test_what_is_printed_and_written_of_it(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry_run(["--config", config]) == 0
    out = capsys.readouterr().out
    assert "pairs: steps with pairs of one language 0.400 (en 0.133, de 0.133, ja 0.133)" in out
    assert "pairs: steps with pairs of two languages 0.600 (6 of query and passage, 0.1000 each)" in out
    assert "en > de 5, en > ja 1, de > ja 1, ja > de 5" in out
    made, other = setup.read(config, []), setup.read(config, ["tasks.pairs.hybrid=0.5"])
    assert made.plan.fingerprint() != other.plan.fingerprint()
    cross = next(row for row in range(GROUPS * 3, 10**4) if "with the passage of" in made.tasks[0].train.origin(row))
    assert "pairs.en" in made.tasks[0].train.origin(cross)
    card = model_card(made.run, made.tasks, 1, {})
    assert "| pairs (en 0.133, de 0.133, ja 0.133; query and passage in two of them 0.6) | pair | 114 |" in card


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (['tasks.pairs.languages=["en"]'], "`hybrid` needs two `languages` or more"),
        (["tasks.my_classify.hybrid=0.5"], "`hybrid` is for tasks of kind pair, and this one is of classify"),
        (["tasks.pairs.languages=all"], "write {language} for the code"),
        (["tasks.pairs.train=x.jsonl"], "write {language} for the code"),
        (["tasks.pairs.temperature=0"], "temperature"),
        (['tasks.pairs.languages=["en", "../x"]'], "letters, digits"),
    ],
)
def test_what_cannot_be_hybrid(config: str, sets: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        setup.read(config, sets)


def test_pooling_and_temperature_reach_the_head_and_the_export(config: str, tmp_path: Path) -> None:
    sets = [f"output={tmp_path}", "trim_word_embeddings=false", "tasks.pairs.pooling=first"]
    for given, learned in (({"learned": 0.05}, True), (0.05, False)):
        made = setup.read(config, [*sets, f"tasks.pairs.temperature={json.dumps(given)}"])
        model = made.model()
        scale = model.head("pairs").logit_scale
        assert scale.tolist() == [20] and scale.requires_grad == learned
    export_run(made, {n: p.detach() for n, p in model.named_parameters()}, State(1, made.identity()), "")
    pooling = json.loads((tmp_path / "small/encoder/1_Pooling/config.json").read_text())
    assert pooling["pooling_mode_cls_token"] and not pooling["pooling_mode_mean_tokens"]
    assert "trained by `pairs` as the first token" in (tmp_path / "small/encoder/README.md").read_text()
    head = load_heads(tmp_path / "small/heads")["pairs"].module
    assert head.logit_scale.tolist() == [20] and not head.body.reads_pooler
