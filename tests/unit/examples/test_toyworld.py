"""The toy world: deterministic, splits disjoint, labels that follow from the words, answers in place, sound CCG."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from examples.toyworld import concepts, lexicon
from examples.toyworld.__main__ import generate, main
from tests.support.rows import examples

PAWSX = "google-research-datasets/paws-x/en"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toy") / "world"
    generate(out, seed=1, scale=0.02)
    return out


def rows(world: Path, folder: str, split: str) -> list[dict]:
    return pq.read_table(world / folder / f"{split}-00000-of-00001.parquet").to_pylist()


def test_same_seed_same_bytes_other_seed_other_text(tmp_path: Path) -> None:
    made = []
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        generate(tmp_path / name, seed=seed, scale=0.002)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        made.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert made[0] == made[1] and made[0]["text/train.txt"] != made[2]["text/train.txt"]


def test_a_folder_that_is_no_toy_world_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["--out", str(tmp_path), "--scale", "0.01"]) == 2
    assert "not a toy world" in capsys.readouterr().err and (tmp_path / "thesis.txt").exists()
    assert main(["--out", str(tmp_path / "x"), "--scale", "0"]) == 2


def test_splits_are_as_large_as_world_json_says_and_share_no_example(world: Path) -> None:
    said = json.loads((world / "world.json").read_text(encoding="utf-8"))["tasks"]
    counts = {name: splits for name, splits in said.items() if (world / name).is_dir() and "/" in name}
    assert len(counts) == 9
    for folder, splits in counts.items():
        seen = []
        for split, count in splits.items():
            found = rows(world, folder, split)
            assert len(found) == count
            numbers = {"idx", "ind", "id", "uid", "source_id", "split"}
            seen += [str({k: v for k, v in row.items() if k not in numbers}) for row in found]
        assert len(seen) == len(set(seen)), folder


# --- labels, re-derived from the English words alone


def _words(table: str) -> list[str]:
    return [line.split(":")[0] for line in table.strip().splitlines()]


_KIND_OF = {w: kind for kind, words in concepts.HYPERNYMS.items() for w in words}
_KIND_OF |= dict.fromkeys(_words(concepts.ANIMALS), "animal") | dict.fromkeys(_words(concepts.ROLES), "person")


def read_statement(sentence: str) -> dict[str, str | bool]:
    """Slots of an English statement, by pattern."""
    words = sentence.rstrip(".").split()
    out: dict[str, str | bool] = {"neg": "not" in words}
    for left, right in itertools.pairwise(words):
        if left in ("with", "With"):
            out["mate"] = right
        elif left in ("on", "On") and right.endswith("day"):
            out["day"] = right
        elif left == "at" and right.isdigit():
            out["hour"] = right
    adjectives = set(_words(concepts.ADJECTIVES))
    if described := adjectives & set(words):
        out["adj"] = described.pop()
    place = re.search(r"\b(?:in|at|on) the (\w+)", sentence)
    if place:
        out["place"] = place[1]
    body = re.sub(r"^On \w+day ", "", sentence.rstrip("."))
    subject = re.match(r"(?:[Tt]he )?(\w+) (.*)", body)
    assert subject
    out["subj"] = subject[1]
    rest = subject[2].replace("does not ", "").split()
    out["verb"] = re.sub(r"(es|s|e)$", "", rest[0])
    if rest[1:2] == ["the"]:
        out["obj"] = rest[3] if rest[2] in adjectives else rest[2]
    return out


def judge(premise: str, hypothesis: str) -> str:
    claim = read_statement(hypothesis)
    facts = [read_statement(s + ".") for s in premise.rstrip(".").split(". ")]

    def covers(known: object, claimed: object) -> bool:
        return known == claimed or _KIND_OF.get(str(known)) == claimed

    fact = next(f for f in facts if covers(f["subj"], claim["subj"]) and f["verb"] == claim["verb"])
    open_, broken = False, False
    for slot in claim.keys() - {"neg", "subj", "verb"}:
        if slot not in fact or _KIND_OF.get(str(claim[slot])) == fact[slot]:
            open_ = True
        elif not covers(fact[slot], claim[slot]):
            broken = True
    assert not (open_ and broken)
    if open_:
        return "neutral"
    return "contradiction" if broken != claim["neg"] else "entailment"


def test_nli_labels_follow_from_the_words(world: Path) -> None:
    names = ("entailment", "neutral", "contradiction")
    folders = ("nyu-mll/glue/mnli", "stanfordnlp/snli/plain_text", "facebook/anli/plain_text", "facebook/xnli/en")
    for path in (path for folder in folders for path in (world / folder).iterdir()):
        found = pq.read_table(path).to_pylist()
        for row in found:
            assert judge(row["premise"], row["hypothesis"]) == names[row["label"]], row
        counts = Counter(row["label"] for row in found)
        assert len(counts) == 3 and max(counts.values()) < 0.5 * len(found) + 5, path


def facts(text: str) -> set[str]:
    """The sentences of a text, with every word by its commonest name."""
    plain = {}
    for word, other in concepts.SYNONYMS.items():
        plain |= {other: word, lexicon.third_person(other): lexicon.third_person(word)}
    for long, short in sorted(plain.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(f" {long} ", f" {short} ").replace(f" {long}.", f" {short}.")
    return {sentence.rstrip(".") for sentence in text.split(". ")}


def test_a_paraphrase_says_the_same_and_the_others_share_its_words(world: Path) -> None:
    found = rows(world, PAWSX, "train")
    assert 0.3 < sum(row["label"] for row in found) / len(found) < 0.7
    for row in found:
        first, second = facts(row["sentence1"]), facts(row["sentence2"])
        assert (first == second) == bool(row["label"]), row
        assert sorted(" ".join(first).split()) == sorted(" ".join(second).split()), row
    people = set(concepts.FEMALE_NAMES + concepts.MALE_NAMES)
    for row in rows(world, "nyu-mll/glue/qqp", "train"):
        first, second = (people & set(re.findall(r"\w+", row[q])) for q in ("question1", "question2"))
        assert row["question1"] != row["question2"] and (first == second or not row["label"])


def test_answers_stand_at_their_offsets_in_every_language(world: Path) -> None:
    sets = [rows(world, f"google/xquad/xquad.{lang}", "validation") for lang in concepts.LANGUAGES]
    assert len({len(found) for found in sets}) == 1
    for row in rows(world, "rajpurkar/squad/plain_text", "train") + [row for found in sets for row in found]:
        text, start = row["answers"]["text"][0], row["answers"]["answer_start"][0]
        assert text and row["context"][start : start + len(text)] == text


def test_unanswerable_questions_are_not_answered(world: Path) -> None:
    asks = {"Where": r"(?:in|at|on) the \w+", "When": r"[Oo]n \w+day", "At what hour": r"at \d", "With whom": "with "}
    found = rows(world, "rajpurkar/squad_v2/squad_v2", "train")
    none = [row for row in found if not row["answers"]["text"]]
    assert 0.3 < len(none) / len(found) < 0.7
    checked: Counter[str] = Counter()
    for row in none:
        pattern = next((p for start, p in asks.items() if row["question"].startswith(start)), None)
        subject = re.search(r"does (\w+)", row["question"])
        if pattern and subject:
            about = [s for s in row["context"].split(".") if re.match(rf"\s*(On \w+day )?{subject[1]}\b", s)]
            assert not any(re.search(pattern, s) for s in about), row
            checked["slot missing" if about else "person missing"] += 1
    assert len(checked) == 2


# --- retrieval


def test_retrieval_pairs_are_parallel_and_distinct(world: Path) -> None:
    for lang in concepts.LANGUAGES[1:]:
        code = concepts.ISO3[lang]
        english, foreign = (
            (world / f"tatoeba/tatoeba.{code}-eng.{side}").read_text(encoding="utf-8").splitlines()
            for side in ("eng", code)
        )
        assert len(english) == len(foreign) == len(set(english)) == len(set(foreign)) >= 30
        for one, two in zip(english, foreign, strict=True):
            assert re.findall(r"\d+", one) == re.findall(r"\d+", two)


def test_a_passage_describes_what_its_query_mentions(world: Path) -> None:
    for query, passage in examples("mewslix", "train", world):
        # "bicycle: Ivan drives the { bicycle } on the street.", and the passage is of the same thing.
        word = query.partition(":")[0]
        assert f"{{ {word} }}" in query and passage.startswith(f"{word.capitalize()} is a thing")


# --- CCG: a small CKY with application, composition and crossed composition; features of S and NP are left out


@cache
def parse_category(text: str) -> str | tuple:
    """An atom, or (result, slash, argument)."""
    depth, cut = 0, None
    for i, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and character in "/\\":
            cut = i  # the last one: slashes associate to the left
    if cut is not None:
        return parse_category(text[:cut]), text[cut], parse_category(text[cut + 1 :])
    return parse_category(text[1:-1]) if text.startswith("(") else text.partition("[")[0]


def combine(x: str | tuple, y: str | tuple) -> list:
    out = [x] if y == "." else []
    for functor, other, slash in ((x, y, "/"), (y, x, "\\")):
        if functor[1:2] == (slash,) and functor[2] == other:
            out.append(functor[0])
        # Composition; backward, crossed or not.
        elif functor[1:2] == (slash,) and other[1:2] in ((slash,), ("/",)) and functor[2] == other[0]:
            out.append((functor[0], *other[1:]))
    return out


def derived(tags: list[str]) -> set:
    """The categories that span the sentence."""
    n = len(tags)
    chart = {(i, i + 1): {parse_category(tag)} for i, tag in enumerate(tags)}
    for i, j in sorted(itertools.combinations(range(n + 1), 2), key=lambda span: span[1] - span[0])[n:]:
        halves = [(chart[i, k], chart[k, j]) for k in range(i + 1, j)]
        chart[i, j] = {z for left, right in halves for x in left for y in right for z in combine(x, y)}
    return chart[0, n]


def test_ccg_categories_combine_to_a_sentence(world: Path) -> None:
    found = examples("ccg", "train", world)
    assert len({tag for _, tags in found for tag in tags}) >= 15
    for words, tags in found:
        assert "S" in derived(tags), words
    assert "S" not in derived(["NP", "NP/N", "."]) | derived(["NP/N", "N", "(S\\NP)/NP", "."])
