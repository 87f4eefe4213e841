"""The toy world's PAWS-X and Mewsli-X pairs: true labels, the makers' columns, and how data_prep finds them."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from common.errors import InputError
from data_prep.examples import Classify, Pair
from data_prep.sources.folders import Folder
from data_prep.sources.locate import DATASETS, Part, locate
from eval.read import read
from eval.suites import TARGETS
from examples.toyworld import concepts, lexicon
from examples.toyworld.__main__ import write_supply

PAWSX = "google-research-datasets/paws-x/en"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("supply") / "toyworld"
    write_supply(out, seed=1, scale=0.1)
    return out


def examples(parts: list[Part]) -> list:
    labels = ["not_paraphrase", "paraphrase"]
    return [part.convert(row, where, labels) for part in parts for where, row in part.rows()]


def facts(text: str) -> set[str]:
    """The sentences of a text, with every word by its commonest name."""
    plain = {}
    for word, other in concepts.SYNONYMS.items():
        plain |= {other: word, lexicon.third_person(other): lexicon.third_person(word)}
    for long, short in sorted(plain.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(f" {long} ", f" {short} ").replace(f" {long}.", f" {short}.")
    return {sentence.rstrip(".") for sentence in text.split(". ")}


def test_a_paraphrase_says_the_same_and_the_others_share_its_words(world: Path) -> None:
    rows = pq.read_table(world / PAWSX / "train-00000-of-00001.parquet").to_pylist()
    assert len(rows) == 400 and 0.4 < sum(row["label"] for row in rows) / 400 < 0.6
    for row in rows:
        first, second = facts(row["sentence1"]), facts(row["sentence2"])
        assert (first == second) == bool(row["label"]), row
        assert sorted(" ".join(first).split()) == sorted(" ".join(second).split()), row


def test_data_prep_reads_both(world: Path) -> None:
    source = [Folder.open(world)]
    found = examples(locate(DATASETS["pawsx"], source).train)
    assert len(found) == 400 and all(isinstance(one, Classify) for one in found)
    located = locate(DATASETS["mewslix"], source)
    train, dev = examples(located.train), examples(located.dev)
    assert len(train) == 300 and len(dev) == 40
    passages: dict[str, str] = {}
    for pair in [*train, *dev]:
        assert isinstance(pair, Pair)
        # "bicycle: Ivan drives the { bicycle } on the street.", and the passage is of the same thing.
        word = pair.query.partition(":")[0]
        assert f"{{ {word} }}" in pair.query and pair.passage.startswith(f"{word.capitalize()} is a thing")
        assert passages.setdefault(word, pair.passage) == pair.passage
    assert len(passages) > 20


def test_mentions_are_of_their_entity_in_every_language(world: Path) -> None:
    found = read(TARGETS["mewslix"], TARGETS["mewslix"].of_suite("xtreme-r"), str(world))
    assert set(found.rows) == {"de", "en", "es", "ja"} and found.split == "test" and len(found.pool) > 20
    titles = {candidate.id: candidate.text.partition(" is a thing")[0].lower() for candidate in found.pool}
    table = [line.split(": ", 1) for line in concepts.NOUNS.strip().splitlines()]
    for code, column in (("de", 0), ("es", 1), ("ja", 5)):
        names = {english: row.split("|")[column].split() for english, row in table}
        for query in found.rows[code]:
            word = query.text.partition(":")[0]
            (gold,) = query.gold
            assert word.lower()[:3] in " ".join(names[titles[gold]]).lower(), (query, titles[gold])
    for query in found.rows["en"]:
        assert query.text.partition(":")[0] == titles[query.gold[0]]


def test_a_copy_without_its_training_split_is_passed_over_for_a_later_source(world: Path, tmp_path: Path) -> None:
    part = tmp_path / "samples" / PAWSX
    part.mkdir(parents=True)
    name = "validation-00000-of-00001.parquet"
    (part / name).write_bytes((world / PAWSX / name).read_bytes())
    samples, toy = Folder.open(tmp_path / "samples"), Folder.open(world)
    with pytest.raises(InputError, match=r"pawsx: .*samples.* is there, but no train-\*\.parquet in it"):
        locate(DATASETS["pawsx"], [samples])
    found = locate(DATASETS["pawsx"], [samples, toy])
    assert found.origin.startswith("Hub layout in toyworld/") and found.remark.startswith("passed over: dataset pawsx")
    assert locate(DATASETS["pawsx"], [toy, samples]).remark == ""
