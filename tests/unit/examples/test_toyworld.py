"""The toy world: deterministic, true labels (re-derived from the words), disjoint splits, sound CCG, tokenizer."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from transformers import AutoTokenizer

from examples.toyworld import concepts, tasks
from examples.toyworld.__main__ import generate, main

SCALE = 0.02


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toy") / "world"
    generate(out, seed=1, scale=SCALE)
    return out


def rows(world: Path, folder: str, split: str) -> list[dict]:
    return pq.read_table(world / folder / f"{split}-00000-of-00001.parquet").to_pylist()


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_same_seed_same_bytes_other_seed_other_text(world: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", seed=1, scale=SCALE)
    assert files(tmp_path / "again") == files(world)
    generate(tmp_path / "other", seed=2, scale=SCALE)
    assert files(tmp_path / "other")["text/train.txt"] != files(world)["text/train.txt"]


def test_counts_are_those_of_world_json(world: Path) -> None:
    said = json.loads((world / "world.json").read_text(encoding="utf-8"))
    for folder, splits in tasks.SIZES.items():
        for split in splits:
            assert len(rows(world, folder, split)) == said["tasks"][folder][split]
    assert said["languages"][0] == "en" and len(said["languages"]) == 7


def test_folder_that_is_no_toy_world_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["--out", str(tmp_path), "--scale", "0.01"]) == 2
    assert "not a toy world" in capsys.readouterr().err and (tmp_path / "thesis.txt").exists()
    assert main(["--out", str(tmp_path / "x"), "--scale", "0"]) == 2


@pytest.mark.parametrize("folder", list(tasks.SIZES))
def test_train_and_dev_share_no_example(world: Path, folder: str) -> None:
    drop = {"idx", "ind", "id", "uid", "source_id", "split"}
    seen = [
        str({k: v for k, v in row.items() if k not in drop})
        for split in tasks.SIZES[folder]
        for row in rows(world, folder, split)
    ]
    assert len(seen) == len(set(seen))


def test_half_of_commonsense_dev_asks_for_facts_that_train_lacks() -> None:
    folder = "tau/commonsense_qa/default"
    made = dict(tasks.splits(folder, seed=1, scale=0.3))
    asked = {
        split: [(r["question"], r["choices"]["text"]["ABCDE".index(r["answerKey"])]) for r in made[split]]
        for split in ("train", "validation")
    }
    new = sum(fact not in set(asked["train"]) for fact in asked["validation"])
    assert 0.35 < new / len(asked["validation"]) < 0.65


# --- NLI labels, re-derived from the English words alone


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


@pytest.mark.parametrize(
    "folder, split",
    [
        ("nyu-mll/glue/mnli", "train"),
        ("stanfordnlp/snli/plain_text", "train"),
        *[("facebook/anli/plain_text", f"train_r{r}") for r in (1, 2, 3)],
        ("facebook/xnli/en", "test"),
    ],
)
def test_nli_labels_follow_from_the_words(world: Path, folder: str, split: str) -> None:
    examples = rows(world, folder, split)
    for row in examples:
        names = ("entailment", "neutral", "contradiction")
        assert judge(row["premise"], row["hypothesis"]) == names[row["label"]], row
    counts = Counter(row["label"] for row in examples)
    assert len(counts) == 3 and max(counts.values()) < 0.5 * len(examples) + 5


def test_labels_do_not_show_in_the_hypothesis_alone() -> None:
    rng = random.Random(3)
    made = [tasks._nli(rng, tasks.MNLI) for _ in range(4000)]
    counts = CountVectorizer(ngram_range=(1, 2)).fit_transform([str(r["hypothesis"]) for r in made])
    labels = [r["label"] for r in made]
    model = LogisticRegression(max_iter=200, C=0.05).fit(counts[:3000], labels[:3000])
    assert model.score(counts[3000:], labels[3000:]) < 0.42


def test_paraphrases_differ_and_are_balanced(world: Path) -> None:
    examples = rows(world, "nyu-mll/glue/qqp", "train")
    assert all(r["question1"] != r["question2"] for r in examples)
    assert 0.35 < sum(r["label"] for r in examples) / len(examples) < 0.65
    names = set(concepts.FEMALE_NAMES + concepts.MALE_NAMES)
    for r in examples:
        if r["label"]:  # the same people are asked about
            first, second = (names & set(re.findall(r"\w+", r[q])) for q in ("question1", "question2"))
            assert first == second


def test_answers_stand_at_their_offsets_in_every_language(world: Path) -> None:
    sets = {lang: rows(world, f"google/xquad/xquad.{lang}", "validation") for lang in concepts.LANGUAGES}
    squad = rows(world, "rajpurkar/squad/plain_text", "train")
    for row in squad + [r for s in sets.values() for r in s]:
        text, start = row["answers"]["text"][0], row["answers"]["answer_start"][0]
        assert text and row["context"][start : start + len(text)] == text
    assert len({len(s) for s in sets.values()}) == 1
    v2 = rows(world, "rajpurkar/squad_v2/squad_v2", "train")
    assert 0.3 < sum(not r["answers"]["text"] for r in v2) / len(v2) < 0.7


def test_unanswerable_questions_are_not_answered() -> None:
    rng = random.Random(5)
    asks = {"Where": r"(?:in|at|on) the \w+", "When": r"[Oo]n \w+day", "At what hour": r"at \d", "With whom": "with "}
    checked: Counter[str] = Counter()
    for _ in range(400):
        row = tasks._squad(rng, 1.0)
        question, context = str(row["question"]), str(row["context"])
        pattern = next((p for start, p in asks.items() if question.startswith(start)), None)
        subject = re.search(r"does (\w+)", question)
        if pattern and subject:
            about = [s for s in context.split(".") if re.match(rf"\s*(On \w+day )?{subject[1]}\b", s)]
            assert not any(re.search(pattern, s) for s in about), row
            checked["slot missing" if about else "person missing"] += 1
    assert min(checked["slot missing"], checked["person missing"]) > 50


def test_retrieval_pairs_are_parallel_and_distinct(world: Path) -> None:
    for lang in concepts.LANGUAGES[1:]:
        pair = f"tatoeba.{concepts.ISO3[lang]}-eng"
        english = (world / "tatoeba" / f"{pair}.eng").read_text(encoding="utf-8").splitlines()
        foreign = (world / "tatoeba" / f"{pair}.{concepts.ISO3[lang]}").read_text(encoding="utf-8").splitlines()
        assert len(english) == len(foreign) == len(set(english)) == len(set(foreign)) >= 30
        for one, two in zip(english, foreign, strict=True):
            assert re.findall(r"\d+", one) == re.findall(r"\d+", two)


# --- CCG: a small CKY with application, composition and crossed composition


@cache
def parse_category(text: str) -> object:
    """An atom (name, feature) or (result, slash, argument)."""
    text = text[1:-1] if text.startswith("(") and _closes_at_end(text) else text
    depth = 0
    for i in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[i], 0)
        if depth == 0 and text[i] in "/\\":
            return parse_category(text[:i]), text[i], parse_category(text[i + 1 :])
    name, _, feature = text.partition("[")
    return name, feature.rstrip("]")


def _closes_at_end(text: str) -> bool:
    depth = 0
    for i, ch in enumerate(text):
        depth += {"(": 1, ")": -1}.get(ch, 0)
        if depth == 0:
            return i == len(text) - 1
    return False


def match(a: object, b: object) -> str | None:
    """None where the categories differ, else the feature that a bare S on either side takes ("" for none)."""
    assert isinstance(a, tuple) and isinstance(b, tuple)
    if len(a) != len(b):
        return None
    if len(a) == 2:
        ok = a[0] == b[0] and (a[1] == b[1] or not a[1] or not b[1])
        return (a[1] or b[1]) if ok else None
    left, right = match(a[0], b[0]), match(a[2], b[2])
    return left or right if a[1] == b[1] and left is not None and right is not None else None


def fill(category: object, feature: str) -> object:
    assert isinstance(category, tuple)
    if len(category) == 2:
        return ("S", feature) if category == ("S", "") and feature else category
    return fill(category[0], feature), category[1], fill(category[2], feature)


def combine(x: object, y: object) -> list[object]:
    assert isinstance(x, tuple) and isinstance(y, tuple)
    out: list[object] = []
    if y == (".", ""):
        out.append(x)
    if len(x) == 3 and x[1] == "/":
        if (f := match(x[2], y)) is not None:
            out.append(fill(x[0], f))
        if len(y) == 3 and y[1] == "/" and (f := match(x[2], y[0])) is not None:
            out.append((fill(x[0], f), "/", y[2]))
    if len(y) == 3 and y[1] == "\\":
        if (f := match(y[2], x)) is not None:
            out.append(fill(y[0], f))
        if len(x) == 3 and (f := match(y[2], x[0])) is not None:  # backward composition, crossed or not
            out.append((fill(y[0], f), x[1], x[2]))
    return out


def derives(tags: list[str]) -> set[str]:
    """Features of the S categories that span the sentence."""
    n = len(tags)
    chart: dict[tuple[int, int], set] = {(i, i + 1): {parse_category(t)} for i, t in enumerate(tags)}
    for width in range(2, n + 1):
        for i in range(n - width + 1):
            chart[i, i + width] = {
                z
                for k in range(i + 1, i + width)
                for x in chart[i, k]
                for y in chart[k, i + width]
                for z in combine(x, y)
            }
    return {c[1] for c in chart[0, n] if len(c) == 2 and c[0] == "S"}


def test_ccg_categories_combine_to_a_sentence(world: Path) -> None:
    lines = (world / "ccg" / "ccg.train.tsv").read_text(encoding="utf-8").splitlines()
    assert len({tag for line in lines for tag in line.split("\t")[1].split()}) >= 15
    for line in lines:
        words, tags = (part.split(" ") for part in line.split("\t"))
        assert len(words) == len(tags)
        wanted = "wq" if words[-1] == "?" else "dcl"
        assert wanted in derives(tags), line
    assert not derives(["NP", "NP/N", "."])


def test_tokenizer_loads_and_round_trips(world: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(world / "tokenizer")
    assert type(tokenizer).__name__.startswith("XLMRobertaTokenizer")
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"]) == [0, 1, 2, 3]
    assert tokenizer.mask_token_id == len(tokenizer) - 1 and tokenizer.model_max_length == 256
    text = (world / "text" / "dev.txt").read_text(encoding="utf-8").splitlines()
    for line in text[:50]:
        ids = tokenizer(line)["input_ids"]
        assert 3 not in ids and tokenizer.decode(ids, skip_special_tokens=True) == line
    pair = tokenizer("Anna", "Tom")["input_ids"]
    assert pair[0] == 0 and pair[-1] == 2 and pair.count(2) == 3 and len(pair) == 6
    for row in rows(world, "google/xquad/xquad.ja", "validation"):
        encoded = tokenizer(row["context"], return_offsets_mapping=True)
        start = row["answers"]["answer_start"][0]
        assert any(a == start and b > a for a, b in encoded["offset_mapping"])
    assert len(tokenizer.tokenize("kwaheri")) > 1  # an unknown word falls back to characters
