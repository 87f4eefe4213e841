"""The real samples: upstream's files say what the Hub's copies say, and hold what their makers documented."""

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from common.labels import UPOS
from eval.read import NotThere
from eval.suites import TARGETS
from tasks.choice.data import Choice
from tasks.classify.data import Classify
from tests.support.target_files import copy, load


@pytest.mark.parametrize(
    ("target", "codes", "sizes"),
    [
        ("xnli", "de en zh sw", {2490}),
        ("pawsx", "de en zh", {2000}),
        ("mlqa", "de en es en-de de-en", {500, 512, 1148}),
        ("xquad", "ar de en es hi zh", {1190}),
        ("xcopa", "et id sw zh ta", {500}),
    ],
)
def test_upstream_files_say_what_the_hub_says(
    shared: Path, tmp_path: Path, target: str, codes: str, sizes: set[int]
) -> None:
    """XNLI and PAWS-X from XTREME's CRLF files with csv's quoting, which have no ids."""
    source = shared / "data/raw" / target
    if (source / "xtreme").is_dir():
        shutil.copytree(source / "xtreme", tmp_path / target / "xtreme")  # away from a test set
        source = tmp_path
    raw, hub = (load(target, codes, folder).rows for folder in (source, shared / "data/hub"))
    assert sorted(raw) == sorted(hub) == sorted(codes.split()) and {len(rows) for rows in raw.values()} == sizes
    ours, theirs = (
        {code: [(e.text_a, e.text_b, e.label) if isinstance(e, Classify) else e for e in rows[code]] for code in rows}
        for rows in (raw, hub)
    )
    assert ours == theirs
    if target == "mlqa":  # CONTEXT-QUESTION: the same question ids, German questions about English paragraphs
        german = {e.id: e for e in raw["de"]}
        assert all(e.question == german[e.id].question and e.context != german[e.id].context for e in raw["en-de"])
    if target == "xcopa":
        first = json.loads((source / "data/et/test.et.jsonl").read_text(encoding="utf-8").splitlines()[0])
        prompt = first["premise"] + " What was the cause?"
        assert raw["et"][0] == Choice("0", prompt, (first["choice1"], first["choice2"]), first["label"])
    if target == "xquad":  # where the offset says, also if that is not the text's first occurrence
        examples = [example for rows in raw.values() for example in rows]
        assert all(e.context.startswith(text, start) for e in examples for text, start in e.answers)
        assert sum(e.context.find(e.answers[0][0]) < e.answers[0][1] for e in examples) > 100


# Words and their tags


@pytest.mark.parametrize("name", ["German-GSD", "English-EWT", "Chinese-GSD", "Japanese-GSD"])
def test_conllu_words_are_those_of_the_text(shared: Path, tmp_path: Path, name: str) -> None:
    """Ranges (`3-4 im`) are read as written and empty nodes (`8.1`) not at all: the words make up `# text`."""
    source = next((shared / f"data/raw/ud/UD_{name}").glob("*.conllu"))
    text = copy(source, tmp_path / f"UD_{name}").read_text(encoding="utf-8")
    rows = load("udpos", source.name[:2], tmp_path).rows[source.name[:2]]
    written = [line.removeprefix("# text = ") for line in text.splitlines() if line.startswith("# text = ")]
    assert ["".join(e.words) for e in rows] == [re.sub(r"[\s\u200c]", "", sentence) for sentence in written]
    assert all(set(e.tags) <= set(UPOS) for e in rows)
    if name == "English-EWT":
        assert len(re.findall(r"^\d+\.\d+\t", text, re.M)) >= 3 and len(re.findall(r"^\d+-\d+\t", text, re.M)) > 50
    if name == "German-GSD":
        # Sentences of XTREME's own dev file, which later releases changed little: the same tag for every fused word.
        xtreme = {e.words: e.tags for e in load("udpos", "de", shared / "data/raw/udpos").rows["de"]}
        fused = set(re.findall(r"^\d+-\d+\t(\S+)\t", text, re.M))
        both = [zip(e.words, e.tags, xtreme[e.words], strict=True) for e in rows if e.words in xtreme]
        tags = [(mine, theirs) for words in both for word, mine, theirs in words if word in fused]
        assert len(both) >= 395 and len(tags) >= 50 and all(mine == theirs for mine, theirs in tags)


# Questions


# Retrieval


def test_tatoeba(shared: Path) -> None:
    codes = " ".join(TARGETS["tatoeba"].of_suite("tatoeba"))
    raw, hub = (load("tatoeba", codes, shared / "data" / folder).rows for folder in ("raw", "hub"))
    assert len(raw) >= 34 and len(hub) >= 8 and all(raw[code] == rows for code, rows in hub.items())
    assert len(raw["de"]) == 1000 and len(raw["th"]) == 548


def test_bucc(shared: Path) -> None:
    loaded = load("bucc", "de fr ru zh", shared / "data/raw")
    (corpora,) = loaded.rows["zh"]
    assert (len(corpora.other), len(corpora.english), len(corpora.gold)) == (8624, 13589, 257)
    assert loaded.split == corpora.split == "validation" and list(loaded.rows) == ["zh"]
    # The Hub's copy has the 257 pairs and nothing else: they are the same, and it is refused.
    texts = dict(zip((*corpora.other_ids, *corpora.english_ids), (*corpora.other, *corpora.english), strict=True))
    rows = pq.read_table(shared / "data/hub/google/xtreme/bucc18.zh").to_pylist()
    assert sorted((row["source_lang"], row["target_lang"]) for row in rows) == sorted(corpora.gold)
    assert all(texts[row[f"{side}_lang"]] == row[f"{side}_sentence"] for row in rows for side in ("source", "target"))
    with pytest.raises(NotThere, match=r"no data.*comparable\.limsi\.fr.*not the Hub's copy of the gold alone"):
        load("bucc", "de zh", shared / "data/hub")


# Candidates of each language, from the table of the dataset's own README.
CANDIDATES = {"ar": 1222, "de": 1276, "en": 1180, "es": 1215, "hi": 1244, "zh": 1196}


def test_lareqa(shared: Path) -> None:
    loaded = load("lareqa", " ".join(TARGETS["lareqa"].of_suite("xtreme-r")), shared / "data/raw")
    assert {code: len(rows) for code, rows in loaded.rows.items()} == dict.fromkeys(sorted(CANDIDATES), 1190)
    assert {code: sum(c.language == code for c in loaded.pool) for code in CANDIDATES} == CANDIDATES
    assert any("the pool lacks el ru th tr vi" in note for note in loaded.notes)
    pool = {candidate.id: candidate for candidate in loaded.pool}
    assert len(pool) == len(loaded.pool) and not any("\n" in candidate.text for candidate in loaded.pool)
    gold = {code: {q.id.rpartition("_")[0]: set(q.gold) for q in rows} for code, rows in loaded.rows.items()}
    assert all(gold[code] == gold["en"] for code in gold)  # a question's right answers are those of its parallels
