"""Words and their tags in the upstream files of udpos and panx, on the real samples where they are."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import NER, UPOS
from tasks.tag.data import Tag
from tests.support.rows import fails
from tests.support.target_files import copy, load, parquet, write


def test_udpos_from_the_hub_and_from_files(shared: Path) -> None:
    hub = load("udpos", "de en es zh ar", shared / "data/hub")
    assert hub.split == "test" and {code: len(rows) for code, rows in hub.rows.items()} == dict.fromkeys(hub.rows, 500)
    raw = load("udpos", "ar de en es hi zh", shared / "data/raw/udpos")
    assert raw.split == "validation" and {len(rows) for rows in raw.rows.values()} == {400}
    for code, rows in raw.rows.items():
        text = (shared / f"data/raw/udpos/dev-{code}.tsv").read_text(encoding="utf-8")
        by_hand = [[tuple(line.split("\t")) for line in block.split("\n")] for block in text.strip("\n").split("\n\n")]
        assert [list(zip(e.words, e.tags, strict=True)) for e in rows] == by_hand
        assert {tag for e in rows for tag in e.tags} <= set(UPOS)


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
    if name != "German-GSD":
        return
    # Sentences of XTREME's own dev file, which later releases changed little: the same tag for every fused word.
    xtreme = {e.words: e.tags for e in load("udpos", "de", shared / "data/raw/udpos").rows["de"]}
    fused = set(re.findall(r"^\d+-\d+\t(\S+)\t", text, re.M))
    both = [(e, xtreme[e.words]) for e in rows if e.words in xtreme]
    pairs = [
        (mine, theirs)
        for e, tags in both
        for word, mine, theirs in zip(e.words, e.tags, tags, strict=True)
        if word in fused
    ]
    assert len(both) >= 395 and len(pairs) >= 50 and all(mine == theirs for mine, theirs in pairs)


CONLLU = """# sent_id = 1
1-2\tdámelo\t_\t_\t_\t_\t_\t_\t_\t_
1\tda\tdar\tVERB\t_\t_\t0\troot\t_\t_
2\tme\tyo\tPRON\t_\t_\t1\tobj\t_\t_
2.1\tx\tx\tNOUN\t_\t_\t_\t_\t1:dep\t_
3\t10 000\t10\tNUM\t_\t_\t1\tdep\t_\t_

1-2\tdel\t_\t_\t_\t_\t_\t_\t_\t_
1\tde\tde\tADP\t_\t_\t3\tcase\t_\t_
2\tel\tel\tDET\t_\t_\t3\tdet\t_\t_
3\tmi\u200cs\tmes\tNOUN\t_\t_\t0\troot\t_\t_

1\t_\t_\tNOUN\t_\t_\t0\troot\t_\t_
2\t_\t_\tPUNCT\t_\t_\t1\tpunct\t_\t_
"""


def test_conllu_by_hand(tmp_path: Path) -> None:
    path = write(tmp_path / "UD_Spanish-X" / "es_x-ud-test.conllu", CONLLU)
    write(tmp_path / "UD_Spanish-A" / "es_a-ud-test.conllu", "1\tSí\tsí\tINTJ\t_\t_\t0\troot\t_\t_\n")
    loaded = load("udpos", "es de", tmp_path)
    # Highest in the tree (da); equally high: XTREME's order for Spanish puts ADP before DET.
    expected = [(("Sí",), ("INTJ",)), (("dámelo", "10000"), ("VERB", "NUM")), (("del", "mis"), ("ADP", "NOUN"))]
    assert [(e.words, e.tags) for e in loaded.rows["es"]] == expected  # treebanks in the order of their files
    assert len(loaded.files["es"]) == 2
    assert any("1 rows: left out: words withheld" in note for note in loaded.notes)
    write(path, "1\ta\tb\n")
    fails(lambda: load("udpos", "es", tmp_path), "es_x-ud-test.conllu: line 1", "10 columns, found 3")
    write(path, CONLLU.replace("NUM", "NUMB"))
    fails(lambda: load("udpos", "es", tmp_path), "es_x-ud-test.conllu: line 1", "'NUMB'")


def test_panx_prefixes_split_at_the_first_colon(tmp_path: Path, shared: Path) -> None:
    for code in ("tr", "th"):
        copy(shared / f"data/raw/panx/upstream_rows/{code}/dev", tmp_path / "panx" / code)
    loaded = load("panx", "tr th", tmp_path)
    assert sorted(loaded.rows) == ["th", "tr"] and loaded.split == "validation"
    words = [pair for e in loaded.rows["tr"] for pair in zip(e.words, e.tags, strict=True)]
    assert (":", "I-ORG") in words  # the line `tr::<TAB>I-ORG`
    assert not any(word.startswith("tr:") for word, _ in words)
    path = write(tmp_path / "more/panx/de/test", "de:a:b\tB-PER\nde::\tI-PER\n\nde:c\tO\n")
    rows = load("panx", "de", tmp_path / "more").rows["de"]
    assert rows == [Tag("", ("a:b", ":"), ("B-PER", "I-PER")), Tag("", ("c",), ("O",))]
    write(path, "de:a\tB-PER\nb\tO\n")
    fails(lambda: load("panx", "de", tmp_path / "more"), "line 2", "xx:word")


def test_panx_processed_files(shared: Path, tmp_path: Path) -> None:
    path = copy(shared / "data/raw/panx/processed/test-de.tsv", tmp_path / "panx")
    rows = load("panx", "de", tmp_path).rows["de"]
    assert len(rows) == 12 and {tag for e in rows for tag in e.tags} <= set(NER)
    write(path, "a\tO\nb\n")
    fails(lambda: load("panx", "de", tmp_path), "line 2", "word<TAB>TAG")
    write(path, "a\tB-MISC\n")
    fails(lambda: load("panx", "de", tmp_path), "line 1", "'B-MISC'")


def test_sentences_without_words_are_left_out(tmp_path: Path) -> None:
    """They would score nothing, and a submission separates sentences by blank lines."""
    rows = {"tokens": [["a", "b"], [], ["c"]], "ner_tags": [[0, 1], [], [0]]}
    parquet(tmp_path / "unimelb-nlp/wikiann/de/test-00000-of-00001.parquet", rows)
    loaded = load("panx", "de", tmp_path)
    assert [example.words for example in loaded.rows["de"]] == [("a", "b"), ("c",)]
    assert "1 rows: left out: no words" in loaded.notes[0]


# Any character but those that end a word or a line, lone surrogates, which no file holds, and a byte order mark.
WORDS = st.text(st.characters(exclude_characters="\t\n\r\ufeff", exclude_categories=["Cs"]), min_size=1, max_size=4)
SENTENCE = st.lists(st.tuples(WORDS, st.sampled_from(NER)), min_size=1, max_size=4)


@given(st.lists(SENTENCE, min_size=1, max_size=4), st.booleans(), st.integers(1, 3))
def test_words_are_read_as_written(tmp_path_factory, sentences, prefixed: bool, gap: int) -> None:
    folder = tmp_path_factory.mktemp("words")
    start, name = ("de:", "panx/de/test") if prefixed else ("", "panx/test-de.tsv")
    blocks = ["".join(f"{start}{word}\t{tag}\n" for word, tag in sentence) for sentence in sentences]
    write(folder / name, ("\n" * gap).join(blocks))
    rows = load("panx", "de", folder).rows["de"]
    assert [list(zip(e.words, e.tags, strict=True)) for e in rows] == sentences
